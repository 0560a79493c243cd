/* Reads settings from the environment. */
#include "base/environment.h"

#include <stddef.h>
#include <stdlib.h>

const char *uly__environment(const char *name) {
  const char *value = getenv(name);
  return value && *value ? value : NULL;
}
