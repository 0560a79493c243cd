/* ulysses checkpoint: looks after checkpoints. One process, without MPI. */
#include <limits.h>

#include "commands.h"
#include "format.h"

/* The folder that a run saves to is easily taken for a checkpoint. */
static uly_status refuse_folder_of_run(const char *dir) {
  char latest[PATH_MAX];
  uly_status status = uly_checkpoint_latest(dir, latest, sizeof latest);
  if (status != ULY_OK || !latest[0]) return status;
  return uly_fail(
      ULY_ERR_CONFIG,
      "'%.200s' is no checkpoint but holds some: try 'ulysses checkpoint verify %.400s', "
      "the newest",
      dir, latest);
}

static uly_status verify(const char *dir) {
  uly_checkpoint_info info;
  uly_status status = refuse_folder_of_run(dir);
  if (status == ULY_OK) status = uly_checkpoint_verify(dir, &info);
  if (status != ULY_OK) return status;
  printf("%s: step %lld, %lld parameters, %lld tensors, %lld bytes: every checksum matches\n", dir,
         (long long)info.step, (long long)info.num_params, (long long)info.num_tensors,
         (long long)info.bytes);
  return ULY_OK;
}

int command_checkpoint(int argc, char *const *argv) {
  options o;
  uly_status status = options_init(&o);
  if (status == ULY_OK) status = options_parse(&o, CHECKPOINT, argc, argv);
  status = status == ULY_OK ? verify(o.args[1]) : uly_fail(status, "%s", o.error);
  if (status != ULY_OK) print_failure(uly_last_error());
  options_free(&o);
  return uly_status_exit_code(status);
}
