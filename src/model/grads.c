/* Adds up the gradients of tied weights: see grads.h. */
#include "model/grads.h"

#include "base/integers.h"

/* The most elements that are sent at a time. */
enum { LARGEST_PART = 1 << 20 };

/* Returns whether this rank shares the embedding with a rank of another stage. */
static bool shares_embedding(const uly__model *model) {
  return model->config.tied && model->boundary.size > 1 &&
         model->params.units[ULY_UNIT_EMBED].local_count > 0;
}

/* Returns the elements of the embedding's gradient that this rank has reduced. The rank of the
 * other stage with the same tokens has reduced the same ones. */
static int64_t shard_of(const uly__model *model) {
  return model->zero->units[ULY_UNIT_EMBED].shard;
}

/* Adds `count` elements of another stage's gradient to this one's, both of the gradients' dtype. */
static void add(const uly__model *model, int64_t count, const void *part, void *grads) {
  uly_dtype dtype = model->zero->desc.grad_dtype;
  const float *values = part;
  if (dtype != ULY_F32) {
    model->ops->to_f32(model->stream, count, part, model->work.tied_values);
    values = model->work.tied_values;
  }
  model->ops->keep_sum(model->stream, count, dtype, values, false, grads);
}

static uly_status add_tied(uly__model *model) {
  uly__zero *zero = model->zero;
  int tag;
  ULY_TRY(uly__group_take_tag(model->boundary.group, &tag, "gradients of tied weights"));
  if (!shares_embedding(model)) return ULY_OK;
  uly_dtype dtype = zero->desc.grad_dtype;
  int64_t shard = shard_of(model);
  for (int64_t at = 0; at < shard; at += LARGEST_PART) {
    void *grads = uly__at(uly__zero_reduced(zero, ULY_UNIT_EMBED), dtype, at);
    int64_t count = uly__min(LARGEST_PART, shard - at);
    ULY_TRY(uly__boundary_exchange_ends(&model->boundary, tag, count, uly__dtype_bytes(dtype),
                                        grads, model->work.tied_part));
    add(model, count, model->work.tied_part, grads);
  }
  return ULY_OK;
}

void uly__reduce_grads(uly__model *model) {
  uly__model_note(model, uly__zero_reduce(model->zero));
  if (!model->config.tied || model->boundary.size == 1) return;
  uly__model_note(model, add_tied(model));
  if (shares_embedding(model))
    uly__model_note(model, uly__zero_share_reduced(model->zero, ULY_UNIT_EMBED));
}

void uly__tied_grads_carve(uly__model *model, uly__arena *scratch) {
  if (!shares_embedding(model)) return;
  uly_dtype dtype = model->zero->desc.grad_dtype;
  int64_t count = uly__min(LARGEST_PART, shard_of(model));
  model->work.tied_part = uly__arena_carve(scratch, count * uly__dtype_bytes(dtype));
  if (dtype != ULY_F32)
    model->work.tied_values = uly__arena_carve(scratch, count * (int64_t)sizeof(float));
}

int64_t uly__tied_grads_sent(const uly__model *model) {
  if (!shares_embedding(model)) return 0;
  return shard_of(model) * uly__dtype_bytes(model->zero->desc.grad_dtype);
}
