/* ulysses prepare: turns text into token shards. It runs as one process, without MPI. */
#include "common/format.h"
#include "common/try.h"
#include "job/starter.h"
#include "options/run_command.h"
#include "prepare/prepare_options.h"

/* Seconds between two plain lines of progress. */
#define PLAIN_EVERY 30

/* Remembers the line on the screen. */
typedef struct screen {
  live_line line;
  double shown; /* time of the last line */
} screen;

/* --------------------------------------------------------------------------- progress */

static double megabytes_per_second(int64_t bytes, double seconds) {
  return seconds > 0 ? (double)bytes / seconds / 1e6 : 0;
}

/* Describes the state. The time left is that of the remaining bytes at the speed so far. */
static void describe(const uly_prepare_progress *p, char *line, size_t size) {
  char read[FORMAT_BYTES], all[FORMAT_BYTES], left[FORMAT_DURATION];
  double rate = megabytes_per_second(p->bytes, p->seconds);
  format_bytes(p->bytes, read);
  if (p->all_bytes < p->bytes || p->bytes == 0) {
    snprintf(line, size, "%s  %lld tokens  %.1f MB/s", read, (long long)p->tokens, rate);
    return;
  }
  double share = (double)p->bytes / (double)p->all_bytes;
  snprintf(line, size, "%s of %s  %lld tokens  %.1f MB/s  %s left", read,
           format_bytes(p->all_bytes, all), (long long)p->tokens, rate,
           format_duration(p->seconds * (1 - share) / share, left));
}

static void show(void *user, const uly_prepare_progress *progress) {
  screen *s = user;
  char line[200];
  if (!s->line.is_live && progress->seconds - s->shown < PLAIN_EVERY) return;
  s->shown = progress->seconds;
  describe(progress, line, sizeof line);
  if (s->line.is_live) {
    live_line_show(&s->line, line);
  } else {
    puts(line);
    fflush(stdout);
  }
}

/* ------------------------------------------------------------------------ the command */

static void print_part(const char *name, const uly_prepare_part *part, const char *out) {
  char human[FORMAT_BYTES];
  if (part->documents == 0) return;
  printf("%-10s  %lld document%s, %lld tokens, %lld shard%s, %s: %s/%s\n", name,
         (long long)part->documents, plural(part->documents), (long long)part->tokens,
         (long long)part->shards, plural(part->shards), format_bytes(part->bytes, human), out,
         name);
}

static void print_report(const uly_prepare_config *config, const uly_prepare_report *report) {
  char human[FORMAT_BYTES];
  printf("read        %lld file%s, %s in %.1f s, %.1f MB/s\n", (long long)report->files,
         plural(report->files), format_bytes(report->bytes, human), report->seconds,
         megabytes_per_second(report->bytes, report->seconds));
  if (report->skipped > 0)
    printf("left out    %lld line%s: %s%s\n", (long long)report->skipped, plural(report->skipped),
           report->skipped == 1 ? "" : "first ", report->first_skipped);
  if (config->tokenizer)
    printf("tokenizer   %s, token %lld ends each document\n", config->tokenizer,
           (long long)report->doc_end);
  print_part("train", &report->train, config->out);
  print_part("eval", &report->eval, config->out);
}

static uly_status prepare(options *base) {
  prepare_options *o = (prepare_options *)base;
  uly_prepare_config *config = &o->prepare;
  uly_prepare_report report = {.size = sizeof report};
  screen s = {.shown = 0};
  /* If mpirun has started several processes, only one of them prepares. */
  if (!is_first_process()) return ULY_OK;
  s.line = live_line_open(o->progress);
  config->inputs = (const char *const *)base->args;
  config->num_inputs = base->num_args;
  config->progress = show;
  config->user = &s;
  uly_status status = uly_prepare(config, &report);
  live_line_clear(&s.line);
  if (status == ULY_OK) print_report(config, &report);
  return status;
}

int command_prepare(int argc, char *const *argv) {
  prepare_options o;
  return run_alone(&o.base, PREPARE, argc, argv, prepare);
}
