/* A training run, which uly_trainer points to, for the files of this folder. */
#ifndef ULY_TRAINER_H
#define ULY_TRAINER_H

#include "data/companions.h"
#include "data/token_file.h"
#include "data/token_scan.h"
#include "plan/run.h"
#include "store/checkpoint_save.h"

struct uly_trainer {
  uly_mesh *mesh;
  uly__run run; /* its configuration's strings are copies */
  uly__tokens *data, *eval_data;
  /* The number of sequences of N tokens in the training data, and of those of the held-out data
   * that have labels and that an evaluation reads. */
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
  /* The files of the tokenizer, on rank 0; checkpoints have them too. */
  uly__companions companions;
  uly__save *save;  /* NULL: none under way */
  uly_status saved; /* of the latest save */
  char save_failure[1024];
  double trace_begin; /* of the clock of spans */
};

#endif
