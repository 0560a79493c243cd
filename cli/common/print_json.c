/* Prints JSON. */
#include "common/print_json.h"

#include <stdbool.h>
#include <stdio.h>

uly_status print_json_line(json_t *json) {
  bool is_printed = json && json_dumpf(json, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER) == 0;
  putchar('\n');
  json_decref(json);
  return is_printed ? ULY_OK : uly_fail(ULY_ERR_IO, "standard output cannot be written");
}
