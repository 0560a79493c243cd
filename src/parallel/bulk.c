/* Reduce-scatter and all-gather, chunk by chunk. */
#include "parallel/bulk.h"

#include <stdlib.h>

/* Elements of a sum, or bytes of a gather, in which chunks are counted. */
enum { UNIT = 64 };

uly_status uly__bulk_create(uly__group *group, const uly__ops *ops, uly__bulk *out) {
  size_t size = (size_t)uly__group_size(group);
  *out = (uly__bulk){.group = group, .ops = ops, .counts = calloc(3 * size, sizeof *out->counts)};
  if (!out->counts) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a sum over %zu ranks", size);
  out->send_offsets = out->counts + size;
  out->recv_offsets = out->counts + 2 * size;
  return ULY_OK;
}

void uly__bulk_destroy(uly__bulk *bulk) {
  free(bulk->counts); /* the one allocation behind all three */
  *bulk = (uly__bulk){0};
}

/* Returns the chunk that begins here: its place among those that are under way, and its length. */
static int place_of(const uly__bulk *b, int64_t begin) {
  return (int)(begin / b->chunk % ULY_BULK_IN_FLIGHT);
}
static int64_t length_of(const uly__bulk *b, int64_t begin) {
  return b->part - begin < b->chunk ? b->part - begin : b->chunk;
}

/* Returns where a chunk of a sum arrives, [size][length]. */
static void *arrivals(const uly__bulk *b, int place) {
  return b->workspace + place * uly__group_size(b->group) * b->chunk * b->unit_bytes;
}

static uly_status start_chunk(uly__bulk *b) {
  int64_t begin = b->begun, length = length_of(b, begin);
  int place = place_of(b, begin), rank = uly__group_rank(b->group);
  for (int p = 0; p < uly__group_size(b->group); p++) {
    b->counts[p] = length;
    b->send_offsets[p] = (b->sums ? p : rank) * b->part + begin;
    b->recv_offsets[p] = b->sums ? p * length : p * b->part + begin;
  }
  b->begun += length;
  return uly__send_recv_start(
      b->group, b->stream, b->kind, b->unit_bytes, b->data,
      (uly__blocks){b->counts, b->send_offsets}, b->sums ? arrivals(b, place) : b->data,
      (uly__blocks){b->counts, b->recv_offsets}, b->tag, &b->requests[place]);
}

/* Returns whether an exchange for attention is under way. Tensor parallelism does not count: its
 * rows are under way for most of a step, so nothing else would be sent. */
static bool gives_way(const uly__bulk *b) {
  static const uly_traffic kinds[] = {
      ULY_TRAFFIC_ATTENTION_FORWARD,   ULY_TRAFFIC_ATTENTION_BACKWARD,
      ULY_TRAFFIC_ATTENTION_RECOMPUTE, ULY_TRAFFIC_KEYS_FORWARD,
      ULY_TRAFFIC_KEYS_BACKWARD,       ULY_TRAFFIC_KEYS_RECOMPUTE};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (uly__group_is_moving(b->group, kinds[i])) return true;
  return false;
}

/* Starts as many chunks as may be under way. */
static uly_status start_chunks(uly__bulk *b) {
  while (b->begun < b->part && b->begun - b->ended < ULY_BULK_IN_FLIGHT * b->chunk)
    ULY_TRY(start_chunk(b));
  return ULY_OK;
}

/* Waits for the oldest chunk, and adds up what it brought. */
static uly_status end_chunk(uly__bulk *b) {
  int64_t begin = b->ended, length = length_of(b, begin), count = length * UNIT;
  int place = place_of(b, begin);
  ULY_TRY(uly__request_wait(&b->requests[place]));
  if (b->sums)
    b->ops->tree_sum(b->stream, b->dtype, arrivals(b, place), uly__group_size(b->group), count,
                     count, b->out + begin * UNIT);
  b->ended += length;
  return ULY_OK;
}

