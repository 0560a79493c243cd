/* Which tokens a step trains on: a function of the seed and global indices alone. Labels and the cut
 * into slices follow from the window: the label of token t is token t + 1 of the stream, taken before
 * the cut, so the last token of a slice has its label too. */
#include "base/rng.h"
#include "train/trainer.h"

int64_t uly__batch_window(uint64_t seed, int64_t num_windows, int64_t i) {
  uint64_t epoch = (uint64_t)(i / num_windows);
  return uly__rng_permute(seed, uly__rng_stream("data order") + epoch, num_windows,
                          i % num_windows);
}

uly_status uly__batch_read(const uly_trainer *trainer, const uly__tokens *data, int64_t index,
                           int32_t *out) {
  const uly__model *model = trainer->model;
  int64_t begin = index * trainer->config.seq_len + model->token_begin;
  return uly__tokens_read(data, begin, model->num_tokens + 1, model->config.vocab, out);
}
