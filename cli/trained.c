/* Finds a trained model, and the shape of the run that trained it. */
#include "trained.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "signals.h"

/* Text on the heap; NULL without memory. */
static char *join(const char *folder, const char *name) {
  size_t length = strlen(folder) + strlen(name) + 2;
  char *path = malloc(length);
  if (path) snprintf(path, length, "%s/%s", folder, name);
  return path;
}

/* The checkpoint that --checkpoint means, and the folder of its run; both are the caller's. */
static uly_status find_checkpoint(const char *given, char **checkpoint, char **run) {
  char latest[PATH_MAX] = "";
  if (access(given, F_OK) == 0) { /* what is not there is told when it is read */
    uly_status status = uly_checkpoint_latest(given, latest, sizeof latest);
    if (status != ULY_OK) return status;
  }
  *checkpoint = strdup(latest[0] ? latest : given);
  *run = latest[0] ? strdup(given) : join(given, "..");
  return *checkpoint && *run ? ULY_OK : uly_fail(ULY_ERR_MEMORY, "no memory for a path");
}

/* What says how the model attends, and what it was trained on. */
static uly_status take_shape(options *o, const char *path) {
  options run;
  uly_status status = options_init(&run);
  run.config.seq_len = o->config.seq_len;
  run.config.seed = o->config.seed;
  if (status == ULY_OK) status = options_read_yaml(&run, path);
  if (status == ULY_OK) {
    o->config.window = run.config.window;
    o->config.sparse = run.config.sparse;
    o->config.sparse.local = uly_sparse_local(&run.config.sparse, run.config.seq_len);
    o->config.seq_len = run.config.seq_len;
    o->config.pack = run.config.pack;
    o->config.doc_end = run.config.doc_end;
    o->config.dtype = run.config.dtype;
    o->config.seed = run.config.seed;
  } else {
    uly_fail(status, "%s", run.error);
  }
  options_free(&run);
  return status;
}

/* Flags, for where to look. */
static uly_status parse(options *o, command cmd, int argc, char *const *argv) {
  uly_status status = options_parse(o, cmd, argc, argv);
  if (status != ULY_OK) return uly_fail(status, "%s", o->error);
  if (o->checkpoint) return ULY_OK;
  return uly_fail(ULY_ERR_CONFIG,
                  "--checkpoint: missing: expected a checkpoint, or the folder of a run");
}

/* Under the flags lies the shape of the run. */
static uly_status lay_under(trained *t, command cmd, int argc, char *const *argv,
                            const char *given_config, const char *run,
                            const uly_checkpoint_info *info) {
  char *beside = join(run, "config.yaml");
  const char *path = given_config ? given_config : beside;
  uly_status status = beside ? ULY_OK : uly_fail(ULY_ERR_MEMORY, "no memory for a path");
  if (status == ULY_OK) status = options_init(&t->options);
  t->options.config.eval_windows = INT64_MAX;
  t->options.config.seq_len = info->seq_len;
  t->options.config.seed = info->seed;
  bool is_there = status == ULY_OK && (given_config || access(path, F_OK) == 0);
  if (is_there) status = take_shape(&t->options, path);
  t->options.sampling.seed = 0;
  uint64_t seed = t->options.config.seed;
  if (status == ULY_OK) status = parse(&t->options, cmd, argc, argv);
  if (cmd == GENERATE) { /* --seed is that of the draws: what the run drew does not change */
    t->options.sampling.seed = t->options.config.seed;
    t->options.config.seed = seed;
  }
  free(beside);
  return status;
}

static uly_status find(trained *t, command cmd, int argc, char *const *argv) {
  options flags;
  uly_checkpoint_info info;
  char *run = NULL;
  uly_status status = options_init(&flags);
  if (status == ULY_OK) status = parse(&flags, cmd, argc, argv);
  if (status == ULY_OK) status = find_checkpoint(flags.checkpoint, &t->checkpoint, &run);
  if (status == ULY_OK) status = uly_checkpoint_read(t->checkpoint, &info);
  if (status == ULY_OK && run) {
    status = lay_under(t, cmd, argc, argv, flags.config_file, run, &info);
  }
  if (status == ULY_OK) {
    t->vocab = info.model.vocab;
    char *model = join(t->checkpoint, "config.json");
    free((void *)(uintptr_t)t->options.config.model);
    t->options.config.model = model;
    if (!model) status = uly_fail(ULY_ERR_MEMORY, "no memory for a path");
  }
  t->options.config.forward_only = 1;
  free(run);
  options_free(&flags);
  return status;
}

/* All options that the command knows, and the checkpoint. */
static uly_status compare(trained *t, command cmd, uly_mesh *world) {
  char *text = NULL, buffer[OPTION_BUFFER];
  size_t length = 0;
  FILE *stream = open_memstream(&text, &length);
  for (enum option_id id = 0; stream && id < NUM_OPTIONS; id++) {
    if (!(option_table[id].commands & cmd)) continue;
    const char *value = options_get(&t->options, id, buffer);
    fprintf(stream, "%s: %s\n", option_table[id].key, value ? value : "");
  }
  if (stream) fprintf(stream, "%s", t->checkpoint);
  uly_status status = stream && fclose(stream) == 0 ? ULY_OK : ULY_ERR_MEMORY;
  if (status != ULY_OK) uly_fail(status, "no memory to compare the options of all ranks");
  status = uly_mesh_agree(world, status);
  if (status == ULY_OK) status = uly_mesh_same(world, text, length, "configuration");
  free(text);
  return status;
}

uly_status trained_find(trained *t, command cmd, int argc, char *const *argv) {
  uly_mesh *world = NULL;
  uly_status status = uly_mesh_create(NULL, (uly_mesh_desc){0}, &world);
  if (status == ULY_OK) status = uly_mesh_agree(world, find(t, cmd, argc, argv));
  if (status == ULY_OK) status = compare(t, cmd, world);
  uly_mesh_destroy(world);
  return status;
}

void trained_free(trained *t) {
  options_free(&t->options);
  free(t->checkpoint);
}

bool trained_is_stopped(uly_mesh *mesh) {
  uly_status status = signals_received() ? ULY_ERR_CONFIG : ULY_OK;
  return uly_mesh_agree(mesh, status) != ULY_OK;
}
