/* Errors: every function that can fail returns uly_status and leaves a message. */
#ifndef ULY_STATUS_H
#define ULY_STATUS_H

#include "ulysses.h"

/* Records the message of a failure and returns code. */
uly_status uly__fail(uly_status code, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Appends "in expr (file:line)" to the debug trace of the current failure. */
void uly__trace(uly_status code, const char *file, int line, const char *expr);

/* Replaces the message of this thread, so that a rank can take over the failure of another. */
void uly__set_last_error(const char *message);

/* Returns from the function with the status of expr unless that is ULY_OK. */
#define ULY_TRY(expr)                                         \
  do {                                                        \
    uly_status uly_try_status_ = (expr);                      \
    if (uly_try_status_ != ULY_OK) {                          \
      uly__trace(uly_try_status_, __FILE__, __LINE__, #expr); \
      return uly_try_status_;                                 \
    }                                                         \
  } while (0)

/* Returns from the function with a new failure. It returns the code itself, so that compilers and
 * analyzers see that it is not ULY_OK. */
#define ULY_FAIL(code, ...)                                   \
  do {                                                        \
    (void)uly__fail((code), __FILE__, __LINE__, __VA_ARGS__); \
    return (code);                                            \
  } while (0)

#endif
