/* ulysses bench: finds the benchmark, and runs it for each combination of the lists among its
 * options. */
#include "bench/bench.h"

#include <stdlib.h>
#include <string.h>

#include "common/try.h"
#include "options/run_command.h"

typedef struct bench_kind {
  command command;
  uly_status (*run)(bench *b);
} bench_kind;

static const bench_kind kinds[] = {{BENCH_ATTENTION, bench_attention},
                                   {BENCH_STEP, bench_step},
                                   {BENCH_EXCHANGE, bench_exchange},
                                   {BENCH_CEILING, bench_ceiling}};

/* Reads the options of one combination. The caller calls options_free even after a failure. */
static uly_status read_options(bench *b, int64_t combination, int argc, char *const *argv) {
  TRY(options_init(&b->options.base, b->kind));
  b->options.base.combination = combination;
  return options_parse(&b->options.base, argc, argv);
}

/* Reads all combinations once, so that a mistake is reported before anything is measured. */
static uly_status check_options(bench *b, int argc, char *const *argv, int64_t *num_combinations) {
  uly_status status = ULY_OK;
  *num_combinations = 1;
  for (int64_t i = 0; i < *num_combinations && status == ULY_OK; i++) {
    status = read_options(b, i, argc, argv);
    *num_combinations = b->options.base.num_combinations;
    options_free(&b->options.base);
  }
  return uly_mesh_agree(b->world, status);
}

/* Refuses ranks whose arguments differ, since they would make different calls. */
static uly_status compare_arguments(const bench *b, int argc, char *const *argv) {
  char *text = NULL;
  size_t length = 0;
  FILE *stream = open_memstream(&text, &length);
  for (int i = 0; stream && i < argc; i++) fwrite(argv[i], 1, strlen(argv[i]) + 1, stream);
  if (stream && fclose(stream) != 0) {
    free(text);
    text = NULL;
  }
  return options_compare_text(b->world, text, length, "list of arguments");
}

/* Finds the benchmark. The ranks agree on a failure, since a rank that ended alone could end the
 * job before rank 0 has printed the message. */
static uly_status choose_kind(bench *b, int argc, char *const *argv, const bench_kind **kind) {
  const command_info *info = &command_table[COMMAND_bench];
  char *first[] = {argc > 0 ? argv[0] : NULL};
  options o = {.args = first, .num_args = argc > 0};
  TRY(uly_mesh_agree(b->world, options_check_args(&o, info)));
  for (const command_word *word = info->words; word->name; word++)
    if (strcmp(word->name, first[0]) == 0) b->kind = (command)word->bits;
  *kind = kinds;
  while ((*kind)->command != b->kind) ++*kind;
  return ULY_OK;
}

static uly_status run_all(void *state, int argc, char *const *argv) {
  bench *b = state;
  const bench_kind *kind = NULL;
  int64_t num_combinations = 0;
  b->is_first = uly_world_rank() == 0;
  TRY(uly_mesh_create(NULL, &b->world));
  TRY(choose_kind(b, argc, argv, &kind));
  TRY(check_options(b, argc, argv, &num_combinations));
  TRY(compare_arguments(b, argc, argv));
  uly_status status = ULY_OK;
  for (int64_t i = 0; i < num_combinations && status == ULY_OK; i++) {
    status = uly_mesh_agree(b->world, read_options(b, i, argc, argv));
    if (status == ULY_OK) status = kind->run(b);
    options_free(&b->options.base);
  }
  return status;
}

static void clean_up(void *state) { uly_mesh_destroy(((bench *)state)->world); }

int command_bench(int argc, char *const *argv) {
  bench b = {.world = NULL};
  ranks_work work = {.run = run_all, .clean_up = clean_up};
  return run_on_ranks(&work, &b, argc, argv);
}
