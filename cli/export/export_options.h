/* The options of ulysses export. */
#ifndef ULYSSES_CLI_EXPORT_OPTIONS_H
#define ULYSSES_CLI_EXPORT_OPTIONS_H

#include "options/options.h"

/* The words of --dtype: the source's own type, then those of uly_dtype. */
typedef enum export_dtype { EXPORT_AUTO = 0, EXPORT_F32, EXPORT_BF16, EXPORT_F16 } export_dtype;

typedef struct export_options {
  options base;
  uly_export_config export;
  export_dtype dtype;
} export_options;

#endif
