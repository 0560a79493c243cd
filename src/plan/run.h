/* A planned run says how a configuration is carried out on a mesh, as a model and all the memory
 * that it needs.
 *
 * While it is planned, arenas measure and no tensor has memory. A trainer or a generator, which
 * carries the run out, carves what else it needs, commits the memory, and carves once more. */
#ifndef ULY_RUN_H
#define ULY_RUN_H

#include "model/model_plan.h"
#include "model/states.h"

typedef struct uly__run {
  uly_mesh *mesh;
  uly_train_config config; /* its strings belong to the caller */
  uly__model *model;
  uly__model_run model_run; /* how the model is run */
  /* The window and the pattern of blocks in the file that config.model names; the run uses
   * model->config. */
  int64_t model_window;
  uly_sparse_pattern model_sparse;
  int64_t passes; /* sequences of a step that go through each rank: batch / dp */
  uly__states states;
  uly__arena arenas[ULY_NUM_ARENAS], host; /* of the device, and of the host */
  /* In the host's memory, for a run that reads data: this rank's tokens of the sequences of a step,
   * or of those that an evaluation takes at a time, [sequences, room of a window]; the windows that
   * these sequences are, [passes]; and, where they are needed, the starts of the current sequence's
   * documents, [N], and its labels, [T]. */
  int32_t *windows;
  int64_t *order;
  int64_t *doc_start;
  int32_t *labels;
} uly__run;

/* Plans a run for one use of its model. The configuration must be within the ranges of the
 * settings. num_positions: the most positions of a document, which are config.seq_len unless a text
 * is generated. */
uly_status uly__run_create(uly_mesh *mesh, const uly_train_config *config, uly__model_use use,
                           int64_t num_positions, uly__run *out);
void uly__run_destroy(uly__run *run);

/* Return how many threads a rank takes, and config->sparse with everything that follows from the
 * rest of the run: the local blocks and the seed. The latter is all 0 without a pattern. */
int uly__run_threads(const uly_mesh *mesh, const uly_train_config *config);
uly_sparse uly__run_sparse(const uly_train_config *config);

/* Carve the states, with the part of scratch that is in use whenever anything runs; what passes
 * need; and the buffers of a step's sequences. They are called in this order, once before the
 * memory is committed and once after. */
void uly__run_carve_states(uly__run *run);
void uly__run_carve_passes(uly__run *run);
void uly__run_carve_sequences(uly__run *run);

/* Allocates what was measured, and prepares the products of the passes. */
uly_status uly__run_commit(uly__run *run);
/* Makes the files of offloaded states and of the stash, if the run has any. */
uly_status uly__run_open_scratch(uly__run *run);

/* Returns how many tokens of a window this rank reads: its own, and one more after each run. */
int64_t uly__run_window_room(const uly__run *run);

/* Returns how many sequences an evaluation takes at a time in each group of ranks. */
int64_t uly__run_eval_sequences(const uly__run *run);

/* Return the bytes of an arena, where the activations include the host's memory; and those of all
 * arenas. */
int64_t uly__run_arena_bytes(const uly__run *run, uly_arena arena);
int64_t uly__run_bytes(const uly__run *run);

#endif
