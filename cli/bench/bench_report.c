/* Describes the heads that the benchmarks measure, and prints their lines of JSON. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/bench.h"
#include "options/options_table.h"

uly_attention_desc bench_describe_heads(bench *b) {
  const uly_train_config *config = &b->options.run.config;
  uly_attention_desc *heads = &b->options.desc;
  if (heads->num_q_heads == 0) heads->num_q_heads = 2 * uly_world_size();
  if (heads->num_kv_heads == 0) heads->num_kv_heads = heads->num_q_heads;
  return (uly_attention_desc){.size = sizeof *heads,
                              .num_tokens = config->seq_len,
                              .num_q_heads = heads->num_q_heads,
                              .num_kv_heads = heads->num_kv_heads,
                              .head_dim = heads->head_dim,
                              .dtype = config->dtype};
}

/* Rates are printed in billions, with as many digits as timing deserves. */
enum { DIGITS = 6 };
static const double billion = 1e9;

/* Returns a number, or null if nothing was measured. */
static json_t *number(double value) { return isfinite(value) ? json_real(value) : json_null(); }

static json_t *option_json(const options *o, option_id id) {
  char buffer[OPTION_BUFFER];
  uly_setting_value value = option_load(option_place_of(id, o->command), o);
  switch (option_table[id].kind) {
    case KIND_INTEGER:
    case KIND_BYTES: return json_integer((json_int_t)value.integer);
    case KIND_REAL: return json_real(value.real);
    case KIND_BOOLEAN:
    case KIND_SWITCH: return json_boolean(value.integer != 0);
    case KIND_TEXT:
    case KIND_CHOICE: break;
  }
  const char *text = options_get(o, id, buffer);
  return text ? json_string(text) : json_null();
}

/* Returns every option that the benchmark knows, as it was run. */
static json_t *options_json(const options *o) {
  json_t *json = json_object();
  for (option_id id = option_next(-1, o->command, NUM_SECTIONS); id < num_options;
       id = option_next(id, o->command, NUM_SECTIONS)) {
    if (option_table[id].section == SECTION_call) continue;
    /* A path need not be UTF-8; if it is not, it is left out. */
    json_object_set_new(json, option_table[id].key, option_json(o, id));
  }
  return json;
}

void bench_print(const bench *b, const char *what, const char *unit, const measure_result *result,
                 json_t *more) {
  double figure = measure_median(&result->figure), ceiling = measure_median(&result->ceiling);
  char name[COMMAND_NAME];
  json_t *json =
      json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:i}", "bench",
                command_name(b->kind, name) + strlen("bench "), "what", what, "unit", unit,
                "achieved", number(figure / billion), "ceiling", number(ceiling / billion), "ratio",
                number(figure / ceiling), "spread", number(measure_spread(&result->figure)),
                "ceiling_spread", number(measure_spread(&result->ceiling)), "seconds",
                number(result->seconds), "ranks", uly_world_size());
  json_object_update(json, more);
  json_decref(more);
  json_object_set_new(json, "config", options_json(&b->options.base));
  json_object_set_new(json, "version", json_string(ULY_VERSION_STRING));
  if (b->is_first) {
    json_dumpf(json, stdout, JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(DIGITS));
    putchar('\n');
  }
  json_decref(json);
}

uly_status bench_report(const bench *b, const char *what, const char *unit,
                        const measure_work *figure, const measure_work *ceiling, json_t *more) {
  measure_result result;
  uly_status status = measure_compare(b->world, (int)b->options.repeats, figure, ceiling, &result);
  if (status == ULY_OK)
    bench_print(b, what, unit, &result, more);
  else
    json_decref(more);
  return status;
}
