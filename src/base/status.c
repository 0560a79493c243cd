/* Status codes and the message of the last failure, per thread. With ULYSSES_DEBUG
 * set in the environment each ULY_TRY that a failure passes prints a trace line. */
#include "status.h"

#include <stdarg.h>
#include <string.h>

#include "base/environment.h"

static _Thread_local char last_error[2048] = "no error";

const char *uly_last_error(void) { return last_error; }

void uly__set_last_error(const char *message) {
  snprintf(last_error, sizeof last_error, "%s", message);
}

const char *uly_status_name(uly_status status) {
  switch (status) {
    case ULY_OK: return "ok";
    case ULY_ERR_CONFIG: return "config";
    case ULY_ERR_DATA: return "data";
    case ULY_ERR_IO: return "io";
    case ULY_ERR_MEMORY: return "memory";
    case ULY_ERR_COMM: return "comm";
    case ULY_ERR_NONFINITE: return "nonfinite";
    case ULY_ERR_INTERNAL: return "internal";
  }
  return "unknown";
}

int uly_status_exit_code(uly_status status) {
  switch (status) {
    case ULY_OK: return 0;
    case ULY_ERR_CONFIG: return 2;
    case ULY_ERR_DATA:
    case ULY_ERR_IO: return 3;
    case ULY_ERR_NONFINITE: return 4;
    case ULY_ERR_MEMORY:
    case ULY_ERR_COMM:
    case ULY_ERR_INTERNAL: return 1;
  }
  return 1;
}

static int debug(void) { return uly__environment("ULYSSES_DEBUG") != NULL; }

uly_status uly_fail(uly_status status, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(last_error, sizeof last_error, format, args);
  va_end(args);
  return status;
}

uly_status uly__fail(uly_status code, const char *file, int line, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  vsnprintf(last_error, sizeof last_error, fmt, args);
  va_end(args);
  if (debug()) fprintf(stderr, "%s:%d: %s: %s\n", file, line, uly_status_name(code), last_error);
  return code;
}

void uly__trace(uly_status code, const char *file, int line, const char *expr) {
  if (debug()) fprintf(stderr, "%s:%d: %s in %s\n", file, line, uly_status_name(code), expr);
}
