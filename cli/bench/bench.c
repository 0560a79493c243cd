/* ulysses bench: finds the benchmark, and runs it for each combination of the lists among its
 * options. */
#include "bench/bench.h"

#include <stdlib.h>
#include <string.h>

#include "commands/commands.h"
#include "common/say.h"
#include "job/starter.h"
#include "options/messages.h"

typedef struct bench_kind {
  command command;
  uly_status (*run)(bench *b);
} bench_kind;

static const bench_kind kinds[] = {{BENCH_ATTENTION, bench_attention},
                                   {BENCH_STEP, bench_step},
                                   {BENCH_EXCHANGE, bench_exchange},
                                   {BENCH_CEILING, bench_ceiling}};

/* Reads the options of one combination. The caller calls options_free after a failure, too. */
static uly_status read_options(bench *b, int64_t combination, int argc, char *const *argv) {
  uly_status status = options_init(&b->options);
  b->options.combination = combination;
  if (status == ULY_OK) status = options_parse(&b->options, b->kind, argc, argv);
  return status == ULY_OK ? ULY_OK : uly_fail(status, "%s", b->options.error);
}

/* Reads all combinations once, so that a mistake is reported before anything is measured. */
static uly_status check_options(bench *b, int argc, char *const *argv, int64_t *num_combinations) {
  uly_status status = ULY_OK;
  *num_combinations = 1;
  for (int64_t i = 0; i < *num_combinations && status == ULY_OK; i++) {
    status = read_options(b, i, argc, argv);
    *num_combinations = b->options.num_combinations;
    options_free(&b->options);
  }
  return uly_mesh_agree(b->world, status);
}

/* Refuses ranks whose arguments differ, since they would make other calls. */
static uly_status compare_arguments(const bench *b, int argc, char *const *argv) {
  char *text = NULL;
  size_t length = 0;
  FILE *stream = open_memstream(&text, &length);
  for (int i = 0; stream && i < argc; i++) fwrite(argv[i], 1, strlen(argv[i]) + 1, stream);
  bool ok = stream && fclose(stream) == 0;
  uly_status status = ok ? ULY_OK : uly_fail(ULY_ERR_MEMORY, "no memory to compare the options");
  status = uly_mesh_agree(b->world, status);
  if (status == ULY_OK) status = uly_mesh_same(b->world, text, length, "list of arguments");
  free(text);
  return status;
}

/* Finds the benchmark. Ranks agree on a failure, since one that ended alone could be faster than
 * the message of rank 0. */
static uly_status choose_kind(bench *b, int argc, char *const *argv, const bench_kind **kind) {
  const command_info *info = &command_table[COMMAND_bench];
  char *first[] = {argc > 0 ? argv[0] : NULL};
  options o = {.args = first, .num_args = argc > 0};
  uly_status status = command_check_args(&o, info);
  if (status != ULY_OK) uly_fail(status, "%s", o.error);
  for (const command_word *word = info->words; status == ULY_OK && word->name; word++) {
    if (strcmp(word->name, first[0]) == 0) b->kind = (command)word->bits;
  }
  *kind = kinds;
  while (status == ULY_OK && (*kind)->command != b->kind) ++*kind;
  return uly_mesh_agree(b->world, status);
}

static uly_status run_all(bench *b, const bench_kind *kind, int argc, char *const *argv) {
  int64_t num_combinations = 0;
  uly_status status = check_options(b, argc, argv, &num_combinations);
  if (status == ULY_OK) status = compare_arguments(b, argc, argv);
  for (int64_t i = 0; i < num_combinations && status == ULY_OK; i++) {
    status = uly_mesh_agree(b->world, read_options(b, i, argc, argv));
    if (status == ULY_OK) status = kind->run(b);
    options_free(&b->options);
  }
  return status;
}

int command_bench(int argc, char *const *argv) {
  uly_status status = starter_init();
  if (status != ULY_OK) {
    print_failure(last_failure());
    return uly_status_exit_code(status);
  }
  bench b = {.is_first = uly_world_rank() == 0};
  const bench_kind *kind = NULL;
  status = uly_mesh_create(NULL, &b.world);
  if (status == ULY_OK) status = choose_kind(&b, argc, argv, &kind);
  if (status == ULY_OK) status = run_all(&b, kind, argc, argv);
  if (status != ULY_OK && b.is_first) print_failure(last_failure());
  uly_mesh_destroy(b.world);
  uly_finalize();
  return uly_status_exit_code(status);
}
