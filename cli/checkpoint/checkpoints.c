/* ulysses checkpoint verify|show: checks checkpoints, or prints what is in them. One process,
 * without MPI. */
#include <limits.h>
#include <string.h>

#include "checkpoint/checkpoints.h"
#include "commands/commands.h"
#include "common/say.h"
#include "options/messages.h"

/* Finds the checkpoint. A run's folder stands for its newest checkpoint. */
static uly_status find_checkpoint(const char *dir, checkpoint_place *place) {
  *place = (checkpoint_place){.newest_of = ""};
  uly_status status = uly_checkpoint_latest(dir, place->path, sizeof place->path);
  if (status != ULY_OK) return status;
  if (place->path[0]) {
    place->newest_of = dir;
    return ULY_OK;
  }
  int length = snprintf(place->path, sizeof place->path, "%s", dir);
  if (length < 0 || (size_t)length >= sizeof place->path) {
    return uly_fail(ULY_ERR_IO, "'%.200s...': too long for a path", dir);
  }
  return ULY_OK;
}

static uly_status verify(const checkpoint_place *place, const options *o) {
  uly_checkpoint_info info = {.size = sizeof info};
  uly_status status = uly_checkpoint_verify(place->path, &info);
  if (status != ULY_OK) return status;
  if (o->json) return checkpoint_print_json(place, &info, false);
  printf("%s%s%s: step %lld, %lld parameters, %lld tensors, %lld bytes: every checksum matches\n",
         place->path, place->newest_of[0] ? ", the newest of " : "", place->newest_of,
         (long long)info.step, (long long)info.num_params, (long long)info.num_tensors,
         (long long)info.bytes);
  return ULY_OK;
}

static uly_status show(const checkpoint_place *place, const options *o) {
  uly_checkpoint_info info = {.size = sizeof info};
  uly_status status = uly_checkpoint_read(place->path, &info);
  if (status != ULY_OK) return status;
  if (o->json) return checkpoint_print_json(place, &info, true);
  return checkpoint_print(place, &info, o->tensors);
}

static uly_status run(const options *o) {
  checkpoint_place place;
  uly_status status = find_checkpoint(o->args[1], &place);
  if (status != ULY_OK) return status;
  return strcmp(o->args[0], "show") == 0 ? show(&place, o) : verify(&place, o);
}

int command_checkpoint(int argc, char *const *argv) {
  options o;
  uly_status status = options_init(&o);
  if (status == ULY_OK) status = options_parse(&o, CHECKPOINT, argc, argv);
  status = status == ULY_OK ? run(&o) : uly_fail(status, "%s", o.error);
  if (status != ULY_OK) print_failure(last_failure());
  options_free(&o);
  return uly_status_exit_code(status);
}
