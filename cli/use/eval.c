/* ulysses eval: prints the loss of a trained model on a file, overall and by position in the
 * sequence. All ranks run this file together; rank 0 prints. */
#include <math.h>
#include <stdlib.h>

#include "common/format.h"
#include "common/print_json.h"
#include "common/try.h"
#include "job/signals.h"
#include "options/run_command.h"
#include "use/trained.h"

typedef struct evaluation {
  trained trained;
  use_options options;
  uly_mesh *mesh;
  uly_trainer *trainer;
  bool is_stopped; /* by a signal */
} evaluation;

static double bits_per_byte(const uly_eval_report *report) { return report->loss / log(2.0); }

static void print_text(const evaluation *e, const uly_eval_report *report) {
  const uly_train_config *config = &e->options.run.config;
  if (e->trained.is_weights_only)
    printf("weights     %s\n", e->trained.checkpoint);
  else
    printf("checkpoint  %s, step %lld\n", e->trained.checkpoint,
           (long long)uly_trainer_steps_done(e->trainer));
  printf("data        %s, %lld tokens in sequences of %lld\n", config->eval_data,
         (long long)report->tokens, (long long)config->seq_len);
  print_attention(config);
  if (report->is_stopped) printf("stopped     by a signal, before everything was evaluated\n");
  printf("loss        %.4f nats per token\n", report->loss);
  printf("perplexity  %.4f\n", exp(report->loss));
  if (e->trained.vocab == BYTE_VOCAB) printf("bits        %.4f per byte\n", bits_per_byte(report));
  printf("\n%-24s %14s %10s %12s\n", "positions", "tokens", "loss", "perplexity");
  for (int i = 0; i < report->num_bins; i++) {
    const uly_eval_bin *bin = &report->bins[i];
    char range[64];
    snprintf(range, sizeof range, "%lld to %lld", (long long)bin->begin, (long long)bin->end - 1);
    if (bin->tokens > 0)
      printf("%-24s %14lld %10.4f %12.4f\n", range, (long long)bin->tokens, bin->loss,
             exp(bin->loss));
  }
}

static uly_status print_json(const evaluation *e, const uly_eval_report *report) {
  const uly_train_config *config = &e->options.run.config;
  json_t *positions = json_array(), *bits = json_null();
  for (int i = 0; i < report->num_bins; i++) {
    const uly_eval_bin *bin = &report->bins[i];
    if (bin->tokens == 0) continue;
    json_array_append_new(positions,
                          json_pack("[I, I, I, f]", (json_int_t)bin->begin, (json_int_t)bin->end,
                                    (json_int_t)bin->tokens, bin->loss));
  }
  if (e->trained.vocab == BYTE_VOCAB) bits = json_real(bits_per_byte(report));
  json_t *json =
      json_pack("{s:s, s:I, s:s, s:I, s:I, s:f, s:f, s:o, s:b, s:o}", "checkpoint",
                e->trained.checkpoint, "step", (json_int_t)uly_trainer_steps_done(e->trainer),
                "data", config->eval_data, "seq_len", (json_int_t)config->seq_len, "tokens",
                (json_int_t)report->tokens, "loss", report->loss, "perplexity", exp(report->loss),
                "bits_per_byte", bits, "is_stopped", report->is_stopped, "by_position", positions);
  if (!json) return uly_fail(ULY_ERR_DATA, "names that are not UTF-8 cannot be printed as JSON");
  return print_json_line(json);
}

static uly_status evaluate(void *state, int argc, char *const *argv) {
  evaluation *e = state;
  uly_train_config *config = &e->options.run.config;
  uly_eval_report report = {.size = sizeof report};
  TRY(trained_find(&e->trained, &e->options, EVAL, argc, argv));
  if (!config->data)
    return uly_fail(ULY_ERR_CONFIG, "--data is missing: give the files to evaluate on");
  config->eval_data = config->data;
  config->data = NULL;
  TRY(uly_mesh_create(&e->options.run.mesh, &e->mesh));
  TRY(uly_trainer_create(e->mesh, config, &e->trainer));
  TRY(uly_trainer_load(e->trainer, e->trained.checkpoint));
  TRY(uly_trainer_evaluate(e->trainer, signals_ask, NULL, &report));
  if (!isfinite(report.loss))
    return uly_fail(ULY_ERR_NONFINITE, "the loss of the model is %g", report.loss);
  e->is_stopped = report.is_stopped;
  if (uly_world_rank() != 0) return ULY_OK;
  if (e->options.json) return print_json(e, &report);
  print_text(e, &report);
  return ULY_OK;
}

static void clean_up(void *state) {
  evaluation *e = state;
  uly_trainer_destroy(e->trainer);
  uly_mesh_destroy(e->mesh);
  options_free(&e->options.base);
  free(e->trained.checkpoint);
}

int command_eval(int argc, char *const *argv) {
  evaluation e = {.is_stopped = false};
  ranks_work work = {.run = evaluate, .clean_up = clean_up, .is_stopped = &e.is_stopped};
  signals_catch(); /* since starting takes a while, too */
  return run_on_ranks(&work, &e, argc, argv);
}
