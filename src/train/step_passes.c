/* Reads the sequences of a step, and goes forward and backward with them. */
#include "train/step_passes.h"

#include "model/passes.h"
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
  /* The ranks of tensor parallelism have the same tokens. */
  if (uly__mesh_index(trainer->mesh, ULY_AXIS_TP) > 0) return 0;
  for (int64_t a = 0; a < trainer->run.passes; a++) {
    const int32_t *labels = uly__batch_labels(trainer, trainer->data, window_of(trainer, a));
    for (int64_t t = 0; t < trainer->run.model->num_tokens; t++) count += labels[t] >= 0;
  }
  return count;
}

/* Sets the documents of a micro-batch, and goes forward with it. */
static void go_forward(uly_trainer *trainer, int64_t micro_batch) {
  const int32_t *window = window_of(trainer, micro_batch);
  const int32_t *labels =
      uly__batch_prepare(trainer, trainer->data, trainer->run.order[micro_batch], window);
  uly__pass_forward(trainer->run.model, window, labels, true);
}

void uly__train_item(uly_trainer *trainer, uly__schedule_item item, int64_t num_labels,
                     uly__exact_sum *loss) {
  switch (item.operation) {
    case ULY_FORWARD: go_forward(trainer, item.micro_batch); break;
    case ULY_BACKWARD:
      uly__pass_backward(trainer->run.model, (float)(1.0 / (double)num_labels), loss);
      break;
  }
}
