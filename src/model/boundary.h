/* Sends what the stages of a pipeline need from each other: rows of the residual stream, and their
 * gradients.
 *
 * A chunk's input arrives in the stash, and its output leaves from there. Gradients have up to
 * three rooms of their own, which take turns: backward works in one of them, the gradient of the
 * next pass arrives in another, and that of the previous pass leaves from a third. Each place has
 * its requests, so a place is free when they have ended. A rank sends to, and receives from, the
 * ranks of the neighbouring stages that have the same tokens.
 *
 * Legend: S stages; V chunks of each, of which chunk v of stage s is number v S + s of the
 * model. */
#ifndef ULY_BOUNDARY_H
#define ULY_BOUNDARY_H

#include "comm/mesh.h"
#include "device/arena.h"
#include "model/stash.h"
#include "ops/ops.h"
#include "parallel/schedule.h"

enum { ULY_GRADIENT_ROOMS = 3 };

/* A call under way. */
typedef struct uly__passage {
  uly__request request;
  double began;
  uly__operation operation; /* of the pass that made what travels */
  int64_t micro_batch;
} uly__passage;

/* The calls of a chunk's places in the stash: [num_inputs] each. */
typedef struct uly__chunk_passages {
  uly__passage *arrivals, *departures;
  int64_t num;
} uly__chunk_passages;

typedef struct uly__boundary {
  uly__group *group;
  uly__stream *stream;
  int size, index; /* S, and that of my stage */
  int num_chunks;  /* V */
  int64_t rows, row_bytes;
  int64_t *counts; /* [2][S]: of an exchange with one rank; and zeros */
  int tags[2];     /* by operation, of the current run of a schedule */
  uly__chunk_passages chunks[ULY_MAX_CHUNKS];
  /* The rooms of gradients. Each end of the model needs one less, and a run without backward passes
   * needs none. */
  void *rooms[ULY_GRADIENT_ROOMS];
  int num_rooms;
  uly__passage arrivals[ULY_GRADIENT_ROOMS], departures[ULY_GRADIENT_ROOMS];
  double wait_seconds;  /* for other stages, since the beginning */
  double latest_end[2]; /* of what was sent, and of what arrived */
} uly__boundary;

/* Plans what travels, of `rows` rows; allocates no tensors. The stash must be there. */
uly_status uly__boundary_create(const uly_mesh *mesh, const uly__stash *stash, int64_t rows,
                                int64_t row_bytes, bool forward_only, uly__boundary *out);
void uly__boundary_destroy(uly__boundary *boundary);
/* Carves the rooms of gradients. */
void uly__boundary_carve(uly__boundary *boundary, uly__arena *activations);

/* Return whether a pass over a chunk begins with what another stage sends, and whether it ends with
 * what another stage needs. */
bool uly__boundary_receives(const uly__boundary *boundary, uly__schedule_item pass);
bool uly__boundary_sends(const uly__boundary *boundary, uly__schedule_item pass);

/* Takes the tags of a schedule that is about to run. Collective over all stages. */
uly_status uly__boundary_begin(uly__boundary *boundary);
/* Start to receive what a pass begins with, and to send what it has made. Nothing happens if it
 * does not receive, or send. Several calls for one operation are made in the same order by both
 * stages. */
uly_status uly__boundary_receive(uly__boundary *boundary, uly__schedule_item pass, void *to,
                                 uly__passage *passage);
uly_status uly__boundary_send(uly__boundary *boundary, uly__schedule_item pass, const void *from,
                              uly__passage *passage);
/* Waits for a call, if there is one. is_arrival: it receives. */
uly_status uly__boundary_wait(uly__boundary *boundary, bool is_arrival, uly__passage *passage);
/* Waits for all calls. */
uly_status uly__boundary_finish(uly__boundary *boundary);
/* Makes progress with all calls; never waits. */
uly_status uly__boundary_poll(uly__boundary *boundary);

/* Receive the row that a pass over one token begins with, and send the one that it has made; and
 * send `bytes` from the last stage to all others. They wait, and do nothing where there is nothing
 * to do. The last one is collective over the stages. */
uly_status uly__boundary_receive_row(uly__boundary *boundary, uly__schedule_item pass, void *to);
uly_status uly__boundary_send_row(uly__boundary *boundary, uly__schedule_item pass,
                                  const void *from);
uly_status uly__boundary_share_last(uly__boundary *boundary, int64_t bytes, void *data);
/* Exchanges `count` elements of gradients, of so many bytes each, between the first and the last
 * stage, and waits. Only these two call it. */
uly_status uly__boundary_exchange_ends(uly__boundary *boundary, int tag, int64_t count,
                                       int64_t bytes, const void *from, void *to);

/* Returns the bytes that this rank sends in the passes of a schedule. */
int64_t uly__boundary_sent(const uly__boundary *boundary, const uly__schedule *schedule,
                           uly__operation operation);

#endif
