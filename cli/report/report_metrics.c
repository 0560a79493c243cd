/* Reads a run's metrics, lines of JSON, from the last line to the first. A line whose step is not
 * below those that were read before belongs to a part of the run that was done again after a
 * resume, and is left out. */
#include "report/report_run.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "common/try.h"
#include "options/messages.h"
#include "report/report_lines.h"
#include "report/report_text.h"

/* Steps and sums stay exact in a double. */
#define MAX_COUNT ((int64_t)1 << 53)
/* A quantity of a training run is not larger than this, and not smaller than its inverse unless it
 * is 0; gnuplot could not draw others. */
#define MAX_NUMBER 1e30
#define MIN_NUMBER 1e-30

static int num_names(report_kind kind) {
  return kind == REPORT_HELD ? (int)ULY_NUM_ARENAS : (int)ULY_NUM_TRAFFIC;
}

int report_num_parts(report_kind kind) { return num_names(kind) + 1; }

const char *report_part_name(report_kind kind, int i) {
  if (i == num_names(kind)) return "other";
  return kind == REPORT_HELD ? uly_arena_name((uly_arena)i) : uly_traffic_name((uly_traffic)i);
}

double report_total(const report_bytes *bytes) {
  double total = 0;
  for (int i = 0; i < REPORT_MAX_PARTS; i++) total += bytes->parts[i];
  return total;
}

/* ------------------------------------------------------------------ values of a line */

/* A number in a line; a member that the line does not name is absent. */
typedef struct number {
  bool is_there;
  double value;
} number;

/* Reads a number; null stands for one that is not finite. */
static uly_status read_number(const json_t *line, const char *key, number *out) {
  const json_t *json = json_object_get(line, key);
  *out = (number){0};
  if (!json || json_is_null(json)) return ULY_OK;
  if (!json_is_number(json)) return report_fail(ULY_ERR_DATA, "'%s': expected a number", key);
  out->value = json_number_value(json);
  out->is_there = fabs(out->value) <= MAX_NUMBER;
  if (fabs(out->value) < MIN_NUMBER) out->value = 0;
  return ULY_OK;
}

static uly_status check_count(const json_t *json, const char *key) {
  if (json_is_integer(json) && json_integer_value(json) >= 0 &&
      json_integer_value(json) <= MAX_COUNT)
    return ULY_OK;
  return report_fail(ULY_ERR_DATA, "'%s': expected a whole number from 0 to 2^53", key);
}

/* Reads a count; 0 if it is absent. */
static uly_status read_count(const json_t *line, const char *key, int64_t *out) {
  const json_t *json = json_object_get(line, key);
  *out = 0;
  if (!json || json_is_null(json)) return ULY_OK;
  TRY(check_count(json, key));
  *out = json_integer_value(json);
  return ULY_OK;
}

/* Reads {name: bytes}. */
static uly_status read_bytes(const json_t *line, report_kind kind, report_bytes *bytes) {
  const char *key = kind == REPORT_HELD ? "arena_bytes" : "sent_bytes", *name;
  json_t *json = json_object_get(line, key), *value;
  *bytes = (report_bytes){0};
  if (!json || json_is_null(json)) return ULY_OK;
  if (!json_is_object(json))
    return report_fail(ULY_ERR_DATA, "'%s': expected an object of names and bytes", key);
  json_object_foreach(json, name, value) {
    TRY(check_count(value, key));
    int i = 0;
    while (i < num_names(kind) && strcmp(name, report_part_name(kind, i)) != 0) i++;
    bytes->parts[i] += (double)json_integer_value(value);
  }
  bytes->num_steps = 1;
  return ULY_OK;
}

/* Reads one [begin, end, tokens, loss]; a bin without a finite loss is left out. */
static uly_status read_bin(const json_t *json, report_eval *eval) {
  int64_t last_end = eval->num_bins > 0 ? eval->bins[eval->num_bins - 1].end : 0;
  int64_t counts[3] = {0};
  uly_status status = json_array_size(json) == 4 ? ULY_OK : ULY_ERR_DATA;
  for (size_t i = 0; i < 3 && status == ULY_OK; i++) {
    const json_t *count = json_array_get(json, i);
    status = check_count(count, "eval_by_position");
    if (status == ULY_OK) counts[i] = json_integer_value(count);
  }
  const json_t *loss = json_array_get(json, 3);
  bool is_loss = json_is_number(loss) || json_is_null(loss);
  if (status != ULY_OK || !is_loss || counts[0] < last_end || counts[1] <= counts[0])
    return report_fail(
        ULY_ERR_DATA,
        "'eval_by_position': expected [begin, end, tokens, loss], in ascending order");
  double value = json_number_value(loss);
  bool is_there = json_is_number(loss) && fabs(value) <= MAX_NUMBER;
  if (counts[2] == 0 || !is_there) return ULY_OK;
  if (eval->num_bins == REPORT_MAX_BINS)
    return report_fail(ULY_ERR_DATA, "'eval_by_position': more than %d entries", REPORT_MAX_BINS);
  eval->bins[eval->num_bins++] = (report_bin){.begin = counts[0],
                                              .end = counts[1],
                                              .tokens = counts[2],
                                              .loss = fabs(value) < MIN_NUMBER ? 0 : value};
  return ULY_OK;
}

