/* Which tokens a step trains on: a function of the seed and global indices alone. Labels and the
 * cut into slices follow from the window: the label of token t is token t + 1 of the stream, taken
 * before the cut, so the last token of a slice has its label too. Where documents are packed, the
 * last token of each has none, and every rank looks for the documents of the whole window:
 * attention needs them on all. */
#include "base/rng.h"
#include "base/spans.h"
#include "train/trainer.h"

int64_t uly__batch_window(uint64_t seed, int64_t num_windows, int64_t i) {
  uint64_t epoch = (uint64_t)(i / num_windows);
  return uly__rng_permute(seed, uly__rng_stream("data order") + epoch, num_windows,
                          i % num_windows);
}

void uly__batch_choose(uly_trainer *trainer) {
  int dp = uly_mesh_dp(trainer->mesh), mine = uly__mesh_index(trainer->mesh, ULY_AXIS_DP);
  int64_t place = trainer->windows_done, count = trainer->passes * dp;
  for (int64_t chosen = 0; chosen < count; place++) {
    int64_t window = uly__batch_window(trainer->config.seed, trainer->num_windows, place);
    if (uly__scan_is_blank(&trainer->scan, window)) continue;
    if (chosen % dp == mine) trainer->order[chosen / dp] = window;
    chosen++;
  }
  trainer->windows_next = place;
  trainer->num_passed_over = place - trainer->windows_done - count;
}

uly_status uly__batch_read(const uly_trainer *trainer, const uly__tokens *data, int64_t index,
                           int32_t *out) {
  const uly__model *model = trainer->model;
  int64_t begin = index * trainer->config.seq_len + model->token_begin;
  return uly__tokens_read(data, begin, model->num_tokens + 1, model->config.vocab, out);
}

int64_t uly__batch_end(const uly_trainer *trainer, const uly__tokens *data) {
  const uly_train_config *config = &trainer->config;
  if (!config->pack) return -1;
  return config->doc_end >= 0 ? config->doc_end : uly__tokens_end(data);
}

int32_t uly__batch_label(int64_t end, const int32_t *window, int64_t t) {
  return window[t] == end ? -1 : window[t + 1];
}

static uly_status set_documents(const uly_trainer *trainer, const uly__tokens *data,
                                int64_t index) {
  int64_t N = trainer->config.seq_len, end = uly__batch_end(trainer, data), num_docs;
  uly_status status = uly__tokens_documents(data, index * N, N, end, trainer->doc_start, &num_docs);
  if (status == ULY_OK)
    return uly__model_set_documents(trainer->model, trainer->doc_start, num_docs);
  /* The pass continues, on garbage, but not with half a list. */
  ULY_TRY(uly__model_set_documents(trainer->model, NULL, 0));
  return status;
}

const int32_t *uly__batch_prepare(const uly_trainer *trainer, const uly__tokens *data,
                                  int64_t index, const int32_t *window) {
  if (!trainer->config.pack) return window + 1;
  double begin = uly__now();
  uly__model_note(trainer->model, set_documents(trainer, data, index));
  int64_t end = uly__batch_end(trainer, data);
  for (int64_t t = 0; t < trainer->model->num_tokens; t++)
    trainer->labels[t] = uly__batch_label(end, window, t);
  uly__span_end("documents", -1, ULY_LANE_COMPUTE, begin);
  return trainer->labels;
}
