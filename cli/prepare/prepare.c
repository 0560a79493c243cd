/* ulysses prepare: turns text into token shards. It runs as one process, without MPI. */
#include "common/format.h"
#include "common/try.h"
#include "job/starter.h"
#include "options/run_command.h"
#include "prepare/prepare_options.h"

static void print_part(const char *name, const uly_prepare_part *part, const char *out) {
  char human[FORMAT_BYTES];
  if (part->documents == 0) return;
  printf("%-10s  %lld document%s, %lld tokens, %lld shard%s, %s: %s/%s\n", name,
         (long long)part->documents, plural(part->documents), (long long)part->tokens,
         (long long)part->shards, plural(part->shards), format_bytes(part->bytes, human), out,
         name);
}

static uly_status prepare(options *base) {
  uly_prepare_config *config = &((prepare_options *)base)->prepare;
  uly_prepare_report report = {.size = sizeof report};
  /* If mpirun has started several processes, only one of them prepares. */
  if (!is_first_process()) return ULY_OK;
  config->inputs = (const char *const *)base->args;
  config->num_inputs = base->num_args;
  TRY(uly_prepare(config, &report));
  printf("read        %lld file%s\n", (long long)report.files, plural(report.files));
  if (report.skipped > 0)
    printf("left out    %lld line%s: %s%s\n", (long long)report.skipped, plural(report.skipped),
           report.skipped == 1 ? "" : "first ", report.first_skipped);
  print_part("train", &report.train, config->out);
  print_part("eval", &report.eval, config->out);
  return ULY_OK;
}

int command_prepare(int argc, char *const *argv) {
  prepare_options o;
  return run_alone(&o.base, PREPARE, argc, argv, prepare);
}
