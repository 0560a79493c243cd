/* Gathers and sums rows of tiles over the ranks of tensor parallelism: see tensor.h. */
#include "parallel/tensor.h"

#include <stdlib.h>

#include "base/spans.h"

uly_status uly__tensor_create(const uly_mesh *mesh, uly_dtype dtype, int64_t width,
                              uly__tensor *out) {
  uly__group *group = uly__mesh_group(mesh, ULY_AXIS_TP);
  *out = (uly__tensor){.group = group,
                       .ops = uly__ops_get(),
                       .stream = uly__stream_get(),
                       .size = uly__group_size(group),
                       .rank = uly__group_rank(group),
                       .dtype = dtype,
                       .width = width,
                       .lag = uly__group_size(group) > 1};
  out->blocks = calloc(4 * (size_t)out->size, sizeof *out->blocks);
  if (!out->blocks) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the parts of %d ranks", out->size);
  return ULY_OK;
}

void uly__tensor_destroy(uly__tensor *tensor) {
  free(tensor->blocks);
  *tensor = (uly__tensor){0};
}

uly__part uly__tensor_part(const uly__tensor *tensor, int64_t rows, int rank) {
  return uly__split(rows, 1, tensor->size, rank);
}

static int64_t row_bytes(const uly__tensor *t) { return t->width * uly__dtype_bytes(t->dtype); }

/* Returns the largest number of rows that any rank has of a tile of `rows` rows. */
static int64_t most_rows(const uly__tensor *t, int64_t rows) {
  return (rows + t->size - 1) / t->size;
}

void uly__tensor_carve(uly__tensor *tensor, int64_t rows, bool has_backward, uly__arena *scratch) {
  int64_t partial = rows * tensor->width * (int64_t)sizeof(float);
  bool travels = tensor->size > 1;
  float *only = travels ? NULL : uly__arena_carve(scratch, partial);
  for (int slot = 0; slot < ULY_TENSOR_SLOTS; slot++) {
    for (int i = 0; i < ULY_NUM_SUMMED; i++) {
      uly__tensor_slot *sum = &tensor->sums[i][slot];
      sum->partial = travels ? uly__arena_carve(scratch, partial) : only;
      if (travels)
        sum->room =
            uly__arena_carve(scratch, tensor->size * most_rows(tensor, rows) * row_bytes(tensor));
    }
    for (int i = 0; travels && i < ULY_NUM_GATHERED; i++)
      if (has_backward || i == ULY_GATHER_NORMED)
        tensor->gathers[i][slot].room = uly__arena_carve(scratch, rows * row_bytes(tensor));
  }
}

/* ---------------------------------------------------------------------------- exchanges */

/* The counts and offsets of an exchange: four arrays of [T]. */
typedef struct exchange {
  int64_t *send, *send_at, *recv, *recv_at;
} exchange;

static exchange exchange_of(const uly__tensor *t) {
  return (exchange){t->blocks, t->blocks + t->size, t->blocks + 2 * t->size,
                    t->blocks + 3 * t->size};
}

static uly_status start(uly__tensor *t, uly_traffic kind, const void *send, exchange x,
                        uly__tensor_slot *slot, const char *what) {
  int tag;
  slot->travels = true;
  slot->began = uly__now();
  ULY_TRY(uly__group_take_tag(t->group, &tag, "%s (%s, %lld rows)", what, uly_traffic_name(kind),
                              (long long)slot->count));
  return uly__send_recv_start(t->group, t->stream, kind, row_bytes(t), send,
                              (uly__blocks){x.send, x.send_at}, slot->room,
                              (uly__blocks){x.recv, x.recv_at}, tag, &slot->request);
}

uly_status uly__tensor_gather(uly__tensor *tensor, uly__tensor_gathered what, uly_traffic kind,
                              int64_t tile, int64_t rows, const void *mine) {
  uly__tensor_slot *slot = &tensor->gathers[what][tile % ULY_TENSOR_SLOTS];
  slot->rows = tensor->size > 1 ? slot->room : mine;
  slot->count = rows;
  if (tensor->size == 1) return ULY_OK;
  exchange x = exchange_of(tensor);
  int64_t own = uly__tensor_part(tensor, rows, tensor->rank).count;
  for (int p = 0; p < tensor->size; p++) {
    uly__part part = uly__tensor_part(tensor, rows, p);
    x.send[p] = own;
    x.send_at[p] = 0;
    x.recv[p] = part.count;
    x.recv_at[p] = part.begin;
  }
  return start(tensor, kind, mine, x, slot, "tensor_gather");
}

