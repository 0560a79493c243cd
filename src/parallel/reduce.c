/* Reduce-scatter, chunk by chunk. */
#include "parallel/reduce.h"

#include <stdlib.h>

/* Elements in which chunks are counted. */
enum { UNIT = 64 };

uly_status uly__reduce_create(uly__group *group, const uly__ops *ops, uly__reduce *out) {
  size_t size = (size_t)uly__group_size(group);
  *out = (uly__reduce){.group = group, .ops = ops, .counts = calloc(3 * size, sizeof *out->counts)};
  if (!out->counts) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a sum over %zu ranks", size);
  out->send_offsets = out->counts + size;
  out->recv_offsets = out->counts + 2 * size;
  return ULY_OK;
}

void uly__reduce_destroy(uly__reduce *reduce) {
  free(reduce->counts); /* the one allocation behind all three */
  *reduce = (uly__reduce){0};
}

static uly_status start_chunk(uly__reduce *r) {
  int size = uly__group_size(r->group);
  int64_t left = r->part - r->begin;
  r->length = left < r->chunk ? left : r->chunk;
  for (int p = 0; p < size; p++) {
    r->counts[p] = r->length / UNIT;
    r->send_offsets[p] = (p * r->part + r->begin) / UNIT;
    r->recv_offsets[p] = p * r->length / UNIT;
  }
  return uly__send_recv_start(r->group, r->stream, r->kind, UNIT * uly__dtype_bytes(r->dtype),
                              r->data, (uly__blocks){r->counts, r->send_offsets}, r->workspace,
                              (uly__blocks){r->counts, r->recv_offsets}, r->tag, &r->chunk_request);
}

static uly_status check(const uly__reduce *r, int64_t workspace_bytes) {
  int size = uly__group_size(r->group);
  if (r->part < 0 || r->part % UNIT)
    ULY_FAIL(ULY_ERR_INTERNAL, "parts of %lld elements are not multiples of %d", (long long)r->part,
             UNIT);
  if (r->part / UNIT > INT32_MAX / size)
    ULY_FAIL(ULY_ERR_CONFIG, "%d parts of %lld elements are more than MPI can count", size,
             (long long)r->part);
  if (size > 1 && r->chunk < UNIT)
    ULY_FAIL(ULY_ERR_INTERNAL, "a workspace of %lld bytes for a reduction over %d ranks",
             (long long)workspace_bytes, size);
  return ULY_OK;
}

uly_status uly__reduce_start(uly__reduce *reduce, uly__stream *stream, uly_traffic kind,
                             uly_dtype dtype, const void *data, int64_t part, float *out,
                             void *workspace, int64_t workspace_bytes) {
  int size = uly__group_size(reduce->group);
  int64_t unit_bytes = UNIT * uly__dtype_bytes(dtype);
  ULY_TRY(uly__group_take_tag(reduce->group, &reduce->tag,
                              "reduce_scatter_start (%s, %s, parts of %lld, workspace %lld bytes)",
                              uly_traffic_name(kind), dtype == ULY_BF16 ? "bf16" : "f32",
                              (long long)part, (long long)workspace_bytes));
  if (reduce->is_pending)
    ULY_FAIL(ULY_ERR_INTERNAL, "a reduce-scatter is started while another is under way");
  reduce->stream = stream;
  reduce->kind = kind;
  reduce->dtype = dtype;
  reduce->data = data;
  reduce->part = part;
  reduce->out = out;
  reduce->workspace = workspace;
  reduce->chunk = workspace_bytes / (size * unit_bytes) * UNIT;
  reduce->begin = 0;
  ULY_TRY(check(reduce, workspace_bytes));
  if (size == 1) reduce->ops->tree_sum(stream, dtype, data, 1, part, part, out);
  if (size == 1 || part == 0) return ULY_OK;
  reduce->is_pending = true;
  return start_chunk(reduce);
}

/* Adds a chunk that has arrived, and starts the next. */
static uly_status advance(uly__reduce *r) {
  ULY_TRY(uly__request_wait(&r->chunk_request));
  r->ops->tree_sum(r->stream, r->dtype, r->workspace, uly__group_size(r->group), r->length,
                   r->length, r->out + r->begin);
  r->begin += r->length;
  r->is_pending = r->begin < r->part;
  return r->is_pending ? start_chunk(r) : ULY_OK;
}

uly_status uly__reduce_poll(uly__reduce *reduce) {
  if (!reduce->is_pending) return ULY_OK;
  ULY_TRY(uly__request_poll(&reduce->chunk_request));
  return uly__request_is_pending(&reduce->chunk_request) ? ULY_OK : advance(reduce);
}

bool uly__reduce_is_pending(const uly__reduce *reduce) { return reduce->is_pending; }

uly_status uly__reduce_wait(uly__reduce *reduce) {
  while (reduce->is_pending) ULY_TRY(advance(reduce));
  return ULY_OK;
}

uly_status uly__reduce_exactly(uly__group *group, uly__exact_sum *sum) {
  uly__exact_carry(sum);
  return uly__sum_i64(group, ULY_TRAFFIC_CONTROL, sum->digits, ULY_EXACT_WORDS);
}
