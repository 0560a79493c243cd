/* Chooses the tokens that a step trains on, by a function of the seed and global indices alone.
 * Labels and the cut over ranks follow from the window: a token's label is the token after it in
 * the stream, taken before the cut, so the last token of a run has its label too. Where documents
 * are packed, the last token of each has none, and every rank looks for the documents of the whole
 * window: attention needs them on all ranks. */
#include "train/batch.h"

#include "base/rng.h"
#include "base/spans.h"

int64_t uly__batch_window(uint64_t seed, int64_t num_windows, int64_t i) {
  uint64_t epoch = (uint64_t)(i / num_windows);
  return uly__rng_permute(seed, uly__rng_stream("data order") + epoch, num_windows,
                          i % num_windows);
}

void uly__batch_choose(uly_trainer *trainer) {
  int dp = uly_mesh_dp(trainer->mesh), mine = uly__mesh_index(trainer->mesh, ULY_AXIS_DP);
  int64_t place = trainer->windows_done, count = trainer->run.passes * dp;
  for (int64_t chosen = 0; chosen < count; place++) {
    int64_t window = uly__batch_window(trainer->run.config.seed, trainer->num_windows, place);
    if (uly__scan_is_blank(&trainer->scan, window)) continue;
    if (chosen % dp == mine) trainer->run.order[chosen / dp] = window;
    chosen++;
  }
  trainer->windows_next = place;
  trainer->num_passed_over = place - trainer->windows_done - count;
}

uly_status uly__batch_read(const uly_trainer *trainer, const uly__tokens *data, int64_t index,
                           int32_t *out) {
  const uly__token_cut *cut = trainer->run.model->cut;
  const uly_token_run *runs = uly__token_cut_runs(cut, cut->rank);
  int64_t vocab = trainer->run.model->config.vocab;
  int32_t *next = out + cut->count;
  for (int r = 0; r < cut->num_runs; r++) {
    int64_t begin = index * trainer->run.config.seq_len + runs[r].begin, count = runs[r].count;
    ULY_TRY(uly__tokens_read(data, begin, count, vocab, out));
    ULY_TRY(uly__tokens_read(data, begin + count, 1, vocab, &next[r]));
    out += count;
  }
  return ULY_OK;
}

int64_t uly__batch_end(const uly_trainer *trainer, const uly__tokens *data) {
  const uly_train_config *config = &trainer->run.config;
  if (!config->pack) return -1;
  return config->doc_end >= 0 ? config->doc_end : uly__tokens_end(data);
}

const int32_t *uly__batch_labels(const uly_trainer *trainer, const uly__tokens *data,
                                 const int32_t *window) {
  const uly__token_cut *cut = trainer->run.model->cut;
  const uly_token_run *runs = uly__token_cut_runs(cut, cut->rank);
  const int32_t *next = window + cut->count;
  int64_t end = uly__batch_end(trainer, data), t = 0;
  if (!trainer->run.labels) return window + 1;
  for (int r = 0; r < cut->num_runs; r++)
    for (int64_t last = t + runs[r].count - 1; t <= last; t++)
      trainer->run.labels[t] = window[t] == end ? -1 : t < last ? window[t + 1] : next[r];
  return trainer->run.labels;
}

static uly_status set_documents(const uly_trainer *trainer, const uly__tokens *data,
                                int64_t index) {
  int64_t N = trainer->run.config.seq_len, end = uly__batch_end(trainer, data), num_docs;
  uly_status status =
      uly__tokens_documents(data, index * N, N, end, trainer->run.doc_start, &num_docs);
  if (status == ULY_OK)
    return uly__model_set_documents(trainer->run.model, trainer->run.doc_start, num_docs);
  /* The pass continues, on garbage, but not with half a list. */
  ULY_TRY(uly__model_set_documents(trainer->run.model, NULL, 0));
  return status;
}

const int32_t *uly__batch_prepare(const uly_trainer *trainer, const uly__tokens *data,
                                  int64_t index, const int32_t *window) {
  if (trainer->run.config.pack) {
    double begin = uly__now();
    uly__model_note(trainer->run.model, set_documents(trainer, data, index));
    uly__span_end("documents", -1, ULY_LANE_COMPUTE, begin);
  }
  return uly__batch_labels(trainer, data, window);
}
