/* ulysses checkpoint verify|show: checks checkpoints, or prints what is in them. It runs as one
 * process, without MPI. */
#include "checkpoint/checkpoints.h"

#include <string.h>

#include "checkpoint/checkpoint_options.h"
#include "common/try.h"
#include "options/run_command.h"

/* Finds the checkpoint. A run's folder stands for its newest checkpoint. */
static uly_status find_checkpoint(const char *dir, checkpoint_place *place) {
  *place = (checkpoint_place){.newest_of = ""};
  TRY(uly_checkpoint_latest(dir, place->path, sizeof place->path));
  if (place->path[0]) {
    place->newest_of = dir;
    return ULY_OK;
  }
  if (snprintf(place->path, sizeof place->path, "%s", dir) < (int)sizeof place->path) return ULY_OK;
  return uly_fail(ULY_ERR_IO, "the path '%.200s...' is too long", dir);
}

static uly_status verify(const checkpoint_place *place, const checkpoint_options *o) {
  uly_checkpoint_info info = {.size = sizeof info};
  TRY(uly_checkpoint_verify(place->path, &info));
  if (o->json) return checkpoint_print_json(place, &info, false);
  printf("%s%s%s: step %lld, %lld parameters, %lld tensors, %lld bytes: every checksum matches\n",
         place->path, place->newest_of[0] ? ", the newest of " : "", place->newest_of,
         (long long)info.step, (long long)info.num_params, (long long)info.num_tensors,
         (long long)info.bytes);
  return ULY_OK;
}

static uly_status show(const checkpoint_place *place, const checkpoint_options *o) {
  uly_checkpoint_info info = {.size = sizeof info};
  TRY(uly_checkpoint_read(place->path, &info));
  if (o->json) return checkpoint_print_json(place, &info, true);
  return checkpoint_print(place, &info, o->tensors);
}

static uly_status verify_or_show(options *base) {
  const checkpoint_options *o = (const checkpoint_options *)base;
  checkpoint_place place;
  TRY(find_checkpoint(base->args[1], &place));
  return strcmp(base->args[0], "show") == 0 ? show(&place, o) : verify(&place, o);
}

int command_checkpoint(int argc, char *const *argv) {
  checkpoint_options o;
  return run_alone(&o.base, CHECKPOINT, argc, argv, verify_or_show);
}
