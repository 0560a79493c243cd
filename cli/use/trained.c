/* Finds a trained model, and how it was trained. */
#include "use/trained.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/try.h"
#include "options/options_table.h"

/* Finds the checkpoint that --checkpoint means; the caller owns it. */
static uly_status find_checkpoint(const char *given, char **checkpoint) {
  char latest[PATH_MAX] = "";
  /* A missing checkpoint is reported when it is read. */
  if (access(given, F_OK) == 0) TRY(uly_checkpoint_latest(given, latest, sizeof latest));
  *checkpoint = strdup(latest[0] ? latest : given);
  return *checkpoint ? ULY_OK : uly_fail(ULY_ERR_MEMORY, "no memory for a path");
}

/* Parses the flags that say where to look. */
static uly_status parse(use_options *o, int argc, char *const *argv) {
  TRY(options_parse(&o->base, argc, argv));
  if (o->checkpoint) return ULY_OK;
  return uly_fail(
      ULY_ERR_CONFIG,
      "--checkpoint is missing: give a checkpoint, the folder of a run, or a Hugging Face folder");
}

/* Reads only the flags, for where the checkpoint is and whether they give a pattern of blocks. */
static uly_status look(use_options *flags, command cmd, int argc, char *const *argv,
                       char **checkpoint) {
  TRY(options_init(&flags->base, cmd));
  TRY(parse(flags, argc, argv));
  return find_checkpoint(flags->checkpoint, checkpoint);
}

/* Uses what the checkpoint says as the defaults of flags. If a flag gives another pattern of
 * blocks, the members of the checkpoint's pattern do not apply. */
static uly_status lay_under(use_options *o, command cmd, int argc, char *const *argv,
                            uly_sparse_pattern given, const uly_checkpoint_info *info) {
  TRY(options_init(&o->base, cmd));
  uly_train_config *config = &o->run.config;
  uly_sparse defaults = config->sparse;
  config->eval_windows =
      (int64_t)option_table[option_named("eval_windows")].rules.max.integer; /* all */
  uly_checkpoint_apply(info, config);
  if (given != ULY_SPARSE_NONE && given != info->sparse.pattern) config->sparse = defaults;
  TRY(parse(o, argc, argv));
  return options_check_needs(&o->base);
}

/* Takes the model from the checkpoint. */
static uly_status take_model(const trained *t, uly_train_config *config) {
  char *model = NULL;
  if (asprintf(&model, "%s/config.json", t->checkpoint) < 0) model = NULL;
  free((void *)(uintptr_t)config->model);
  config->model = model;
  config->forward_only = 1;
  return model ? ULY_OK : uly_fail(ULY_ERR_MEMORY, "no memory for a path");
}

static uly_status find(trained *t, use_options *o, command cmd, int argc, char *const *argv) {
  use_options *flags = calloc(1, options_size(cmd));
  uly_checkpoint_info info = {.size = sizeof info};
  if (!flags) return uly_fail(ULY_ERR_MEMORY, "no memory for the options");
  uly_status status = look(flags, cmd, argc, argv, &t->checkpoint);
  uly_sparse_pattern given = flags->run.config.sparse.pattern;
  options_free(&flags->base);
  free(flags);
  if (status != ULY_OK) return status;
  TRY(uly_checkpoint_read(t->checkpoint, &info));
  t->vocab = info.model.vocab;
  t->seed = info.seed;
  t->is_weights_only = info.is_weights_only != 0;
  TRY(lay_under(o, cmd, argc, argv, given, &info));
  return take_model(t, &o->run.config);
}

uly_status trained_find(trained *t, use_options *o, command cmd, int argc, char *const *argv) {
  uly_mesh *world = NULL;
  TRY(uly_mesh_create(NULL, &world));
  uly_status status = uly_mesh_agree(world, find(t, o, cmd, argc, argv));
  if (status == ULY_OK) status = options_compare(&o->base, world, t->checkpoint);
  uly_mesh_destroy(world);
  return status;
}
