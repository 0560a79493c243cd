/* ulysses checkpoint: looks after checkpoints. One process, without MPI. */
#include <limits.h>
#include <string.h>

#include "commands.h"
#include "format.h"

void checkpoint_print_help(FILE *file) {
  fputs(
      "Look after checkpoints. No MPI is needed.\n\n"
      "Usage:    ulysses checkpoint verify DIR\n"
      "Example:  ulysses checkpoint verify run/step-0000000500\n\n"
      "verify reads the checkpoint in DIR whole and checks formats, shapes and the checksum of\n"
      "every tensor. Exit codes: 0 undamaged, 3 damaged or not a checkpoint, 2 wrong usage.\n",
      file);
}

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
  uly_status status;
  if (argc != 2 || strcmp(argv[0], "verify") != 0 || argv[1][0] == '-' || !argv[1][0]) {
    status = uly_fail(ULY_ERR_CONFIG,
                      "expected 'ulysses checkpoint verify DIR'; 'ulysses help "
                      "checkpoint' says more");
  } else {
    status = verify(argv[1]);
  }
  if (status != ULY_OK) print_error(uly_last_error());
  return uly_status_exit_code(status);
}
