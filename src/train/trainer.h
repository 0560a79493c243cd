/* A training run: what uly_trainer points to, for the files of this room. */
#ifndef ULY_TRAINER_H
#define ULY_TRAINER_H

#include "comm/mesh.h"
#include "data/token_file.h"
#include "data/token_scan.h"
#include "model/model.h"
#include "train/states.h"

/* As many as names of checkpoints have digits for. */
#define ULY_MAX_STEPS 9999999999

typedef struct uly__save uly__save; /* a checkpoint being written (checkpoint.c) */

/* Of a run that decodes: tokens that are cached, and whether the first seq_len of them go through at once. */
typedef struct uly__decode_run {
  int64_t capacity; /* 0: it does not decode */
  bool prefills;
} uly__decode_run;

struct uly_trainer {
  uly_mesh *mesh;
  uly_train_config config; /* its strings are copies */
  uly__decode_run decode;
  int64_t passes; /* sequences of a step that go through each rank: batch / dp */
  uly__model *model;
  /* How the file that config.model names attends; the run does as model->config says. */
  int64_t model_window;
  uly_sparse_pattern model_sparse;
  uly__arena arenas[ULY_NUM_ARENAS];
  uly__states states;
  int32_t *windows; /* [passes, T + 1]: my tokens of the step's sequences, and one more each */
  /* Of the sequence at work, where documents are packed; else NULL. */
  int64_t *doc_start; /* [N] */
  int32_t *labels;    /* [T] */
  uly__tokens *data, *eval_data;
  /* Sequences of N tokens in the training data; and those of the held-out data that an evaluation
   * reads, which have labels. */
  int64_t num_windows, num_eval_windows;
  /* What the look at the data before the start has found (survey.c). */
  uly__scan scan, eval_scan;
  uly_data_info data_info, eval_info;
  int64_t steps_done;
  uly_rank_report rank_report; /* of this rank's latest step */
  bool is_nonfinite;           /* the latest step's loss or gradient was: nothing was updated */
  bool is_mixed;               /* an update or a load failed: the states may belong to no step */
  /* The place in the data: sequences so far, over all dp groups, those passed over among them;
   * after the step at work; and how many of its are passed over. */
  int64_t windows_done, windows_next, num_passed_over;
  int64_t *order;   /* [passes] windows of my sequences of the step at work */
  uly__save *save;  /* NULL: none under way */
  uly_status saved; /* of the latest save, until somebody asks */
  char save_failure[1024];
  double trace_begin; /* of the clock of spans */
};

/* The common part of a run and of a plan: builds the model and measures the arenas. */
uly_status uly__trainer_plan(uly_mesh *mesh, const uly_train_config *config, uly__decode_run decode,
                             uly_trainer **out);
/* config->sparse with all that follows from the rest of the run: the local blocks, the seed. All 0 without a pattern. */
uly_sparse uly__trainer_sparse(const uly_train_config *config);
/* Like uly_trainer_create. */
uly_status uly__trainer_make(uly_mesh *mesh, const uly_train_config *config, uly__decode_run decode,
                             uly_trainer **out);

/* Carves all arenas; the second time, with memory, sets the pointers that count. */
void uly__trainer_carve(uly_trainer *trainer);

/* ULY_ERR_CONFIG, with the bytes and what would fit, where this rank needs more memory than memory_limit; or, where
 * there is no limit, than its share of what is free on its machine. (fit.c) */
uly_status uly__check_limit(const uly_trainer *trainer);
uly_status uly__check_fit(const uly_trainer *trainer, int ranks_on_node);

/* --- data order (batch.c) */

/* Index of sequence number i of the run: a new permutation of all windows in every epoch. */
int64_t uly__batch_window(uint64_t seed, int64_t num_windows, int64_t i);
/* Looks for the step's sequences in the order of the run, and passes over those without a label:
 * sets order, windows_next and num_passed_over. */
void uly__batch_choose(uly_trainer *trainer);
/* This rank's T + 1 tokens of window `index`: token_begin onwards, and the label of the last. */
uly_status uly__batch_read(const uly_trainer *trainer, const uly__tokens *data, int64_t index,
                           int32_t *out);
/* The token that ends documents in these files; -1 where documents are not packed, or it is not known. */
int64_t uly__batch_end(const uly_trainer *trainer, const uly__tokens *data);
/* Of a window's token t: the token after it, or -1 (none) behind the end of a document. */
int32_t uly__batch_label(int64_t end, const int32_t *window, int64_t t);
/* Makes the model ready for window `index`, of which uly__batch_read gave `window`: sets its documents where they are
 * packed. Returns the labels, [T]. */
const int32_t *uly__batch_prepare(const uly_trainer *trainer, const uly__tokens *data,
                                  int64_t index, const int32_t *window);

/* --- a look at all the data (survey.c) */

/* Finds tokens that are not below the vocabulary (ULY_ERR_DATA names the first), windows without a
 * label, and data that have no others (ULY_ERR_DATA); sets scan, eval_scan, data_info and
 * eval_info, and limits num_eval_windows. The ranks have the same configuration and files.
 * Collective. */
uly_status uly__survey_data(uly_trainer *trainer);

/* --- optimizer (optim.c) */

/* Learning rate of a step; the first is 1. */
double uly__learning_rate(const uly_train_config *config, int64_t step);
/* One AdamW update with gradients times grad_scale: each rank of what it owns; then the weights go where the
 * ZeRO stage wants them. Collective. */
uly_status uly__optimizer_step(uly_trainer *trainer, double lr, double grad_scale);
/* Sets the weights from the master weights. Collective. */
uly_status uly__weights_from_master(uly_trainer *trainer);

/* --- loading (checkpoint_load.c) */

/* Whether uly_trainer_load could take the checkpoint, as its files' formats, shapes and the model tell: tensors are not
 * read, and the trainer needs no memory. Sets the place in the data. Collective. */
uly_status uly__checkpoint_check(uly_trainer *trainer, const char *dir);

/* --- saving (checkpoint.c) */

/* Ends the save that is under way, if any: before anything changes the states. Collective. */
void uly__save_end(uly_trainer *trainer);
/* Stops it where this rank is: what was written has no name, and the next run clears it away. */
void uly__save_abandon(uly_trainer *trainer);

/* --- a step (step.c) */

/* ULY_ERR_CONFIG where the states may belong to no step, or the run does not train; the same on all ranks. */
uly_status uly__check_whole(const uly_trainer *trainer);

/* Forward and backward of sequence `pass` of the step, whose tokens are in windows; adds this rank's losses to
 * loss. */
void uly__train_pass(uly_trainer *trainer, int64_t pass, int64_t num_labels, uly__exact_sum *loss);

/* Says what was not finite first in the step whose tokens are in windows: repeats its passes. The same on all
 * ranks. Collective. (nonfinite.c) */
uly_status uly__find_nonfinite(uly_trainer *trainer, int64_t num_labels, char *what,
                               size_t capacity);

/* Adds up a sum of all ranks. Collective. */
uly_status uly__sum_exactly(uly_mesh *mesh, uly__exact_sum *sum);

/* Bytes that a rank gives to the collectives of an evaluation of one sequence. */
int64_t uly__eval_control(const uly_trainer *trainer);

void uly__step_traffic(const uly_trainer *trainer, int64_t bytes[ULY_NUM_TRAFFIC]);

#endif
