/* How functions of the program pass a failure on. Whoever has something to clean up calls a function
 * that tries, cleans up, and returns what that function returned. */
#ifndef ULYSSES_CLI_TRY_H
#define ULYSSES_CLI_TRY_H

#include "ulysses.h"

/* Leaves the function with the status of expr unless that is ULY_OK. */
#define TRY(expr)                                  \
  do {                                             \
    uly_status try_status_ = (expr);               \
    if (try_status_ != ULY_OK) return try_status_; \
  } while (0)

#endif
