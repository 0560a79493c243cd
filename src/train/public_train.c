/* The public calls on runs, generators and checkpoints. The arguments of the program are checked
 * here, and its structs, which may be older or newer than those of the library, are translated. */
#include <limits.h>
#include <stdlib.h>

#include "base/sized.h"
#include "infer/generator.h"
#include "infer/sample.h"
#include "plan/run_model.h"
#include "store/checkpoint_info.h"
#include "store/checkpoint_load.h"
#include "store/export_model.h"
#include "store/settings.h"
#include "train/evaluate.h"
#include "train/metrics.h"
#include "train/nonfinite.h"
#include "train/start.h"
#include "train/step.h"
#include "train/trace.h"
#include "train/trainer_files.h"

void uly_train_config_default(uly_train_config *config, size_t size) {
  uly_train_config defaults = uly__train_config_default();
  uly__sized_default(config, size, &defaults, sizeof defaults);
}

void uly_sampling_default(uly_sampling *sampling, size_t size) {
  uly__sized_default(sampling, size, &(uly_sampling){.temperature = 1, .top_p = 1},
                     sizeof(uly_sampling));
}

static uly_status read_config(const uly_train_config *from, uly_train_config *config) {
  *config = uly__train_config_default();
  return uly__sized_read(from, "uly_train_config", config, sizeof *config);
}

uly_status uly_train_config_find_model(const uly_train_config *config, char *model,
                                       size_t capacity) {
  uly_train_config known;
  ULY_TRY(read_config(config, &known));
  ULY_NOT_NULL(model);
  const char *given = known.model;
  ULY_TRY(uly__run_find_model(&known, &known.model));
  bool fits = snprintf(model, capacity, "%s", known.model) < (int64_t)capacity;
  if (!given) free((char *)(uintptr_t)known.model);
  if (!fits) ULY_FAIL(ULY_ERR_CONFIG, "there is no room for the name of a model");
  return ULY_OK;
}

uly_status uly_train_config_describe_model(const uly_train_config *config, uly_model_info *info) {
  char name[PATH_MAX];
  uly_train_config known;
  uly__model_config in_file, model;
  ULY_TRY(read_config(config, &known));
  ULY_NOT_NULL(info);
  ULY_TRY(uly_train_config_find_model(&known, name, sizeof name));
  known.model = name;
  ULY_TRY(uly__settings_check(&known, ~0U));
  ULY_TRY(uly__run_load_model(&known, known.seq_len, &in_file, &model));
  *info = uly__model_describe(&model);
  return ULY_OK;
}

static uly_status check_trainer(const uly_trainer *trainer) {
  ULY_NOT_NULL(trainer);
  return uly__mesh_check_online(trainer->mesh);
}

/* The ranks agree on what may differ between them (a struct of another size, a NULL), so that no
 * rank goes on alone. */
static uly_status agree_on_path(const uly_trainer *trainer, const char *path, const char *name) {
  uly_status status = ULY_OK;
  if (!path) status = uly_fail(ULY_ERR_CONFIG, "the argument '%s' is NULL", name);
  return uly_mesh_agree(trainer->mesh, status);
}

/* ---------------------------------------------------------------------------- runs */

uly_status uly_trainer_create(uly_mesh *mesh, const uly_train_config *config, uly_trainer **out) {
  uly_train_config known;
  ULY_NOT_NULL(out);
  *out = NULL;
  ULY_TRY(uly__mesh_check_online(mesh));
  ULY_TRY(uly_mesh_agree(mesh, read_config(config, &known)));
  return uly__trainer_create(mesh, &known, out);
}

uly_status uly_trainer_check(uly_mesh *mesh, const uly_train_config *config, const char *checkpoint,
                             uly_start_report *report) {
  uly_train_config known;
  uly_start_report found = {0};
  ULY_TRY(uly__mesh_check_online(mesh));
  uly_status status = read_config(config, &known);
  if (status == ULY_OK) status = uly__sized_check(report, "uly_start_report");
  ULY_TRY(uly_mesh_agree(mesh, status));
  ULY_TRY(uly__trainer_check(mesh, &known, checkpoint, &found));
  uly__sized_write(report, &found, sizeof found);
  return ULY_OK;
}

uly_status uly_plan(const uly_mesh *mesh, const uly_train_config *config, uly_plan_report *report) {
  uly_train_config known;
  uly_plan_report found = {0};
  ULY_TRY(uly__mesh_check(mesh));
  ULY_TRY(read_config(config, &known));
  ULY_TRY(uly__sized_check(report, "uly_plan_report"));
  uly_status status = uly__trainer_plan(mesh, &known, &found);
  uly__sized_write(report, &found, sizeof found);
  return status;
}

