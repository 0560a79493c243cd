/* Collectives that run while the caller computes.
 *
 * reduce_scatter, chunk by chunk: a chunk is elements [begin, begin + length) of every part. An all-to-all
 * brings those of my part from all ranks into the workspace, [size][length]; the tree adds them into
 * out[begin ...]. My own are sent to the workspace too, so out may be where they came from. */
#include <limits.h>

#include "base/spans.h"
#include "base/tree.h"
#include "comm/comm_mpi.h"

/* A request is started by one function and waited for by another; the checker looks at one at a time.
 * NOLINTBEGIN(clang-analyzer-optin.mpi.MPI-Checker) */

/* MPI counts in units of this many elements, or bytes, so that its int suffices. */
enum { UNIT = 64 };

static uly_status check_units(const uly__comm *comm, int64_t part) {
  if (part < 0 || part % UNIT)
    ULY_FAIL(ULY_ERR_INTERNAL, "parts of %lld are not multiples of %d", (long long)part, UNIT);
  if (part / UNIT > INT_MAX / comm->size)
    ULY_FAIL(ULY_ERR_CONFIG, "%d parts of %lld are more than MPI can count", comm->size,
             (long long)part);
  return ULY_OK;
}

uly_status uly__all_gather_start(uly__comm *comm, uly_traffic kind, void *data,
                                 int64_t part_bytes) {
  BEGIN_COLLECTIVE(comm, "all_gather_start (%s, %lld bytes)", uly_traffic_name(kind),
                   (long long)part_bytes);
  ULY_TRY(check_units(comm, part_bytes));
  uly__started *s = &comm->started;
  if (comm->size > 1 && part_bytes > 0) {
    ULY_TRY(uly__use_unit(comm, UNIT));
    MPI_TRY(MPI_Iallgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, data, (int)(part_bytes / UNIT),
                           comm->unit, comm->mpi, &s->request));
    s->pending = true;
  }
  s->part = 0;
  s->under_way = true;
  comm->traffic->bytes[kind] += uly__traffic_all_gather(comm->size, part_bytes);
  return ULY_OK;
}

static uly_status start_chunk(uly__comm *comm) {
  uly__started *s = &comm->started;
  int64_t left = s->part - s->begin;
  s->length = left < s->chunk ? left : s->chunk;
  for (int p = 0; p < comm->size; p++) {
    comm->send_counts[p] = comm->recv_counts[p] = (int)(s->length / UNIT);
    comm->send_offsets[p] = (int)((p * s->part + s->begin) / UNIT);
    comm->recv_offsets[p] = (int)(p * s->length / UNIT);
  }
  MPI_TRY(MPI_Ialltoallv(s->data, comm->send_counts, comm->send_offsets, comm->unit, s->workspace,
                         comm->recv_counts, comm->recv_offsets, comm->unit, comm->mpi,
                         &s->request));
  s->pending = true;
  return ULY_OK;
}

uly_status uly__reduce_scatter_start(uly__comm *comm, uly_traffic kind, uly_dtype dtype,
                                     const void *data, int64_t part, float *out, void *workspace,
                                     int64_t workspace_bytes) {
  BEGIN_COLLECTIVE(comm, "reduce_scatter_start (%s, %s, parts of %lld, workspace %lld bytes)",
                   uly_traffic_name(kind), dtype == ULY_BF16 ? "bf16" : "f32", (long long)part,
                   (long long)workspace_bytes);
  ULY_TRY(check_units(comm, part));
  int64_t unit_bytes = UNIT * uly__dtype_bytes(dtype);
  int64_t chunk = workspace_bytes / (comm->size * unit_bytes) * UNIT;
  if (comm->size > 1 && chunk < UNIT)
    ULY_FAIL(ULY_ERR_INTERNAL, "a workspace of %lld bytes for a reduction over %d ranks",
             (long long)workspace_bytes, comm->size);
  comm->started = (uly__started){.under_way = true,
                                 .dtype = dtype,
                                 .data = data,
                                 .part = part,
                                 .out = out,
                                 .workspace = workspace,
                                 .chunk = chunk};
  comm->traffic->bytes[kind] += uly__traffic_reduce_scatter(comm->size, dtype, part);
  if (comm->size == 1) uly__tree_sum(dtype, data, 1, part, part, out);
  if (comm->size == 1 || part == 0) return ULY_OK;
  ULY_TRY(uly__use_unit(comm, unit_bytes));
  return start_chunk(comm);
}

/* The request is done: adds a chunk that has arrived, and starts the next. */
static uly_status advance(uly__comm *comm) {
  uly__started *s = &comm->started;
  s->pending = false;
  if (s->begin >= s->part) return ULY_OK;
  uly__tree_sum(s->dtype, s->workspace, comm->size, s->length, s->length, s->out + s->begin);
  s->begin += s->length;
  return s->begin < s->part ? start_chunk(comm) : ULY_OK;
}

bool uly__comm_pending(const uly__comm *comm) { return comm->started.pending; }

uly_status uly__comm_poll(uly__comm *comm) {
  if (!comm->started.pending) return ULY_OK;
  int done = 0;
  MPI_TRY(MPI_Test(&comm->started.request, &done, MPI_STATUS_IGNORE));
  return done ? advance(comm) : ULY_OK;
}

uly_status uly__finish_started(uly__comm *comm) {
  comm->started.under_way = false;
  while (comm->started.pending) {
    double begin = uly__now();
    MPI_TRY(MPI_Wait(&comm->started.request, MPI_STATUS_IGNORE));
    comm->traffic->wait_seconds += uly__now() - begin;
    ULY_TRY(advance(comm));
  }
  return ULY_OK;
}

uly_status uly__comm_wait(uly__comm *comm) {
  if (!comm->started.under_way) return ULY_OK;
  if (comm->check) ULY_TRY(uly__check_call(comm, "wait"));
  return uly__finish_started(comm);
}

/* NOLINTEND(clang-analyzer-optin.mpi.MPI-Checker) */
