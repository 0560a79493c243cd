/* Adds up gradients over the ranks of tensor parallelism: see tensor_grads.h. */
#include "model/tensor_grads.h"

#include "base/integers.h"

/* The number of elements in each part of a gather is a multiple of this. */
enum { ALIGNMENT = 64 / sizeof(float) };

/* Stores packed f32 elements as elements of a gradient, of dtype. */
static void unpack_grads(const uly__model *model, int64_t count, uly_dtype dtype, const float *from,
                         void *grads) {
  model->ops->keep_sum(model->stream, count, dtype, from, true, grads);
}

/* Copies elements of a gradient, of dtype, to packed f32 elements. */
static void pack_grads(const uly__model *model, int64_t count, uly_dtype dtype, const void *grads,
                       float *to) {
  if (dtype == ULY_F32)
    uly__copy(model->stream, to, grads, count * (int64_t)sizeof *to);
  else
    model->ops->to_f32(model->stream, count, grads, to);
}

/* ------------------------------------------------------- tensors that every rank holds */

/* Returns how many elements of a unit are on every rank, rounded up to a multiple of ALIGNMENT. */
static int64_t num_replicated(const uly__params *params, int unit) {
  int64_t count = 0;
  const uly__unit *u = &params->units[unit];
  for (int i = u->first; i < u->first + u->num; i++)
    if (params->list[i].is_replicated) count += params->list[i].local_count;
  return (count + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Packs the tensors that every rank holds from the unit's gradient or, if `back`, unpacks them. */
static void move_replicated(const uly__model *model, int unit, uly_dtype dtype, char *grads,
                            float *packed, bool back) {
  const uly__unit *u = &model->params.units[unit];
  for (int i = u->first; i < u->first + u->num; i++) {
    const uly__param *param = &model->params.list[i];
    if (!param->is_replicated) continue;
    void *at = grads + param->local_offset * uly__dtype_bytes(dtype);
    if (back)
      unpack_grads(model, param->local_count, dtype, packed, at);
    else
      pack_grads(model, param->local_count, dtype, at, packed);
    packed += param->local_count;
  }
}

static uly_status sum_replicated(const uly__model *model, int unit, uly_dtype dtype, char *grads) {
  const uly__tensor *tensor = &model->tensor;
  int64_t count = num_replicated(&model->params, unit);
  if (count == 0) return ULY_OK;
  float *parts = model->work.shared_parts, *sum = model->work.shared_grads;
  uly__request request = {0};
  move_replicated(model, unit, dtype, grads, parts + tensor->rank * count, false);
  ULY_TRY(uly__all_gather_start(tensor->group, model->stream, ULY_TRAFFIC_GRADIENTS, parts,
                                count * (int64_t)sizeof *parts, &request));
  ULY_TRY(uly__request_wait(&request));
  model->ops->tree_sum(model->stream, ULY_F32, parts, tensor->size, count, count, sum);
  move_replicated(model, unit, dtype, grads, sum, true);
  return ULY_OK;
}

/* --------------------------------------------- key/value heads that several ranks hold */

/* The only key/value heads of a rank that others may hold too are its first and its last, since
 * each rank has a contiguous range of heads. */
typedef struct shared_heads {
  int64_t first, num; /* num: 1 or 2 */
  int64_t last;
} shared_heads;

static shared_heads shared_of(const uly__model *model, int rank) {
  uly__tensor_share share = uly__tensor_share_of(&model->config, model->tensor.size, rank);
  int64_t first = share.kv_heads.begin, last = first + share.kv_heads.count - 1;
  return (shared_heads){first, first == last ? 1 : 2, last};
}

/* Returns which of my shared heads another rank holds, as indices among mine. */
static uly__part shared_with(const uly__model *model, int rank) {
  shared_heads mine = shared_of(model, model->tensor.rank), other = shared_of(model, rank);
  int64_t first = uly__max(mine.first, other.first), last = uly__min(mine.last, other.last);
  if (first > last) return (uly__part){0, 0};
  if (rank == model->tensor.rank) return (uly__part){0, mine.num};
  return (uly__part){first == mine.first ? 0 : 1, last - first + 1};
}

/* The tensors of key/value heads: their offsets, and the elements of one head in each. */
typedef struct head_tensors {
  int64_t offsets[4], counts[4];
  int64_t count; /* of all */
} head_tensors;

static head_tensors tensors_of(const uly__model *model) {
  const uly__block_layout *b = &model->params.block;
  int64_t d = model->config.head_dim, weights = d * model->config.hidden;
  int64_t bias = b->bk < 0 ? 0 : d;
  return (head_tensors){
      {b->wk, b->wv, b->bk, b->bv}, {weights, weights, bias, bias}, 2 * (weights + bias)};
}

/* Packs the gradients of my shared heads or, if `back`, unpacks them. */
static void move_heads(const uly__model *model, uly_dtype dtype, char *grads, float *packed,
                       bool back) {
  head_tensors tensors = tensors_of(model);
  shared_heads mine = shared_of(model, model->tensor.rank);
  for (int64_t i = 0; i < mine.num; i++)
    for (int t = 0; t < 4; t++) {
      int64_t head = i == 0 ? 0 : mine.last - mine.first, count = tensors.counts[t];
      if (count == 0) continue;
      void *at = grads + (tensors.offsets[t] + head * count) * uly__dtype_bytes(dtype);
      if (back)
        unpack_grads(model, count, dtype, packed, at);
      else
        pack_grads(model, count, dtype, at, packed);
      packed += count;
    }
}

/* Adds up, for each of my shared heads, the parts of all ranks that hold it. */
static void add_heads(const uly__model *model, const float *parts, const int64_t *begins,
                      float *sums) {
  int64_t count = tensors_of(model).count;
  for (int64_t i = 0; i < shared_of(model, model->tensor.rank).num; i++) {
    bool is_first = true;
    for (int p = 0; p < model->tensor.size; p++) {
      uly__part shared = shared_with(model, p);
      if (i < shared.begin || i >= shared.begin + shared.count) continue;
      model->ops->keep_sum(model->stream, count, ULY_F32,
                           parts + (begins[p] + i - shared.begin) * count, is_first,
                           sums + i * count);
      is_first = false;
    }
  }
}

static uly_status sum_heads(const uly__model *model, uly_dtype dtype, char *grads) {
  const uly__tensor *tensor = &model->tensor;
  float *sums = model->work.shared_grads, *parts = model->work.shared_parts;
  int64_t *counts = tensor->blocks, *at = counts + tensor->size, *begins = at + tensor->size;
  int64_t begin = 0;
  uly__request request = {0};
  int tag;
  for (int p = 0; p < tensor->size; p++) {
    uly__part shared = shared_with(model, p);
    counts[p] = shared.count;
    at[p] = shared.begin;
    begins[p] = begin;
    begin += shared.count;
  }
  move_heads(model, dtype, grads, sums, false);
  ULY_TRY(uly__group_take_tag(tensor->group, &tag, "gradients of key/value heads"));
  ULY_TRY(uly__send_recv_start(tensor->group, model->stream, ULY_TRAFFIC_GRADIENTS,
                               tensors_of(model).count * (int64_t)sizeof *sums, sums,
                               (uly__blocks){counts, at}, parts, (uly__blocks){counts, begins}, tag,
                               &request));
  ULY_TRY(uly__request_wait(&request));
  add_heads(model, parts, begins, sums);
  move_heads(model, dtype, grads, sums, true);
  return ULY_OK;
}

/* -------------------------------------------------------------------------------- units */

static bool is_block(const uly__model *model, int unit) {
  return unit > ULY_UNIT_EMBED && unit < uly__last_unit(&model->params);
}

uly_status uly__tensor_grads_sum(void *context, int unit, uly_dtype dtype, void *grads) {
  const uly__model *model = context;
  if (model->tensor.size == 1) return ULY_OK;
  ULY_TRY(sum_replicated(model, unit, dtype, grads));
  return is_block(model, unit) ? sum_heads(model, dtype, grads) : ULY_OK;
}

void uly__tensor_grads_carve(uly__model *model, uly__arena *scratch) {
  int64_t largest = 0, parts = 0, size = model->tensor.size;
  if (size == 1) return;
  for (int u = 0; u < model->params.num_units; u++)
    largest = uly__max(largest, num_replicated(&model->params, u));
  parts = largest * size;
  if (model->num_layers > 0) {
    int64_t head = tensors_of(model).count, num = 0;
    for (int p = 0; p < size; p++) num += shared_with(model, p).count;
    largest = uly__max(largest, shared_of(model, model->tensor.rank).num * head);
    parts = uly__max(parts, num * head);
  }
  model->work.shared_grads = uly__arena_carve(scratch, largest * (int64_t)sizeof(float));
  model->work.shared_parts = uly__arena_carve(scratch, parts * (int64_t)sizeof(float));
}

int64_t uly__tensor_grads_sent(const uly__model *model, int unit) {
  int64_t size = model->tensor.size, heads = 0;
  if (size == 1 || model->params.units[unit].local_count == 0) return 0;
  for (int p = 0; is_block(model, unit) && p < size; p++)
    if (p != model->tensor.rank) heads += shared_with(model, p).count;
  return ((size - 1) * num_replicated(&model->params, unit) + heads * tensors_of(model).count) *
         (int64_t)sizeof(float);
}
