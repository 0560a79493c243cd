/* Reads the sequences of a step, and goes forward and backward with them. */
#include "train/step_passes.h"

#include "model/pipeline.h"
#include "train/batch.h"

static int32_t *window_of(const uly_trainer *trainer, int64_t pass) {
  return trainer->run.windows + pass * uly__run_window_room(&trainer->run);
}

uly_status uly__read_sequences(const uly_trainer *trainer) {
  for (int64_t a = 0; a < trainer->run.passes; a++)
    ULY_TRY(uly__batch_read(trainer, trainer->data, trainer->run.order[a], window_of(trainer, a)));
  return ULY_OK;
}

int64_t uly__count_labels(const uly_trainer *trainer) {
  int64_t count = 0;
  /* The ranks of tensor parallelism, and those of other stages, have the same tokens. */
  if (uly__mesh_index(trainer->mesh, ULY_AXIS_TP | ULY_AXIS_PP) > 0) return 0;
  for (int64_t a = 0; a < trainer->run.passes; a++) {
    const int32_t *labels = uly__batch_labels(trainer, trainer->data, window_of(trainer, a));
    for (int64_t t = 0; t < trainer->run.model->num_tokens; t++) count += labels[t] >= 0;
  }
  return count;
}

/* The context of the passes of a step: the trainer whose data they read, and the sum of losses that
 * they add to. */
typedef struct step_passes {
  const uly_trainer *trainer;
  uly__exact_sum *loss;
} step_passes;

static uly__micro_batch prepare(void *context, int64_t micro_batch) {
  const step_passes *passes = context;
  const uly_trainer *trainer = passes->trainer;
  const int32_t *window = window_of(trainer, micro_batch);
  const int32_t *labels =
      uly__batch_prepare(trainer, trainer->data, trainer->run.order[micro_batch], window);
  return (uly__micro_batch){window, labels, passes->loss};
}

uly__step_work uly__make_passes(uly_trainer *trainer, int64_t num_labels, uly__exact_sum *loss) {
  step_passes passes = {trainer, loss};
  uly__pipeline_run run = {.schedule = &trainer->run.model->schedule,
                           .prepare = prepare,
                           .context = &passes,
                           .scale = (float)(1.0 / (double)num_labels)};
  uly__pipeline_run_schedule(trainer->run.model, &run);
  return (uly__step_work){run.pairs, run.seconds, run.wait_seconds};
}