/* Records how long an exchange took, once it is complete. */
static void note_arrival(uly__tensor_slot *slot, uly__lane lane) {
  if (!slot->travels || uly__request_is_pending(&slot->request)) return;
  uly__span_end(lane == ULY_LANE_ROWS ? "gather rows" : "add up rows", -1, lane, slot->began);
  slot->travels = false;
}

/* Waits for the exchange of a slot, and records how long this rank waited. */
static uly_status wait_for(uly__tensor_slot *slot, uly__lane lane) {
  bool waits = uly__request_is_pending(&slot->request);
  double begin = uly__now();
  ULY_TRY(uly__request_wait(&slot->request));
  note_arrival(slot, lane);
  if (waits)
    uly__span_end(lane == ULY_LANE_ROWS ? "wait for rows" : "wait for sums", -1, ULY_LANE_COMPUTE,
                  begin);
  return ULY_OK;
}

static uly_status poll_slot(uly__tensor_slot *slot, uly__lane lane) {
  ULY_TRY(uly__request_poll(&slot->request));
  note_arrival(slot, lane);
  return ULY_OK;
}

const void *uly__tensor_gather_wait(uly__tensor *tensor, uly__tensor_gathered what, int64_t tile,
                                    uly_status *status) {
  uly__tensor_slot *slot = &tensor->gathers[what][tile % ULY_TENSOR_SLOTS];
  *status = wait_for(slot, ULY_LANE_ROWS);
  return slot->rows;
}

float *uly__tensor_partial(const uly__tensor *tensor, uly__tensor_summed what, int64_t tile) {
  return tensor->sums[what][tile % ULY_TENSOR_SLOTS].partial;
}

uly_status uly__tensor_sum(uly__tensor *tensor, uly__tensor_summed what, uly_traffic kind,
                           int64_t tile, int64_t rows, bool stored) {
  uly__tensor_slot *slot = &tensor->sums[what][tile % ULY_TENSOR_SLOTS];
  slot->count = rows;
  if (tensor->size == 1) return ULY_OK;
  if (tensor->dtype == ULY_BF16 && !stored)
    tensor->ops->round_in_place(tensor->stream, rows * tensor->width, slot->partial);
  exchange x = exchange_of(tensor);
  int64_t own = uly__tensor_part(tensor, rows, tensor->rank).count;
  for (int p = 0; p < tensor->size; p++) {
    uly__part part = uly__tensor_part(tensor, rows, p);
    x.send[p] = part.count;
    x.send_at[p] = part.begin;
    x.recv[p] = own;
    x.recv_at[p] = p * own;
  }
  return start(tensor, kind, slot->partial, x, slot, "tensor_sum");
}

float *uly__tensor_sum_wait(uly__tensor *tensor, uly__tensor_summed what, int64_t tile,
                            uly_status *status) {
  uly__tensor_slot *slot = &tensor->sums[what][tile % ULY_TENSOR_SLOTS];
  *status = wait_for(slot, ULY_LANE_SUMS);
  if (tensor->size == 1) return slot->partial;
  int64_t own = uly__tensor_part(tensor, slot->count, tensor->rank).count * tensor->width;
  tensor->ops->tree_sum(tensor->stream, tensor->dtype, slot->room, tensor->size, own, own,
                        slot->partial);
  return slot->partial;
}

uly_status uly__tensor_poll(uly__tensor *tensor) {
  if (tensor->size == 1) return ULY_OK;
  for (int slot = 0; slot < ULY_TENSOR_SLOTS; slot++) {
    for (int i = 0; i < ULY_NUM_GATHERED; i++)
      ULY_TRY(poll_slot(&tensor->gathers[i][slot], ULY_LANE_ROWS));
    for (int i = 0; i < ULY_NUM_SUMMED; i++)
      ULY_TRY(poll_slot(&tensor->sums[i][slot], ULY_LANE_SUMS));
  }
  return ULY_OK;
}

/* -------------------------------------------------------------------------------- bytes */

int64_t uly__tensor_gather_bytes(const uly__tensor *tensor, int64_t rows) {
  return (tensor->size - 1) * uly__tensor_part(tensor, rows, tensor->rank).count *
         row_bytes(tensor);
}

int64_t uly__tensor_sum_bytes(const uly__tensor *tensor, int64_t rows) {
  return (rows - uly__tensor_part(tensor, rows, tensor->rank).count) * row_bytes(tensor);
}
