/* A training run: what uly_trainer points to, for the files of this room. */
#ifndef ULY_TRAINER_H
#define ULY_TRAINER_H

#include "comm/mesh.h"
#include "data/token_file.h"
#include "data/token_scan.h"
#include "infer/decode.h"
#include "model/passes.h"
#include "parallel/schedule.h"
#include "train/states.h"

/* As many as the digits in names of checkpoints allow. */
#define ULY_MAX_STEPS 9999999999

typedef struct uly__save uly__save; /* see checkpoint.c */

/* What decoding needs: tokens that are cached, and whether the first seq_len of them go through at
 * once. */
typedef struct uly__decode_run {
  int64_t capacity; /* 0: it does not decode */
  bool prefills;
} uly__decode_run;

struct uly_trainer {
  uly_mesh *mesh;
  uly_train_config config; /* its strings are copies */
  uly__decode_run decode;
  /* Sequences of a step that go through each rank: batch / dp. */
  int64_t passes;
  uly__schedule schedule;
  uly__model *model;
  uly__decoder *decoder; /* NULL: none */
  /* The window in the file that config.model names; the run uses model->config. */
  int64_t model_window;
  uly_sparse_pattern model_sparse;
  uly__arena arenas[ULY_NUM_ARENAS];
  uly__arena host; /* tokens, labels, positions and documents */
  uly__states states;
  /* Of each of the [passes] sequences of a step: my [T] tokens, and the token after each of my [R]
   * runs. */
  int32_t *windows;
  /* The documents of the current sequence, if documents are packed; otherwise NULL. */
  int64_t *doc_start; /* [N] */
  /* [T]; NULL: those of a single run without documents are its tokens from the second on. */
  int32_t *labels;
  uly__tokens *data, *eval_data;
  /* Sequences of N tokens in the training data; and those of the held-out data that an evaluation
   * reads, which have labels. */
  int64_t num_windows, num_eval_windows;
  /* What the scan of the data before the start has found (survey.c). */
  uly__scan scan, eval_scan;
  uly_data_info data_info, eval_info;
  int64_t steps_done;
  uly_rank_report rank_report; /* of the latest step */
  /* The latest step's loss or gradient was not finite: nothing was updated. */
  bool is_nonfinite;
  /* An update or a load failed: the states may belong to no step. */
  bool is_mixed;
  /* The place in the data: sequences so far, over all dp groups, including those that were passed
   * over; the same after the current step; and how many of that step's are passed over. */
  int64_t windows_done, windows_next, num_passed_over;
  /* [passes] windows of my sequences of the current step. */
  int64_t *order;
  uly__save *save;  /* NULL: none under way */
  uly_status saved; /* of the latest save */
  char save_failure[1024];
  double trace_begin; /* of the clock of spans */
};

/* The common part of a run and of a plan: builds the model and measures the arenas. */
uly_status uly__trainer_plan(uly_mesh *mesh, const uly_train_config *config, uly__decode_run decode,
                             uly_trainer **out);
/* Returns config->sparse with everything that follows from the rest of the run: the local blocks,
 * the seed. All 0 without a pattern. */
uly_sparse uly__trainer_sparse(const uly_train_config *config);
/* Does what uly_trainer_create does. */
uly_status uly__trainer_make(uly_mesh *mesh, const uly_train_config *config, uly__decode_run decode,
                             uly_trainer **out);

/* Carves all arenas; the second time, with memory, sets the final pointers. */
void uly__trainer_carve(uly_trainer *trainer);

/* Returns the bytes of an arena as they are reported: the host's are counted with activations. */
int64_t uly__trainer_bytes(const uly_trainer *trainer, uly_arena arena);

/* Returns ULY_ERR_CONFIG, with the bytes and what would fit, if this rank needs more memory than
 * memory_limit; or, without a limit, than its share of what is free on its machine. (fit.c) */
uly_status uly__check_limit(const uly_trainer *trainer);
uly_status uly__check_fit(const uly_trainer *trainer, int ranks_on_node);

/* --- data order (batch.c) */

/* Returns the window of sequence number i of the run: every epoch has a new permutation of all
 * windows. */
