/* Prints what a run computes with, and what makes that slow, before its first step. */
#include "train_slow.h"

#include "slow.h"
#include "train_logs.h"
#include "train_progress.h"

static uly_machine look(const train_run *run) {
  uly_machine machine = {.size = sizeof machine};
  uly_machine_look(run->mesh, &machine);
  int threads = run->options.config.threads;
  if (threads > 0) machine.threads = threads;
  return machine;
}

void slow_print(const train_run *run) {
  uly_machine machine = look(run);
  printf("kernels     %s on %d thread%s of each rank; oneDNN multiplies with %s\n",
         slow_kernels(machine.kernels), machine.threads, machine.threads == 1 ? "" : "s",
         machine.products);
}

void slow_warn(train_run *run) {
  uly_machine machine = look(run);
  char text[SLOW_TEXT];
  for (slow_kind kind = 0; kind < NUM_SLOW; kind++) {
    bool is_slow = slow_find(&machine, run->options.config.dtype, kind, text);
    if (!any_rank(run->mesh, is_slow)) continue;
    if (!is_slow) {
      snprintf(text, sizeof text,
               "%s makes another rank slow, and all wait for it: ulysses doctor, started as this "
               "run is, says more",
               slow_name(kind));
    }
    progress_warn(run, "warning: %s", text);
    rank_log_say(run, "%s", text);
  }
}
