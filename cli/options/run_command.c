/* Runs commands: see run_command.h. */
#include "options/run_command.h"

#include "job/starter.h"
#include "options/messages.h"

int run_alone(options *o, command cmd, int argc, char *const *argv,
              uly_status (*work)(options *o)) {
  uly_status status = options_init(o, cmd);
  if (status == ULY_OK) status = options_parse(o, argc, argv);
  if (status == ULY_OK) status = work(o);
  if (status != ULY_OK) print_last_failure();
  options_free(o);
  return uly_status_exit_code(status);
}

int run_on_ranks(const ranks_work *work, void *state, int argc, char *const *argv) {
  uly_status status = starter_init();
  if (status != ULY_OK) {
    print_last_failure();
    return uly_status_exit_code(status);
  }
  status = work->run(state, argc, argv);
  if (status != ULY_OK && uly_world_rank() == 0) print_last_failure();
  work->clean_up(state);
  uly_finalize();
  bool is_stopped = status == ULY_OK && work->is_stopped && *work->is_stopped;
  return is_stopped ? EXIT_STOPPED : uly_status_exit_code(status);
}
