/* ulysses eval: the loss of a trained model on a file, also by position in the sequence. All ranks
 * run this file together; rank 0 prints. */
#include <jansson.h>
#include <math.h>

#include "commands/commands.h"
#include "common/format.h"
#include "common/say.h"
#include "job/signals.h"
#include "job/starter.h"
#include "options/messages.h"
#include "use/trained.h"

static int is_told_to_stop(void *unused) {
  (void)unused;
  return signals_received();
}

static double bits_per_byte(const uly_eval_report *report) { return report->loss / log(2.0); }

static void print_text(const trained *t, int64_t step, const uly_eval_report *report) {
  const uly_train_config *config = &t->options.config;
  printf("checkpoint  %s, step %lld\n", t->checkpoint, (long long)step);
  printf("data        %s, %lld tokens in sequences of %lld\n", config->eval_data,
         (long long)report->tokens, (long long)config->seq_len);
  print_mask(config);
  if (report->is_stopped) printf("stopped     by a signal, before all was evaluated\n");
  printf("loss        %.4f nats per token\n", report->loss);
  printf("perplexity  %.4f\n", exp(report->loss));
  if (t->vocab == BYTE_VOCAB) printf("bits        %.4f per byte\n", bits_per_byte(report));
  printf("\n%-24s %14s %10s %12s\n", "positions", "tokens", "loss", "perplexity");
  for (int i = 0; i < report->num_bins; i++) {
    const uly_eval_bin *bin = &report->bins[i];
    char range[64];
    snprintf(range, sizeof range, "%lld to %lld", (long long)bin->begin, (long long)bin->end - 1);
    if (bin->tokens > 0) {
      printf("%-24s %14lld %10.4f %12.4f\n", range, (long long)bin->tokens, bin->loss,
             exp(bin->loss));
    }
  }
}

static uly_status print_json(const trained *t, int64_t step, const uly_eval_report *report) {
  const uly_train_config *config = &t->options.config;
  json_t *positions = json_array(), *bits = json_null();
  for (int i = 0; i < report->num_bins; i++) {
    const uly_eval_bin *bin = &report->bins[i];
    if (bin->tokens == 0) continue;
    json_array_append_new(positions,
                          json_pack("[I, I, I, f]", (json_int_t)bin->begin, (json_int_t)bin->end,
                                    (json_int_t)bin->tokens, bin->loss));
  }
  if (t->vocab == BYTE_VOCAB) bits = json_real(bits_per_byte(report));
  json_t *json = json_pack(
      "{s:s, s:I, s:s, s:I, s:I, s:f, s:f, s:o, s:b, s:o}", "checkpoint", t->checkpoint, "step",
      (json_int_t)step, "data", config->eval_data, "seq_len", (json_int_t)config->seq_len, "tokens",
      (json_int_t)report->tokens, "loss", report->loss, "perplexity", exp(report->loss),
      "bits_per_byte", bits, "is_stopped", report->is_stopped, "by_position", positions);
  if (!json) return uly_fail(ULY_ERR_DATA, "names that are not UTF-8 cannot be printed as JSON");
  int failed = json_dumpf(json, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER) != 0;
  putchar('\n');
  json_decref(json);
  return failed ? uly_fail(ULY_ERR_IO, "standard output cannot be written") : ULY_OK;
}

static uly_status check_result(const uly_eval_report *report) {
  if (isfinite(report->loss)) return ULY_OK;
  return uly_fail(ULY_ERR_NONFINITE, "the loss of the model is %g", report->loss);
}

static uly_status evaluate(trained *t, bool is_first, bool *stopped) {
  options *o = &t->options;
  uly_mesh *mesh = NULL;
  uly_trainer *trainer = NULL;
  uly_eval_report report = {.size = sizeof report};
  if (!o->config.data) {
    return uly_fail(ULY_ERR_CONFIG, "--data: missing: expected files to evaluate on");
  }
  o->config.eval_data = o->config.data;
  o->config.data = NULL;
  uly_status status = uly_mesh_create(&o->mesh, &mesh);
  if (status == ULY_OK) status = uly_trainer_create(mesh, &o->config, &trainer);
  if (status == ULY_OK) status = uly_trainer_load(trainer, t->checkpoint);
  if (status == ULY_OK) status = uly_trainer_evaluate(trainer, is_told_to_stop, NULL, &report);
  if (status == ULY_OK) status = check_result(&report);
  if (status == ULY_OK) {
    *stopped = report.is_stopped;
    int64_t step = uly_trainer_steps_done(trainer);
    if (is_first && o->json) status = print_json(t, step, &report);
    if (is_first && !o->json) print_text(t, step, &report);
  }
  uly_trainer_destroy(trainer);
  uly_mesh_destroy(mesh);
  return status;
}

int command_eval(int argc, char *const *argv) {
  signals_catch(); /* starting takes a while, too */
  uly_status status = starter_init();
  if (status != ULY_OK) {
    print_failure(last_failure());
    return uly_status_exit_code(status);
  }
  trained t = {.checkpoint = NULL};
  bool is_first = uly_world_rank() == 0, stopped = false;
  status = trained_find(&t, EVAL, argc, argv);
  if (status == ULY_OK) status = evaluate(&t, is_first, &stopped);
  if (status != ULY_OK && is_first) print_failure(last_failure());
  trained_free(&t);
  uly_finalize();
  return status == ULY_OK && stopped ? EXIT_STOPPED : uly_status_exit_code(status);
}
