/* ulysses prepare: turns text into token shards. One process, without MPI. */
#include "commands/commands.h"
#include "common/format.h"
#include "common/say.h"
#include "job/starter.h"
#include "options/messages.h"

static void print_part(const char *name, const uly_prepare_part *part, const char *out) {
  char human[FORMAT_BYTES];
  if (part->documents == 0) return;
  printf("%-10s  %lld document%s, %lld tokens, %lld shard%s, %s: %s/%s\n", name,
         (long long)part->documents, part->documents == 1 ? "" : "s", (long long)part->tokens,
         (long long)part->shards, part->shards == 1 ? "" : "s", format_bytes(part->bytes, human),
         out, name);
}

static uly_status prepare(options *o) {
  uly_prepare_report report = {.size = sizeof report};
  o->prepare.inputs = (const char *const *)o->args;
  o->prepare.num_inputs = o->num_args;
  o->prepare.out = o->out;
  o->prepare.seed = o->config.seed;
  o->prepare.any_bytes = o->config.any_bytes;
  uly_status status = uly_prepare(&o->prepare, &report);
  if (status != ULY_OK) return status;
  printf("read        %lld file%s\n", (long long)report.files, report.files == 1 ? "" : "s");
  if (report.skipped > 0) {
    printf("left out    %lld line%s: %s%s\n", (long long)report.skipped,
           report.skipped == 1 ? "" : "s", report.skipped == 1 ? "" : "first ",
           report.first_skipped);
  }
  print_part("train", &report.train, o->out);
  print_part("eval", &report.eval, o->out);
  return ULY_OK;
}

int command_prepare(int argc, char *const *argv) {
  options o;
  uly_status status = options_init(&o);
  if (status == ULY_OK) status = options_parse(&o, PREPARE, argc, argv);
  if (status != ULY_OK) uly_fail(status, "%s", o.error);
  /* If mpirun has started several processes, only one of them prepares. */
  if (status == ULY_OK && is_first_process()) status = prepare(&o);
  if (status != ULY_OK) print_failure(last_failure());
  options_free(&o);
  return uly_status_exit_code(status);
}