int64_t uly__batch_window(uint64_t seed, int64_t num_windows, int64_t i);
/* Chooses the step's sequences in the order of the run, and passes over those without a label: sets
 * order, windows_next and num_passed_over. */
void uly__batch_choose(uly_trainer *trainer);
/* Returns the tokens that are read of a window: T, and one after each run. */
int64_t uly__batch_room(const uly_trainer *trainer);
/* Reads this rank's tokens of window `index`, run after run; then the token after each run, which is
 * the label of its last. */
uly_status uly__batch_read(const uly_trainer *trainer, const uly__tokens *data, int64_t index,
                           int32_t *out);
/* Returns the token that ends documents in these files; -1 if documents are not packed, or it is
 * not known. */
int64_t uly__batch_end(const uly_trainer *trainer, const uly__tokens *data);
/* Returns the labels of a window as uly__batch_read gave it, [T], until the next call: of each token
 * the one after it, or -1 (none) at the end of a document. */
const int32_t *uly__batch_labels(const uly_trainer *trainer, const uly__tokens *data,
                                 const int32_t *window);
/* Prepares the model for window `index`, of which uly__batch_read gave `window`: sets its documents
 * if they are packed. Returns the labels. */
const int32_t *uly__batch_prepare(const uly_trainer *trainer, const uly__tokens *data,
                                  int64_t index, const int32_t *window);

/* --- the scan of all data (survey.c) */

/* Finds tokens that are not below the vocabulary size (ULY_ERR_DATA names the first), windows
 * without a label, and data that have no others (ULY_ERR_DATA); sets scan, eval_scan, data_info and
 * eval_info, and limits num_eval_windows. The ranks have the same configuration and files.
 * Collective. */
uly_status uly__survey_data(uly_trainer *trainer);

/* --- optimizer (optim.c) */

/* Returns the learning rate of a step; the first is 1. */
double uly__learning_rate(const uly_train_config *config, int64_t step);
/* Makes one AdamW update with gradients times grad_scale: each rank updates what it owns; then the
 * weights are sent where the ZeRO stage wants them. Collective. */
uly_status uly__optimizer_step(uly_trainer *trainer, double lr, double grad_scale);
/* Sets the weights from the master weights. Collective. */
uly_status uly__weights_from_master(uly_trainer *trainer);

/* --- loading (checkpoint_load.c) */

/* Checks whether uly_trainer_load could take the checkpoint, from the formats and shapes of its
 * files and the model: tensors are not read, and the trainer needs no memory. Sets the place in the
 * data. Collective. */
uly_status uly__checkpoint_check(uly_trainer *trainer, const char *dir);

/* --- saving (checkpoint.c) */

/* Ends the save that is under way, if any, before anything changes the states. Collective. */
void uly__save_end(uly_trainer *trainer);
/* Stops the save where this rank is: what was written has no name, and the next run clears it. */
void uly__save_abandon(uly_trainer *trainer);

/* --- a step (step.c) */

/* Returns ULY_ERR_CONFIG if the states may belong to no step, or the run does not train; the same
 * on all ranks. */
uly_status uly__check_whole(const uly_trainer *trainer);

/* Does one item of the step's schedule, with the tokens in windows; backward adds this rank's losses to
 * loss. Failures are noted in the model. */
void uly__train_item(uly_trainer *trainer, uly__schedule_item item, int64_t num_labels,
                     uly__exact_sum *loss);

/* Says which tensor was first not finite in the step whose tokens are in windows: repeats its
 * passes. The same on all ranks. Collective. (nonfinite.c) */
uly_status uly__find_nonfinite(uly_trainer *trainer, int64_t num_labels, char *what,
                               size_t capacity);

/* Adds up a sum of all ranks. Collective. */
uly_status uly__sum_exactly(uly_mesh *mesh, uly__exact_sum *sum);

/* Returns the bytes that a rank gives to the collectives of an evaluation of one sequence. */
int64_t uly__eval_control(const uly_trainer *trainer);

void uly__step_traffic(const uly_trainer *trainer, int64_t bytes[ULY_NUM_TRAFFIC]);

#endif
