/* Prints before the first step what is run and with what it computes, and warns of what makes that
 * slow. */
#include "common/any_rank.h"
#include "common/format.h"
#include "job/slow.h"
#include "train/train_run.h"

static uly_machine look(const train_run *run) {
  uly_machine machine = {.size = sizeof machine};
  uly_machine_look(run->mesh, &machine);
  int threads = run->options.run.config.threads;
  if (threads > 0) machine.threads = threads;
  return machine;
}

/* Prints how long the stages of a pipeline are expected to wait for each other. */
static void print_bubble(const train_run *run) {
  uly_plan_report plan = {.size = sizeof plan};
  if (uly_mesh_pp(run->mesh) == 1) return;
  if (uly_plan(run->mesh, &run->options.run.config, &plan) != ULY_OK) return;
  printf(
      "bubble      stages are expected to wait for %.0f%% of the time of the passes; a larger "
      "--batch reduces this\n",
      100 * plan.bubble);
}

static void print(const train_run *run, const uly_machine *machine) {
  const uly_train_config *config = &run->options.run.config;
  int dp = uly_mesh_dp(run->mesh);
  printf("ulysses     " ULY_VERSION_STRING "\n");
  printf("model       %s, %lld parameters\n", config->model,
         (long long)uly_trainer_num_params(run->trainer));
  print_ranks(config, run->mesh);
  const uly_data_info *data = uly_trainer_data_info(run->trainer);
  const uly_data_info *eval_data = uly_trainer_eval_data_info(run->trainer);
  print_data("data", config->data, data, data->sequences - data->without_label);
  if (eval_data)
    print_data("eval data", config->eval_data, eval_data,
               uly_trainer_num_eval_windows(run->trainer));
  print_step_size(config, dp);
  print_bubble(run);
  print_attention(config);
  printf("kernels     %s on %d thread%s of each rank; oneDNN multiplies with %s\n",
         slow_kernels(machine->kernels), machine->threads, plural(machine->threads),
         machine->products);
  if (run->progress.peak_flops > 0)
    printf("peak        %.1f GFLOP/s of matrix products, all ranks together\n",
           run->progress.peak_flops / 1e9);
  if (run->checkpoint[0])
    printf("resumed     %s, %lld steps done\n", run->checkpoint,
           (long long)uly_trainer_steps_done(run->trainer));
  options_print(stdout, &run->options.base);
}

static void warn(train_run *run, const uly_machine *machine) {
  char text[SLOW_TEXT];
  for (slow_kind kind = 0; kind < NUM_SLOW; kind++) {
    bool is_slow = slow_find(machine, run->options.run.config.dtype, kind, text);
    if (!any_rank(run->mesh, is_slow)) continue;
    if (!is_slow)
      snprintf(text, sizeof text,
               "%s slows down another rank, and all ranks wait for it: ulysses doctor, started "
               "like this run, says more",
               slow_name(kind));
    progress_warn(run, "warning: %s", text);
    rank_log_say(run, "%s", text);
  }
}

void header_print(train_run *run) {
  uly_machine machine = look(run);
  if (run->is_first) print(run, &machine);
  warn(run, &machine);
}
