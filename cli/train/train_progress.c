/* Prints the progress of a run: one line that is written over and over on a terminal, and plain
 * lines elsewhere. */
#include <stdarg.h>
#include <string.h>

#include "common/clock.h"
#include "common/format.h"
#include "common/say.h"
#include "common/try.h"
#include "measure/ceiling.h"
#include "train/train_run.h"

/* Least number of seconds between two states of the live line. */
#define REFRESH 0.1

enum { LINE = 512 };

/* Measures the speed of matrix products on all ranks together, of which each step shows its share.
 * It is in FLOP/s, and 0 if the CPU has no products of this type. */
static uly_status measure_product(uly_mesh *mesh, gemm *product, double *flops) {
  measure_result result;
  measure_work work = gemm_work(product);
  if (!product) return ULY_OK;
  TRY(measure_compare(mesh, 2, &work, NULL, &result));
  *flops = measure_median(&result.figure);
  return ULY_OK;
}

static uly_status measure_peak(const train_run *run, double *flops) {
  gemm *product = NULL;
  int threads = run->options.run.config.threads;
  measure_use_threads(&threads);
  uly_status status = gemm_create_for_run(run->mesh, run->options.run.config.dtype, &product);
  if (status == ULY_OK) status = measure_product(run->mesh, product, flops);
  gemm_destroy(product);
  return status;
}

uly_status progress_open(train_run *run) {
  progress *p = &run->progress;
  p->line = live_line_open(run->options.progress);
  return run->options.measure_peak ? measure_peak(run, &p->peak_flops) : ULY_OK;
}

/* ------------------------------------------------------------------------- lines */

/* A line of text, at most as long as its buffer. */
typedef struct line {
  char text[LINE];
  int used;
} line;

static void add(line *l, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(line *l, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int room = LINE - l->used, length = vsnprintf(l->text + l->used, (size_t)room, format, args);
  va_end(args);
  if (length > 0) l->used += length < room ? length : room - 1;
}

/* Returns the time left, from the mean of the steps of this process except the first, with
 * evaluations and saves, or -1 if it is not known yet. */
static double find_time_left(const train_run *run, int64_t step) {
  const progress *p = &run->progress;
  if (step <= p->began_step) return -1;
  double mean = (clock_seconds() - p->began) / (double)(step - p->began_step);
  return mean * (double)(run->options.run.config.steps - step);
}

static void add_time_left(const train_run *run, line *l, int64_t step) {
  double seconds = find_time_left(run, step);
  char text[FORMAT_DURATION];
  if (seconds < 0) return;
  add(l, "  %s left", format_duration(seconds, text));
}

/* Return the share of the machine's peak, and that of the time spent waiting for other ranks; it is
 * negative if it is not known. */
static double find_peak_share(const train_run *run, const uly_step_report *r) {
  double peak = run->progress.peak_flops;
  return peak > 0 && r->seconds > 0 ? 100 * r->flops / r->seconds / peak : -1;
}

static double find_wait_share(const train_run *run, const uly_step_report *r) {
  return uly_mesh_size(run->mesh) > 1 && r->seconds > 0 ? 100 * r->wait_seconds / r->seconds : -1;
}

static void add_shares(const train_run *run, line *l, const uly_step_report *r) {
  char memory[FORMAT_BYTES];
  double peak = find_peak_share(run, r), wait = find_wait_share(run, r);
  if (peak >= 0) add(l, "  %.0f%% of peak", peak);
  if (wait >= 0) add(l, "  waits %.0f%%", wait);
  if (r->bubble > 0) add(l, "  bubble %.0f%%", 100 * r->bubble);
  add(l, "  %s", format_bytes(r->peak_bytes, memory));
}

static double rate(const uly_step_report *r) {
  return r->seconds > 0 ? (double)r->tokens / r->seconds : 0;
}

static line describe_live(const train_run *run, const uly_step_report *r) {
  line l = {.used = 0};
  add(&l, "step %lld/%lld  loss %.4f  grad_norm %.3f  %.0f tokens/s", (long long)r->step,
      (long long)run->options.run.config.steps, r->loss, r->grad_norm, rate(r));
  add_time_left(run, &l, r->step);
  add_shares(run, &l, r);
  return l;
}

/* Describes the same in 80 columns; what is still too long is cut off at its end. */
static line describe_narrow(const train_run *run, const uly_step_report *r) {
  char memory[FORMAT_BYTES], duration[FORMAT_DURATION];
  double peak = find_peak_share(run, r), wait = find_wait_share(run, r);
  double left = find_time_left(run, r->step);
  line l = {.used = 0};
  add(&l, "%lld/%lld loss %.3f grad %.2f %.0f tok/s", (long long)r->step,
      (long long)run->options.run.config.steps, r->loss, r->grad_norm, rate(r));
  if (peak >= 0) add(&l, " %.0f%% peak", peak);
  if (wait >= 0) add(&l, " wait %.0f%%", wait);
  add(&l, " %s", format_bytes(r->peak_bytes, memory));
  if (left >= 0) add(&l, " %s", format_duration(left, duration));
  return l;
}

static line describe_plain(const train_run *run, const uly_step_report *r) {
  char sent[FORMAT_BYTES];
  line l = {.used = 0};
  add(&l, "step %lld/%lld  loss %.4f  grad_norm %.4f  lr %.3e  %.0f tokens/s  %.3f s",
      (long long)r->step, (long long)run->options.run.config.steps, r->loss, r->grad_norm, r->lr,
      rate(r), r->seconds);
  add_shares(run, &l, r);
  add(&l, "  sent %s", format_bytes(sum_bytes(r->sent_bytes, ULY_NUM_TRAFFIC), sent));
  add_time_left(run, &l, r->step);
  return l;
}

void progress_step(train_run *run, const uly_step_report *r, bool is_last) {
  progress *p = &run->progress;
  if (!run->is_first) return;
  bool is_first_step = p->began_step == 0;
  if (is_first_step) {
    p->began = clock_seconds();
    p->began_step = r->step;
    printf("memory      in bytes, of the rank that holds most\n");
    print_arena_bytes(r->arena_bytes);
  }
  bool is_due = is_first_step || is_last || r->step % run->options.log_every == 0;
  if (p->line.is_live ? !is_last && clock_seconds() - p->shown < REFRESH : !is_due) return;
  if (p->line.is_live && !is_last) {
    line l = describe_live(run, r);
    if (l.used >= p->line.width) l = describe_narrow(run, r);
    live_line_show(&p->line, l.text);
    p->shown = clock_seconds();
  } else {
    live_line_clear(&p->line);
    puts(describe_plain(run, r).text);
  }
}

void progress_say(train_run *run, const char *format, ...) {
  if (!run->is_first) return;
  live_line_clear(&run->progress.line);
  va_list args;
  va_start(args, format);
  vprintf(format, args);
  va_end(args);
  putchar('\n');
}

void progress_warn(train_run *run, const char *format, ...) {
  if (!run->is_first) return;
  live_line_clear(&run->progress.line);
  char text[4096];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  print_message("%s", text);
}

void progress_close(train_run *run) { live_line_end(&run->progress.line); }