/* ------------------------------------------------------------------ lines to runs */

static uly_status add_eval(report_run *run, const json_t *line, int64_t step) {
  const json_t *list = json_object_get(line, "eval_by_position");
  if (!list || json_is_null(list)) return ULY_OK;
  if (!json_is_array(list)) return report_fail(ULY_ERR_DATA, "'eval_by_position': expected a list");
  report_eval eval = {.step = step};
  for (size_t i = 0; i < json_array_size(list); i++) TRY(read_bin(json_array_get(list, i), &eval));
  if (eval.num_bins == 0) return ULY_OK;
  run->first_eval = eval;
  if (run->num_evals == REPORT_MAX_EVALS) {
    for (int i = 0; i < REPORT_MAX_EVALS / 2; i++) run->evals[i] = run->evals[2 * (size_t)i];
    run->num_evals = REPORT_MAX_EVALS / 2;
    run->eval_stride *= 2;
  }
  if (run->num_evals_seen++ % run->eval_stride == 0) run->evals[run->num_evals++] = eval;
  return ULY_OK;
}

void report_pick_evals(const report_run *run, const report_eval *evals[3]) {
  evals[0] = evals[1] = evals[2] = NULL;
  if (run->num_evals == 0) return;
  evals[2] = &run->evals[0];
  if (run->first_eval.step == evals[2]->step) return;
  evals[0] = &run->first_eval;
  double middle = ((double)evals[0]->step + (double)evals[2]->step) / 2;
  for (int i = 1; i < run->num_evals; i++) {
    const report_eval *eval = &run->evals[i];
    double distance = fabs((double)eval->step - middle);
    if (eval->step == evals[0]->step) continue;
    if (!evals[1] || distance < fabs((double)evals[1]->step - middle)) evals[1] = eval;
  }
}

static uly_status add_memory(report_run *run, const json_t *line) {
  report_bytes here, *most = &run->bytes[REPORT_HELD];
  int64_t resident;
  TRY(read_bytes(line, REPORT_HELD, &here));
  TRY(read_count(line, "resident_bytes", &resident));
  if (here.num_steps > 0 && (most->num_steps == 0 || report_total(&here) > report_total(most)))
    *most = here;
  if (resident > run->resident_bytes) run->resident_bytes = resident;
  return ULY_OK;
}

static uly_status add_traffic(report_run *run, const json_t *line) {
  report_bytes here, *mean = &run->bytes[REPORT_SENT];
  TRY(read_bytes(line, REPORT_SENT, &here));
  mean->num_steps += here.num_steps;
  for (int i = 0; i < REPORT_MAX_PARTS && here.num_steps > 0; i++)
    mean->parts[i] += (here.parts[i] - mean->parts[i]) / (double)mean->num_steps;
  return ULY_OK;
}

/* Adds a quotient, which may be any number, since files may hold anything. */
static void add_share(report_run *run, int64_t step, report_column column, double share) {
  if (fabs(share) < MIN_NUMBER) share = 0;
  if (fabs(share) <= MAX_NUMBER) report_table_add(&run->table, step, column, share);
}

static uly_status add_speed(report_run *run, const json_t *line, int64_t step) {
  number speed, seconds, wait, bubble, flops, peak;
  int64_t tokens, num_ranks;
  TRY(read_number(line, "tokens_per_s", &speed));
  TRY(read_number(line, "step_s", &seconds));
  TRY(read_number(line, "wait_s", &wait));
  TRY(read_number(line, "bubble", &bubble));
  TRY(read_number(line, "flops", &flops));
  TRY(read_number(line, "peak_flops", &peak));
  TRY(read_count(line, "tokens", &tokens));
  TRY(read_count(line, "ranks", &num_ranks));
  if (run->num_ranks == 0) run->num_ranks = num_ranks;
  run->has_other_ranks |= num_ranks > 0 && num_ranks != run->num_ranks;
  run->tokens += (double)tokens;
  if (speed.is_there) report_table_add(&run->table, step, COLUMN_TOKENS_PER_S, speed.value);
  if (!seconds.is_there || !(seconds.value > 0)) return ULY_OK;
  run->seconds += seconds.value;
  if (tokens > 0) {
    run->timed_tokens += (double)tokens;
    run->timed_seconds += seconds.value;
  }
  if (wait.is_there) add_share(run, step, COLUMN_WAIT_SHARE, wait.value / seconds.value);
  if (bubble.is_there) add_share(run, step, COLUMN_BUBBLE, bubble.value);
  if (flops.is_there && peak.is_there && peak.value > 0)
    add_share(run, step, COLUMN_PEAK_SHARE, flops.value / seconds.value / peak.value);
  return ULY_OK;
}

