/* Sends rows and gradients from stage to stage: see boundary.h. */
#include "model/boundary.h"

#include <math.h>
#include <stdlib.h>

#include "base/spans.h"

static uly_traffic kind_of(uly__operation operation) {
  return operation == ULY_FORWARD ? ULY_TRAFFIC_PIPELINE_FORWARD : ULY_TRAFFIC_PIPELINE_BACKWARD;
}

static uly_status create_chunk(const uly__stash_chunk *stash, uly__chunk_passages *out) {
  size_t num = (size_t)stash->num_inputs;
  out->num = stash->num_inputs;
  out->arrivals = calloc(num, sizeof *out->arrivals);
  out->departures = calloc(num, sizeof *out->departures);
  if (!out->arrivals || !out->departures)
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for the requests of %zu micro-batches", num);
  return ULY_OK;
}

uly_status uly__boundary_create(const uly_mesh *mesh, const uly__stash *stash, int64_t rows,
                                int64_t row_bytes, bool forward_only, uly__boundary *out) {
  uly__group *group = uly__mesh_group(mesh, ULY_AXIS_PP);
  *out = (uly__boundary){.group = group,
                         .stream = uly__stream_get(),
                         .size = uly__group_size(group),
                         .index = uly__group_rank(group),
                         .num_chunks = stash->num_chunks,
                         .rows = rows,
                         .row_bytes = row_bytes,
                         .num_rooms = forward_only ? 0 : 1};
  if (out->size == 1) return ULY_OK;
  int64_t num = 2 * ULY_GRADIENT_ROOMS;
  out->counts = calloc(2 * (size_t)out->size, sizeof *out->counts);
  if (!out->counts) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the counts of %d stages", out->size);
  bool receives = false, sends = false;
  for (int v = 0; v < out->num_chunks; v++) {
    uly__schedule_item back = {ULY_BACKWARD, v, 0};
    receives |= uly__boundary_receives(out, back);
    sends |= uly__boundary_sends(out, back);
    ULY_TRY(create_chunk(&stash->chunks[v], &out->chunks[v]));
    num += 2 * out->chunks[v].num;
  }
  if (!forward_only) out->num_rooms = 1 + receives + sends;
  return uly__group_reserve(group, (int)num);
}

void uly__boundary_destroy(uly__boundary *boundary) {
  for (int v = 0; v < boundary->num_chunks; v++) {
    free(boundary->chunks[v].arrivals);
    free(boundary->chunks[v].departures);
  }
  free(boundary->counts);
  *boundary = (uly__boundary){0};
}

void uly__boundary_carve(uly__boundary *boundary, uly__arena *activations) {
  for (int i = 0; i < boundary->num_rooms; i++)
    boundary->rooms[i] = uly__arena_carve(activations, boundary->rows * boundary->row_bytes);
}

/* ------------------------------------------------------------------------------- neighbours */

/* Returns the number in the model of the chunk that comes `step` after a chunk of this stage in the
 * direction of a pass; it may not exist. */
static int64_t neighbour(const uly__boundary *b, uly__schedule_item pass, int step) {
  int64_t number = (int64_t)pass.chunk * b->size + b->index;
  return pass.operation == ULY_FORWARD ? number + step : number - step;
}

static bool exists(const uly__boundary *b, int64_t number) {
  return b->size > 1 && number >= 0 && number < (int64_t)b->num_chunks * b->size;
}

bool uly__boundary_receives(const uly__boundary *boundary, uly__schedule_item pass) {
  return exists(boundary, neighbour(boundary, pass, -1));
}

bool uly__boundary_sends(const uly__boundary *boundary, uly__schedule_item pass) {
  return exists(boundary, neighbour(boundary, pass, 1));
}

/* ------------------------------------------------------------------------------------ calls */

uly_status uly__boundary_begin(uly__boundary *boundary) {
  if (boundary->size == 1) return ULY_OK;
  ULY_TRY(uly__group_take_tag(boundary->group, &boundary->tags[ULY_FORWARD],
                              "outputs of stages, %lld rows of %lld bytes",
                              (long long)boundary->rows, (long long)boundary->row_bytes));
  return uly__group_take_tag(boundary->group, &boundary->tags[ULY_BACKWARD],
                             "gradients of stages' inputs");
}

/* A call with another stage: `count` units to and from its rank with the same tokens. */
typedef struct exchange {
  int peer;
  int64_t count, unit_bytes;
  const void *from; /* NULL: nothing is sent */
  void *to;         /* NULL: nothing arrives */
} exchange;

static uly_status start(uly__boundary *b, uly_traffic kind, int tag, exchange e,
                        uly__request *request) {
  int64_t *zeros = b->counts + b->size;
  uly__blocks some = {b->counts, zeros}, none = {zeros, zeros};
  b->counts[e.peer] = e.count;
  uly_status status =
      uly__send_recv_start(b->group, b->stream, kind, e.unit_bytes, e.from, e.from ? some : none,
                           e.to, e.to ? some : none, tag, request);
  b->counts[e.peer] = 0;
  return status;
}

/* Starts to receive rows from (step -1), or to send rows to (step 1), the chunk before or after
 * that of a pass. Nothing happens if there is none. */
static uly_status pass_on(uly__boundary *b, uly__schedule_item pass, int step, int64_t rows,
                          const void *from, void *to, uly__passage *passage) {
  int64_t number = neighbour(b, pass, step);
  if (!exists(b, number)) return ULY_OK;
  exchange e = {(int)(number % b->size), rows, b->row_bytes, from, to};
  passage->began = uly__now();
  passage->operation = pass.operation;
  passage->micro_batch = pass.micro_batch;
  return start(b, kind_of(pass.operation), b->tags[pass.operation], e, &passage->request);
}