/* Checks what was asked for, and starts the first chunks, unless they must give way. */
static uly_status start(uly__bulk *b, const uly__bulk *asked, int64_t part, const char *what,
                        int64_t in_flight_bytes) {
  int size = uly__group_size(b->group);
  if (uly__bulk_is_pending(b))
    ULY_FAIL(ULY_ERR_INTERNAL, "a sum or gather is started while another is under way");
  if (part < 0 || part % UNIT)
    ULY_FAIL(ULY_ERR_INTERNAL, "parts of %lld %s are not multiples of %d", (long long)part, what,
             UNIT);
  if (part / UNIT > INT32_MAX / size)
    ULY_FAIL(ULY_ERR_CONFIG, "%d parts of %lld %s are more than MPI can count", size,
             (long long)part, what);
  int64_t chunk = in_flight_bytes / (ULY_BULK_IN_FLIGHT * size * asked->unit_bytes);
  if (size > 1 && chunk < 1)
    ULY_FAIL(ULY_ERR_INTERNAL, "a workspace of %lld bytes for a sum over %d ranks",
             (long long)in_flight_bytes, size);
  b->tag = asked->tag;
  b->stream = asked->stream;
  b->kind = asked->kind;
  b->sums = asked->sums;
  b->dtype = asked->dtype;
  b->data = asked->data;
  b->out = asked->out;
  b->workspace = asked->workspace;
  b->unit_bytes = asked->unit_bytes;
  b->part = part / UNIT;
  b->chunk = chunk;
  b->begun = b->ended = size > 1 ? 0 : b->part;
  return gives_way(b) ? ULY_OK : start_chunks(b);
}

uly_status uly__bulk_sum_start(uly__bulk *bulk, uly__stream *stream, uly_traffic kind,
                               uly_dtype dtype, void *data, int64_t part, float *out,
                               void *workspace, int64_t workspace_bytes) {
  int tag;
  ULY_TRY(uly__group_take_tag(bulk->group, &tag,
                              "bulk_sum_start (%s, %s, parts of %lld, workspace %lld bytes)",
                              uly_traffic_name(kind), dtype == ULY_BF16 ? "bf16" : "f32",
                              (long long)part, (long long)workspace_bytes));
  ULY_TRY(start(bulk,
                &(uly__bulk){.tag = tag,
                             .stream = stream,
                             .kind = kind,
                             .sums = true,
                             .dtype = dtype,
                             .data = data,
                             .out = out,
                             .workspace = workspace,
                             .unit_bytes = UNIT * uly__dtype_bytes(dtype)},
                part, "elements", workspace_bytes));
  if (uly__group_size(bulk->group) == 1)
    bulk->ops->tree_sum(stream, dtype, data, 1, part, part, out);
  return ULY_OK;
}

uly_status uly__bulk_gather_start(uly__bulk *bulk, uly__stream *stream, uly_traffic kind,
                                  void *data, int64_t part_bytes, int64_t in_flight_bytes) {
  int64_t least = (int64_t)ULY_BULK_IN_FLIGHT * uly__group_size(bulk->group) * UNIT;
  int tag;
  ULY_TRY(uly__group_take_tag(
      bulk->group, &tag, "bulk_gather_start (%s, parts of %lld bytes, %lld in flight)",
      uly_traffic_name(kind), (long long)part_bytes, (long long)in_flight_bytes));
  return start(
      bulk,
      &(uly__bulk){.tag = tag, .stream = stream, .kind = kind, .data = data, .unit_bytes = UNIT},
      part_bytes, "bytes", in_flight_bytes < least ? least : in_flight_bytes);
}

uly_status uly__bulk_poll(uly__bulk *bulk) {
  bool gives = gives_way(bulk);
  while (bulk->ended < bulk->begun) {
    uly__request *oldest = &bulk->requests[place_of(bulk, bulk->ended)];
    ULY_TRY(uly__request_poll(oldest));
    if (uly__request_is_pending(oldest)) break;
    ULY_TRY(end_chunk(bulk));
    if (!gives) ULY_TRY(start_chunks(bulk));
  }
  return gives ? ULY_OK : start_chunks(bulk);
}

bool uly__bulk_is_pending(const uly__bulk *bulk) { return bulk->ended < bulk->part; }

uly_status uly__bulk_wait(uly__bulk *bulk) {
  while (uly__bulk_is_pending(bulk)) {
    ULY_TRY(start_chunks(bulk));
    ULY_TRY(end_chunk(bulk));
  }
  return ULY_OK;
}
