/* A training run: what uly_trainer points to, for the files of this room. */
#ifndef ULY_TRAINER_H
#define ULY_TRAINER_H

#include "comm/mesh.h"
#include "data/token_file.h"
#include "model/model.h"

struct uly_trainer {
  uly_mesh *mesh;
  uly_train_config config; /* its strings are copies */
  uly__model *model;
  uly__arena arenas[ULY_NUM_ARENAS];
  /* Optimizer: f32 [params.count] each. In f32 training the master weights are the weights. */
  float *master, *m, *v;
  float *sum_workspace; /* f32 [sum_workspace_count]: for summing gradients */
  int64_t sum_workspace_count;
  int32_t *windows; /* [accumulate, T + 1]: my tokens of the step's sequences, and one more each */
  uly__tokens *data, *eval_data;
  int64_t num_windows, num_eval_windows; /* sequences of N tokens in each */
  int64_t steps_done;
  int64_t windows_done; /* sequences trained on so far, over all dp groups: the place in the data */
};

/* The common part of a run and of a plan: builds the model and measures the arenas. */
uly_status uly__trainer_plan(uly_mesh *mesh, const uly_train_config *config, uly_trainer **out);

/* Carves all arenas; the second time, with memory, sets the pointers that count. */
void uly__trainer_carve(uly_trainer *trainer);

/* --- data order (batch.c) */

/* Index of sequence number i of the run: a new permutation of all windows in every epoch. */
int64_t uly__batch_window(uint64_t seed, int64_t num_windows, int64_t i);
/* This rank's T + 1 tokens of window `index`: token_begin onwards, and the label of the last. */
uly_status uly__batch_read(const uly_trainer *trainer, const uly__tokens *data, int64_t index,
                           int32_t *out);

/* --- optimizer (optim.c) */

/* Learning rate of a step; the first is 1. */
double uly__learning_rate(const uly_train_config *config, int64_t step);
/* One AdamW update of all parameters with gradients times grad_scale. */
void uly__optimizer_step(uly_trainer *trainer, double lr, double grad_scale);
/* Sets the bf16 weights from the master weights, where these are two. */
void uly__weights_from_master(uly_trainer *trainer);

/* --- bytes of a step (step.c) */

void uly__step_traffic(const uly_trainer *trainer, int64_t bytes[ULY_NUM_TRAFFIC]);

#endif
