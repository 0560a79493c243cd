/* Prints the header of a run: its model, ranks and data, what computes, and its options. */
#include "train/train_header.h"

#include "common/format.h"
#include "train/train_slow.h"

void header_print(const train_run *run) {
  const uly_train_config *config = &run->options.config;
  int dp = uly_mesh_dp(run->mesh);
  if (!run->is_first) return;
  printf("ulysses     " ULY_VERSION_STRING "\n");
  printf("model       %s, %lld parameters\n", config->model,
         (long long)uly_trainer_num_params(run->trainer));
  print_ranks(config, uly_mesh_size(run->mesh), dp, uly_mesh_sp(run->mesh));
  const uly_data_info *data = uly_trainer_data_info(run->trainer);
  const uly_data_info *eval_data = uly_trainer_eval_data_info(run->trainer);
  print_data("data", config->data, data, data->sequences - data->without_label);
  if (eval_data) {
    print_data("eval data", config->eval_data, eval_data,
               uly_trainer_num_eval_windows(run->trainer));
  }
  print_step_size(config, dp);
  print_mask(config);
  slow_print(run);
  if (run->progress.peak_flops > 0) {
    printf("peak        %.1f GFLOP/s of matrix products, all ranks together\n",
           run->progress.peak_flops / 1e9);
  }
  if (run->checkpoint[0]) {
    printf("resumed     %s, %lld steps done\n", run->checkpoint,
           (long long)uly_trainer_steps_done(run->trainer));
  }
  options_print(stdout, &run->options, TRAIN);
}
