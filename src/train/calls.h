/* The calls of ulysses.h on runs, generators and checkpoints, as this room has them: structs have
 * the sizes that the library knows, and the arguments of the program have been checked
 * (public_train.c). The contracts are those of ulysses.h. */
#ifndef ULY_CALLS_H
#define ULY_CALLS_H

#include "train/trainer.h"

uly_train_config uly__train_config_default(void);

uly_status uly__trainer_check(uly_mesh *mesh, const uly_train_config *config,
                              const char *checkpoint, uly_start_report *report);
/* arguments: what was found wrong with those of this rank, agreed on where the call agrees first anyway. */
uly_status uly__trainer_step(uly_trainer *trainer, uly_status arguments, uly_step_report *report);
uly_status uly__trainer_skip(uly_trainer *trainer, uly_step_report *report);
uly_status uly__trainer_rollback(uly_trainer *trainer, const char *dir);
uly_status uly__trainer_evaluate(uly_trainer *trainer, int (*stops)(void *user), void *user,
                                 uly_status arguments, uly_eval_report *report);
uly_status uly__trainer_save(uly_trainer *trainer, const char *out_dir);
uly_status uly__trainer_save_start(uly_trainer *trainer, const char *out_dir);
uly_status uly__trainer_save_finish(uly_trainer *trainer);
uly_status uly__trainer_load(uly_trainer *trainer, const char *dir);
uly_status uly__trainer_trace(uly_trainer *trainer);
uly_status uly__trainer_trace_write(uly_trainer *trainer, const char *path);
uly_status uly__report_write(FILE *file, const uly_step_report *report, const uly_eval_report *eval,
                             double peak_flops);

uly_status uly__run_plan(const uly_mesh *mesh, const uly_train_config *config,
                         uly_plan_report *report);

uly_status uly__checkpoint_read(const char *dir, uly_checkpoint_info *info);
uly_status uly__checkpoint_verify(const char *dir, uly_checkpoint_info *info);
void uly__checkpoint_apply(const uly_checkpoint_info *info, uly_train_config *config);
uly_status uly__checkpoint_list(const char *dir,
                                void (*visit)(void *user, const uly_tensor_info *tensor),
                                void *user);

uly_status uly__generator_create(uly_mesh *mesh, const uly_train_config *config, const char *dir,
                                 const int32_t *tokens, int64_t count, int64_t max_new,
                                 uly_generator **out);
const uly_mesh *uly__generator_mesh(const uly_generator *generator);
const float *uly__generator_logits(const uly_generator *generator);
uly_status uly__generator_next(uly_generator *generator, int32_t token);
uly_generator_report uly__generator_report(const uly_generator *generator);

uly_status uly__sample(const float *logits, int64_t vocab, const uly_sampling *sampling,
                       int64_t index, int32_t *token, double *log_probability);

#endif
