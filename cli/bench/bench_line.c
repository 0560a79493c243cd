/* Prints a benchmark's line of JSON. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/bench.h"
#include "commands/commands.h"

/* Rates are printed in billions, with as many digits as timing deserves. */
enum { DIGITS = 6 };
static const double billion = 1e9;

/* Returns a number, or null if nothing was measured. */
static json_t *number(double value) { return isfinite(value) ? json_real(value) : json_null(); }

static json_t *option_json(const options *o, option_id id) {
  const option_info *info = &option_table[id];
  const void *slot = (const char *)o + info->offset;
  char buffer[OPTION_BUFFER];
  switch (info->kind) {
    case KIND_INTEGER:
    case KIND_BYTES:
      return json_integer(info->size == sizeof(int) ? *(const int *)slot : *(const int64_t *)slot);
    case KIND_REAL: return json_real(*(const double *)slot);
    case KIND_BOOLEAN: return json_boolean(*(const int *)slot);
    case KIND_SWITCH: return json_boolean(*(const bool *)slot);
    case KIND_TEXT:
    case KIND_CHOICE: break;
  }
  const char *text = options_get(o, id, buffer);
  return text ? json_string(text) : json_null();
}

/* Returns every option that the benchmark knows, as it was run. */
static json_t *options_json(const bench *b) {
  json_t *json = json_object();
  for (option_id id = 0; id < num_options; id++) {
    if (!(option_table[id].commands & b->kind) || option_table[id].section == SECTION_call)
      continue;
    /* A path need not be UTF-8; if it is not, it is left out. */
    json_object_set_new(json, option_table[id].key, option_json(&b->options, id));
  }
  return json;
}

void bench_print(const bench *b, const char *what, const char *unit, const bench_result *result,
                 json_t *more) {
  double figure = bench_median(&result->figure), ceiling = bench_median(&result->ceiling);
  json_t *json = json_object();
  char name[OPTION_BUFFER];
  json_object_set_new(json, "bench", json_string(command_name(b->kind, name) + strlen("bench ")));
  json_object_set_new(json, "what", json_string(what));
  json_object_set_new(json, "unit", json_string(unit));
  json_object_set_new(json, "achieved", number(figure / billion));
  json_object_set_new(json, "ceiling", number(ceiling / billion));
  json_object_set_new(json, "ratio", number(figure / ceiling));
  json_object_set_new(json, "spread", number(bench_spread(&result->figure)));
  json_object_set_new(json, "ceiling_spread", number(bench_spread(&result->ceiling)));
  json_object_set_new(json, "seconds", number(result->seconds));
  json_object_set_new(json, "ranks", json_integer(uly_world_size()));
  json_object_update(json, more);
  json_decref(more);
  json_object_set_new(json, "config", options_json(b));
  json_object_set_new(json, "version", json_string(ULY_VERSION_STRING));
  if (b->is_first) {
    json_dumpf(json, stdout, JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(DIGITS));
    putchar('\n');
  }
  json_decref(json);
}