int64_t uly_trainer_steps_done(const uly_trainer *trainer) {
  return trainer ? trainer->steps_done : 0;
}

int64_t uly_trainer_num_params(const uly_trainer *trainer) {
  return trainer ? trainer->run.model->params.count : 0;
}

int64_t uly_trainer_num_windows(const uly_trainer *trainer) {
  return trainer ? trainer->num_windows : 0;
}

int64_t uly_trainer_num_eval_windows(const uly_trainer *trainer) {
  return trainer ? trainer->num_eval_windows : 0;
}

uly_status uly_trainer_rank_report(const uly_trainer *trainer, uly_rank_report *report) {
  ULY_NOT_NULL(trainer);
  ULY_TRY(uly__sized_check(report, "uly_rank_report"));
  uly__sized_write(report, &trainer->rank_report, sizeof trainer->rank_report);
  return ULY_OK;
}

uly_status uly_trainer_step(uly_trainer *trainer, uly_step_report *report) {
  uly_step_report found = {0};
  ULY_TRY(check_trainer(trainer));
  uly_status arguments = uly__sized_check(report, "uly_step_report");
  uly_status status = uly__trainer_step(trainer, arguments, &found);
  if (arguments == ULY_OK) uly__sized_write(report, &found, sizeof found);
  return status;
}

uly_status uly_trainer_skip(uly_trainer *trainer, uly_step_report *report) {
  uly_step_report known = {0};
  ULY_TRY(check_trainer(trainer));
  ULY_TRY(uly_mesh_agree(trainer->mesh,
                         uly__sized_read(report, "uly_step_report", &known, sizeof known)));
  ULY_TRY(uly__trainer_skip(trainer, &known));
  uly__sized_write(report, &known, sizeof known);
  return ULY_OK;
}

uly_status uly_trainer_rollback(uly_trainer *trainer, const char *dir) {
  ULY_TRY(check_trainer(trainer));
  ULY_TRY(agree_on_path(trainer, dir, "dir"));
  return uly__trainer_rollback(trainer, dir);
}

uly_status uly_trainer_evaluate(uly_trainer *trainer, int (*stops)(void *user), void *user,
                                uly_eval_report *report) {
  uly_eval_report found = {0};
  ULY_TRY(check_trainer(trainer));
  uly_status arguments = uly__sized_check(report, "uly_eval_report");
  uly_status status = uly__trainer_evaluate(trainer, stops, user, arguments, &found);
  if (arguments == ULY_OK) uly__sized_write(report, &found, sizeof found);
  return status;
}

uly_status uly_trainer_save(uly_trainer *trainer, const char *out_dir) {
  ULY_TRY(check_trainer(trainer));
  ULY_TRY(agree_on_path(trainer, out_dir, "out_dir"));
  return uly__trainer_save(trainer, out_dir);
}

uly_status uly_trainer_save_start(uly_trainer *trainer, const char *out_dir) {
  ULY_TRY(check_trainer(trainer));
  ULY_TRY(agree_on_path(trainer, out_dir, "out_dir"));
  return uly__trainer_save_start(trainer, out_dir);
}

uly_status uly_trainer_save_finish(uly_trainer *trainer) {
  ULY_TRY(check_trainer(trainer));
  return uly__trainer_save_finish(trainer);
}

uly_status uly_trainer_load(uly_trainer *trainer, const char *dir) {
  ULY_TRY(check_trainer(trainer));
  ULY_TRY(agree_on_path(trainer, dir, "dir"));
  return uly__trainer_load(trainer, dir);
}

uly_status uly_trainer_trace(uly_trainer *trainer) {
  ULY_TRY(check_trainer(trainer));
  return uly__trainer_trace(trainer);
}

uly_status uly_trainer_trace_write(uly_trainer *trainer, const char *path) {
  ULY_TRY(check_trainer(trainer));
  ULY_TRY(agree_on_path(trainer, path, "path"));
  return uly__trainer_trace_write(trainer, path);
}

uly_status uly_report_write(FILE *file, const uly_step_report *report, const uly_eval_report *eval,
                            double peak_flops) {
  uly_step_report step = {0};
  uly_eval_report evaluation = {0};
  ULY_NOT_NULL(file);
  ULY_TRY(uly__sized_read(report, "uly_step_report", &step, sizeof step));
  if (eval) ULY_TRY(uly__sized_read(eval, "uly_eval_report", &evaluation, sizeof evaluation));
  return uly__report_write(file, &step, eval ? &evaluation : NULL, peak_flops);
}