static uly_status add_losses(report_run *run, const json_t *line, int64_t step) {
  number loss, eval_loss, grad_norm, lr;
  const json_t *skipped = json_object_get(line, "skipped");
  TRY(read_number(line, "loss", &loss));
  TRY(read_number(line, "eval_loss", &eval_loss));
  TRY(read_number(line, "grad_norm", &grad_norm));
  TRY(read_number(line, "lr", &lr));
  if (skipped && !json_is_boolean(skipped))
    return report_fail(ULY_ERR_DATA, "'skipped': expected true or false");
  run->num_skipped += json_is_true(skipped);
  if (loss.is_there) {
    report_table_add(&run->table, step, COLUMN_LOSS, loss.value);
    if (run->final_step == 0) {
      run->final_step = step;
      run->final_loss = loss.value;
    }
  } else if (json_object_get(line, "loss")) {
    run->num_not_finite++;
  }
  if (eval_loss.is_there) {
    report_table_add(&run->table, step, COLUMN_EVAL_LOSS, eval_loss.value);
    if (run->best_eval_step == 0 || eval_loss.value <= run->best_eval_loss) {
      run->best_eval_step = step;
      run->best_eval_loss = eval_loss.value;
    }
  }
  if (grad_norm.is_there) report_table_add(&run->table, step, COLUMN_GRAD_NORM, grad_norm.value);
  if (lr.is_there) report_table_add(&run->table, step, COLUMN_LR, lr.value);
  return ULY_OK;
}

static uly_status add_line(report_run *run, const json_t *line) {
  const json_t *step_json = json_object_get(line, "step");
  if (!step_json)
    return report_fail(ULY_ERR_DATA, "there is no 'step': expected a line for each step");
  TRY(check_count(step_json, "step"));
  int64_t step = json_integer_value(step_json);
  if (step == 0) return report_fail(ULY_ERR_DATA, "'step': expected at least 1");
  if (run->num_steps > 0 && step >= run->first_step) {
    run->num_repeated++;
    return ULY_OK;
  }
  if (run->num_steps++ == 0) run->last_step = step;
  run->first_step = step;
  TRY(add_losses(run, line, step));
  TRY(add_speed(run, line, step));
  TRY(add_memory(run, line));
  TRY(add_traffic(run, line));
  return add_eval(run, line, step);
}

/* ------------------------------------------------------------------ the file */

static bool is_blank(const char *text, size_t length) {
  for (size_t i = 0; i < length; i++)
    if (!strchr(" \t\r", text[i]) || !text[i]) return false;
  return true;
}

/* Adds what a line says. is_open: it may have been cut off. */
static uly_status take_line(report_run *run, const char *text, size_t length, bool is_open) {
  json_error_t error;
  if (is_blank(text, length)) return ULY_OK;
  json_t *line = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
  uly_status status = ULY_OK;
  if (!line && is_open)
    run->is_cut = true;
  else if (!json_is_object(line))
    status = report_fail(ULY_ERR_DATA, "expected a JSON object%s%s", line ? "" : ": ",
                         line ? "" : error.text);
  else
    status = add_line(run, line);
  json_decref(line);
  return status;
}

static uly_status take_lines(report_run *run, report_lines *lines) {
  const char *text;
  size_t length;
  for (bool is_last = true;; is_last = false) {
    TRY(report_lines_previous(lines, &text, &length));
    if (!text) return ULY_OK;
    uly_status status = take_line(run, text, length, is_last && lines->is_last_open);
    if (status == ULY_OK) continue;
    char why[512];
    snprintf(why, sizeof why, "%s", last_failure());
    return report_fail(status, "'%s', line %lld: %s", run->path,
                       (long long)report_lines_number(lines), why);
  }
}

uly_status report_metrics_read(report_run *run) {
  report_lines lines;
  run->eval_stride = 1;
  uly_status status = report_lines_open(run->path, &lines);
  if (status == ULY_OK) status = take_lines(run, &lines);
  report_lines_close(&lines);
  if (status == ULY_OK && run->num_steps == 0)
    status = report_fail(ULY_ERR_DATA,
                         "'%s' holds no step: expected what 'ulysses train --metrics' writes",
                         run->path);
  report_table_finish(&run->table);
  return status;
}
