/* Writes a step as one line of JSON, with the names of what is counted. */
#include "train/metrics.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/status.h"

static json_t *traffic_json(const int64_t *bytes) {
  json_t *json = json_object();
  for (int i = 0; i < ULY_NUM_TRAFFIC; i++)
    json_object_set_new(json, uly_traffic_name((uly_traffic)i), json_integer(bytes[i]));
  return json;
}

static json_t *arenas_json(const int64_t *bytes) {
  json_t *json = json_object();
  for (int i = 0; i < ULY_NUM_ARENAS; i++)
    json_object_set_new(json, uly_arena_name((uly_arena)i), json_integer(bytes[i]));
  return json;
}

/* Returns a number, or null if it is not finite, since JSON only has finite numbers. */
static json_t *number_json(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}

/* Lists the bins; those without a token are left out. */
static json_t *positions_json(const uly_eval_report *eval) {
  json_t *json = json_array();
  for (int i = 0; i < eval->num_bins; i++) {
    const uly_eval_bin *bin = &eval->bins[i];
    json_t *row = json_array();
    json_array_append_new(row, json_integer(bin->begin));
    json_array_append_new(row, json_integer(bin->end));
    json_array_append_new(row, json_integer(bin->tokens));
    json_array_append_new(row, number_json(bin->loss));
    if (bin->tokens > 0) json_array_append(json, row);
    json_decref(row);
  }
  return json;
}

uly_status uly__report_write(FILE *file, const uly_step_report *r, const uly_eval_report *eval,
                             double peak_flops) {
  json_t *json = json_object();
  json_object_set_new(json, "step", json_integer(r->step));
  json_object_set_new(json, "loss", number_json(r->loss));
  if (eval) json_object_set_new(json, "eval_loss", number_json(eval->loss));
  json_object_set_new(json, "grad_norm", number_json(r->grad_norm));
  json_object_set_new(json, "lr", json_real(r->lr));
  json_object_set_new(json, "tokens", json_integer(r->tokens));
  json_object_set_new(json, "ranks", json_integer(r->num_ranks));
  json_object_set_new(json, "step_s", json_real(r->seconds));
  json_object_set_new(json, "tokens_per_s", json_real((double)r->tokens / r->seconds));
  json_object_set_new(json, "wait_s", json_real(r->wait_seconds));
  json_object_set_new(json, "imbalance", json_real(r->imbalance));
  if (r->bubble > 0) json_object_set_new(json, "bubble", json_real(r->bubble));
  json_object_set_new(json, "flops", json_real(r->flops));
  json_object_set_new(json, "sent_bytes", traffic_json(r->sent_bytes));
  json_object_set_new(json, "peak_bytes", json_integer(r->peak_bytes));
  json_object_set_new(json, "arena_bytes", arenas_json(r->arena_bytes));
  json_object_set_new(json, "resident_bytes", json_integer(r->resident_bytes));
  if (peak_flops > 0) json_object_set_new(json, "peak_flops", json_real(peak_flops));
  if (r->is_skipped) json_object_set_new(json, "skipped", json_true());
  if (r->passed_over > 0) json_object_set_new(json, "passed_over", json_integer(r->passed_over));
  if (eval) json_object_set_new(json, "eval_by_position", positions_json(eval));
  int failed = json_dumpf(json, file, JSON_COMPACT | JSON_PRESERVE_ORDER) != 0;
  json_decref(json);
  if (failed || fputc('\n', file) == EOF || fflush(file) != 0)
    ULY_FAIL(ULY_ERR_IO, "the metrics cannot be written: %s", strerror(errno));
  return ULY_OK;
}