/* --------------------------------------------------------------------- checkpoints */

/* Looks at a checkpoint with either function, and fills in what it finds. */
static uly_status look(const char *dir, uly_checkpoint_info *info,
                       uly_status (*reads)(const char *, uly_checkpoint_info *)) {
  uly_checkpoint_info found = {0};
  ULY_NOT_NULL(dir);
  ULY_TRY(uly__sized_check(info, "uly_checkpoint_info"));
  ULY_TRY(reads(dir, &found));
  uly__sized_write(info, &found, sizeof found);
  return ULY_OK;
}

uly_status uly_checkpoint_read(const char *dir, uly_checkpoint_info *info) {
  return look(dir, info, uly__checkpoint_read);
}

uly_status uly_checkpoint_verify(const char *dir, uly_checkpoint_info *info) {
  return look(dir, info, uly__checkpoint_verify);
}

uly_status uly_checkpoint_apply(const uly_checkpoint_info *info, uly_train_config *config) {
  uly_checkpoint_info from = {0};
  uly_train_config to;
  ULY_TRY(uly__sized_read(info, "uly_checkpoint_info", &from, sizeof from));
  ULY_TRY(read_config(config, &to));
  uly__checkpoint_apply(&from, &to);
  uly__sized_write(config, &to, sizeof to);
  return ULY_OK;
}

uly_status uly_checkpoint_list(const char *dir,
                               void (*visit)(void *user, const uly_tensor_info *tensor),
                               void *user) {
  ULY_NOT_NULL(dir);
  ULY_NOT_NULL(visit);
  return uly__checkpoint_list(dir, visit, user);
}

void uly_export_config_default(uly_export_config *config, size_t size) {
  uly_export_config defaults = uly__export_config_default();
  uly__sized_default(config, size, &defaults, sizeof defaults);
}

uly_status uly_export(const uly_export_config *config, uly_export_report *report) {
  uly_export_config known = uly__export_config_default();
  uly_export_report found = {0};
  ULY_TRY(uly__sized_read(config, "uly_export_config", &known, sizeof known));
  ULY_TRY(uly__sized_check(report, "uly_export_report"));
  ULY_TRY(uly__export(&known, &found));
  uly__sized_write(report, &found, sizeof found);
  return ULY_OK;
}

/* ---------------------------------------------------------------------- generation */

static uly_status check_generator(const uly_generator *generator) {
  ULY_NOT_NULL(generator);
  return uly__mesh_check_online(uly__generator_mesh(generator));
}

uly_status uly_generator_create(uly_mesh *mesh, const uly_train_config *config, const char *dir,
                                const int32_t *tokens, int64_t count, int64_t max_new,
                                uly_generator **out) {
  uly_train_config known;
  ULY_NOT_NULL(out);
  *out = NULL;
  ULY_TRY(uly__mesh_check_online(mesh));
  uly_status status = read_config(config, &known);
  if (status == ULY_OK && (!dir || (!tokens && count > 0)))
    status = uly_fail(ULY_ERR_CONFIG,
                      "a generator needs the folder of a checkpoint and a prompt: "
                      "neither may be NULL");
  ULY_TRY(uly_mesh_agree(mesh, status));
  return uly__generator_create(mesh, &known, dir, tokens, count, max_new, out);
}

const float *uly_generator_logits(const uly_generator *generator) {
  return generator ? uly__generator_logits(generator) : NULL;
}

uly_status uly_generator_next(uly_generator *generator, int32_t token) {
  ULY_TRY(check_generator(generator));
  return uly__generator_next(generator, token);
}

uly_status uly_generator_get_report(const uly_generator *generator, uly_generator_report *report) {
  ULY_NOT_NULL(generator);
  ULY_TRY(uly__sized_check(report, "uly_generator_report"));
  uly_generator_report found = uly__generator_report(generator);
  uly__sized_write(report, &found, sizeof found);
  return ULY_OK;
}

uly_status uly_sample(const float *logits, int64_t vocab, const uly_sampling *sampling,
                      int64_t index, int32_t *token, double *log_probability) {
  uly_sampling known = {.temperature = 1, .top_p = 1};
  ULY_NOT_NULL(logits);
  ULY_NOT_NULL(token);
  ULY_TRY(uly__sized_read(sampling, "uly_sampling", &known, sizeof known));
  return uly__sample(logits, vocab, &known, index, token, log_probability);
}
