/* Finds a trained model, and how it was trained. */
#include "use/trained.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "job/signals.h"

/* Returns the joined text on the heap; NULL if there is no memory. */
static char *join(const char *folder, const char *name) {
  size_t length = strlen(folder) + strlen(name) + 2;
  char *path = malloc(length);
  if (path) snprintf(path, length, "%s/%s", folder, name);
  return path;
}

/* Finds the checkpoint that --checkpoint means; the caller owns it. */
static uly_status find_checkpoint(const char *given, char **checkpoint) {
  char latest[PATH_MAX] = "";
  /* A missing checkpoint is reported when it is read. */
  if (access(given, F_OK) == 0) {
    uly_status status = uly_checkpoint_latest(given, latest, sizeof latest);
    if (status != ULY_OK) return status;
  }
  *checkpoint = strdup(latest[0] ? latest : given);
  return *checkpoint ? ULY_OK : uly_fail(ULY_ERR_MEMORY, "no memory for a path");
}

/* Parses the flags that say where to look. */
static uly_status parse(options *o, command cmd, int argc, char *const *argv) {
  uly_status status = options_parse(o, cmd, argc, argv);
  if (status != ULY_OK) return uly_fail(status, "%s", o->error);
  if (o->checkpoint) return ULY_OK;
  return uly_fail(ULY_ERR_CONFIG,
                  "--checkpoint: missing: expected a checkpoint, or the folder of a run");
}

/* Uses what the checkpoint says as the defaults of flags. If a flag gives another pattern of
 * blocks, the members of the checkpoint's pattern do not apply. */
static uly_status lay_under(trained *t, command cmd, int argc, char *const *argv,
                            uly_sparse_pattern given, const uly_checkpoint_info *info) {
  options *o = &t->options;
  uly_status status = options_init(o);
  uly_sparse defaults = o->config.sparse;
  o->config.eval_windows = (int64_t)option_table[option_named("eval_windows")].max; /* all */
  uly_checkpoint_apply(info, &o->config);
  if (given != ULY_SPARSE_NONE && given != info->sparse.pattern) o->config.sparse = defaults;
  if (status == ULY_OK) status = parse(o, cmd, argc, argv);
  if (status == ULY_OK && (status = options_check_needs(o, cmd)) != ULY_OK) {
    uly_fail(status, "%s", o->error);
  }
  /* --seed is that of the draws; the run's draws stay as they were. */
  if (cmd == GENERATE) {
    o->sampling.seed = o->config.seed;
    o->config.seed = info->seed;
  }
  return status;
}

static uly_status find(trained *t, command cmd, int argc, char *const *argv) {
  options flags;
  uly_checkpoint_info info = {.size = sizeof info};
  uly_status status = options_init(&flags);
  if (status == ULY_OK) status = parse(&flags, cmd, argc, argv);
  if (status == ULY_OK) status = find_checkpoint(flags.checkpoint, &t->checkpoint);
  if (status == ULY_OK) status = uly_checkpoint_read(t->checkpoint, &info);
  if (status == ULY_OK) status = lay_under(t, cmd, argc, argv, flags.config.sparse.pattern, &info);
  if (status == ULY_OK) {
    t->vocab = info.model.vocab;
    char *model = join(t->checkpoint, "config.json");
    free((void *)(uintptr_t)t->options.config.model);
    t->options.config.model = model;
    if (!model) status = uly_fail(ULY_ERR_MEMORY, "no memory for a path");
  }
  t->options.config.forward_only = 1;
  options_free(&flags);
  return status;
}

/* Compares all options that the command knows, and the checkpoint. */
static uly_status compare(trained *t, command cmd, uly_mesh *world) {
  char *text = NULL, buffer[OPTION_BUFFER];
  size_t length = 0;
  FILE *stream = open_memstream(&text, &length);
  for (option_id id = 0; stream && id < num_options; id++) {
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
  uly_status status = uly_mesh_create(NULL, &world);
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
