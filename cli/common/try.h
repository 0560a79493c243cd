/* Passes failures on to the caller. A function that has something to clean up leaves the steps that
 * may fail to another function, cleans up after it, and returns what it returned. */
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