uly_status uly__boundary_receive(uly__boundary *boundary, uly__schedule_item pass, void *to,
                                 uly__passage *passage) {
  return pass_on(boundary, pass, -1, boundary->rows, NULL, to, passage);
}

uly_status uly__boundary_send(uly__boundary *boundary, uly__schedule_item pass, const void *from,
                              uly__passage *passage) {
  return pass_on(boundary, pass, 1, boundary->rows, from, NULL, passage);
}

/* Records a call that has ended. Several may have been under way: each is shown from the end of the
 * one before it, so that the spans of a lane do not overlap. */
static void note_end(uly__boundary *b, uly__passage *passage, bool is_arrival) {
  static const char *const names[2][2] = {{"send output", "send gradient"},
                                          {"receive output", "receive gradient"}};
  double *latest = &b->latest_end[is_arrival];
  uly__span_end(names[is_arrival][passage->operation], passage->micro_batch,
                is_arrival ? ULY_LANE_RECEIVE : ULY_LANE_SEND, fmax(passage->began, *latest));
  *latest = uly__now();
}

uly_status uly__boundary_wait(uly__boundary *boundary, bool is_arrival, uly__passage *passage) {
  bool waits = uly__request_is_pending(&passage->request);
  double begin = uly__now();
  uly_status status = uly__request_wait(&passage->request);
  if (!waits) return status;
  note_end(boundary, passage, is_arrival);
  boundary->wait_seconds += uly__now() - begin;
  uly__span_end("wait for micro-batch", passage->micro_batch, ULY_LANE_COMPUTE, begin);
  return status;
}

static uly_status poll(uly__boundary *boundary, bool is_arrival, uly__passage *passage) {
  if (!uly__request_is_pending(&passage->request)) return ULY_OK;
  ULY_TRY(uly__request_poll(&passage->request));
  if (!uly__request_is_pending(&passage->request)) note_end(boundary, passage, is_arrival);
  return ULY_OK;
}

/* A function that polls or waits for one call. */
typedef uly_status call_function(uly__boundary *boundary, bool is_arrival, uly__passage *passage);

/* Calls it for a place's arrival and departure. */
static void for_place(uly__boundary *b, call_function *function, uly__passage *arrival,
                      uly__passage *departure, uly_status *status) {
  uly_status arrived = function(b, true, arrival), left = function(b, false, departure);
  if (*status == ULY_OK) *status = arrived != ULY_OK ? arrived : left;
}

static uly_status for_each_call(uly__boundary *b, call_function *function) {
  uly_status status = ULY_OK;
  for (int v = 0; v < b->num_chunks; v++)
    for (int64_t i = 0; i < b->chunks[v].num; i++)
      for_place(b, function, &b->chunks[v].arrivals[i], &b->chunks[v].departures[i], &status);
  for (int i = 0; i < b->num_rooms; i++)
    for_place(b, function, &b->arrivals[i], &b->departures[i], &status);
  return status;
}

uly_status uly__boundary_finish(uly__boundary *boundary) {
  return for_each_call(boundary, uly__boundary_wait);
}

uly_status uly__boundary_poll(uly__boundary *boundary) {
  return boundary->size > 1 ? for_each_call(boundary, poll) : ULY_OK;
}

/* ------------------------------------------------------------------------- calls that wait */

uly_status uly__boundary_receive_row(uly__boundary *boundary, uly__schedule_item pass, void *to) {
  uly__passage passage = {.micro_batch = pass.micro_batch};
  ULY_TRY(pass_on(boundary, pass, -1, 1, NULL, to, &passage));
  return uly__boundary_wait(boundary, true, &passage);
}

uly_status uly__boundary_send_row(uly__boundary *boundary, uly__schedule_item pass,
                                  const void *from) {
  uly__passage passage = {.micro_batch = pass.micro_batch};
  ULY_TRY(pass_on(boundary, pass, 1, 1, from, NULL, &passage));
  return uly__boundary_wait(boundary, false, &passage);
}

uly_status uly__boundary_share_last(uly__boundary *boundary, int64_t bytes, void *data) {
  if (boundary->size == 1) return ULY_OK;
  int last = boundary->size - 1;
  bool sends = boundary->index == last;
  int64_t *counts = boundary->counts, *zeros = counts + boundary->size;
  uly__blocks some = {counts, zeros}, none = {zeros, zeros};
  for (int s = 0; s < boundary->size; s++) counts[s] = sends ? s != last : s == last;
  uly_status status =
      uly__all_to_all(boundary->group, boundary->stream, ULY_TRAFFIC_PIPELINE_FORWARD, bytes, data,
                      sends ? some : none, data, sends ? none : some);
  for (int s = 0; s < boundary->size; s++) counts[s] = 0;
  return status;
}

uly_status uly__boundary_exchange_ends(uly__boundary *boundary, int tag, int64_t count,
                                       int64_t bytes, const void *from, void *to) {
  uly__request request = {0};
  exchange e = {.peer = boundary->index == 0 ? boundary->size - 1 : 0,
                .count = count,
                .unit_bytes = bytes,
                .from = from,
                .to = to};
  ULY_TRY(start(boundary, ULY_TRAFFIC_GRADIENTS, tag, e, &request));
  return uly__request_wait(&request);
}

/* ------------------------------------------------------------------------------------ bytes */

int64_t uly__boundary_sent(const uly__boundary *boundary, const uly__schedule *schedule,
                           uly__operation operation) {
  int64_t num = 0;
  for (int64_t i = 0; i < schedule->num_items; i++)
    num += schedule->items[i].operation == operation &&
           uly__boundary_sends(boundary, schedule->items[i]);
  return num * boundary->rows * boundary->row_bytes;
}
