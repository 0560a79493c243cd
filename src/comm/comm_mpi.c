/* Communication over MPI (3.0 or later). An MPI failure ends the job through MPI's own error handler,
 * which names the rank; the status here covers communicators that were set to return instead. */
#include <limits.h>
#include <mpi.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/split.h"
#include "comm/comm.h"

struct uly__comm {
  MPI_Comm mpi;
  int rank, size, node_size;
  uly__traffic *traffic;
  int *send_counts, *send_offsets, *recv_counts, *recv_offsets; /* [size] each */
  void *gathered;     /* [size, ULY_MAX_SUM_F64] values of 8 bytes: small messages of all ranks */
  int64_t unit_bytes; /* of unit */
  MPI_Datatype unit;
};

static int mpi_started_here;

#define MPI_TRY(call)                                                            \
  do {                                                                           \
    int mpi_code_ = (call);                                                      \
    if (mpi_code_ != MPI_SUCCESS) return mpi_failed(mpi_code_, #call, __LINE__); \
  } while (0)

static uly_status mpi_failed(int code, const char *call, int line) {
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  ULY_FAIL(ULY_ERR_COMM, "line %d: MPI: %s: %.*s", line, call, length, text);
}

uly_status uly_init(int *argc, char ***argv) {
  int started = 0, provided = 0;
  MPI_TRY(MPI_Initialized(&started));
  if (started) return ULY_OK;
  MPI_TRY(MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided));
  mpi_started_here = 1;
  if (provided < MPI_THREAD_FUNNELED)
    ULY_FAIL(ULY_ERR_COMM,
             "this MPI cannot be used by a program with threads "
             "(MPI_THREAD_FUNNELED): install a build that can");
  return ULY_OK;
}

static int mpi_running(void) {
  int started = 0, ended = 0;
  MPI_Initialized(&started);
  if (started) MPI_Finalized(&ended);
  return started && !ended;
}

void uly_finalize(void) {
  if (mpi_started_here && mpi_running()) MPI_Finalize();
}

void uly_abort(int exit_code) {
  if (mpi_running()) MPI_Abort(MPI_COMM_WORLD, exit_code);
  exit(exit_code);
}

int uly_world_size(void) {
  int size = 1;
  if (mpi_running()) MPI_Comm_size(MPI_COMM_WORLD, &size);
  return size;
}

int uly_world_rank(void) {
  int rank = 0;
  if (mpi_running()) MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

/* Takes over mpi. */
static uly_status wrap(MPI_Comm mpi, uly__traffic *traffic, uly__comm **out) {
  int size = 0;
  MPI_TRY(MPI_Comm_size(mpi, &size));
  uly__comm *comm = calloc(1, sizeof *comm);
  int *counts = calloc(4 * (size_t)size, sizeof *counts);
  void *gathered = calloc((size_t)size * ULY_MAX_SUM_F64, sizeof(double));
  if (!comm || !counts || !gathered) {
    free(comm);
    free(counts);
    free(gathered);
    MPI_Comm_free(&mpi);
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for a communicator of %d ranks", size);
  }
  comm->mpi = mpi;
  comm->size = size;
  comm->traffic = traffic;
  comm->gathered = gathered;
  comm->send_counts = counts;
  comm->send_offsets = counts + size;
  comm->recv_counts = counts + 2 * (ptrdiff_t)size;
  comm->recv_offsets = counts + 3 * (ptrdiff_t)size;
  comm->unit = MPI_DATATYPE_NULL;
  *out = comm;
  MPI_TRY(MPI_Comm_rank(mpi, &comm->rank));
  MPI_Comm node;
  MPI_TRY(MPI_Comm_split_type(mpi, MPI_COMM_TYPE_SHARED, comm->rank, MPI_INFO_NULL, &node));
  MPI_TRY(MPI_Comm_size(node, &comm->node_size));
  MPI_TRY(MPI_Comm_free(&node));
  return ULY_OK;
}

uly_status uly__comm_create(const void *mpi_comm, uly__traffic *traffic, uly__comm **out) {
  if (!mpi_running())
    ULY_FAIL(ULY_ERR_COMM, "MPI is not running: call uly_init (or MPI_Init) before a mesh is made");
  MPI_Comm from = mpi_comm ? *(const MPI_Comm *)mpi_comm : MPI_COMM_WORLD, mpi;
  MPI_TRY(MPI_Comm_dup(from, &mpi));
  return wrap(mpi, traffic, out);
}

uly_status uly__comm_split(uly__comm *comm, int color, uly__comm **out) {
  MPI_Comm mpi;
  MPI_TRY(MPI_Comm_split(comm->mpi, color, comm->rank, &mpi));
  return wrap(mpi, comm->traffic, out);
}

void uly__comm_destroy(uly__comm *comm) {
  if (!comm) return;
  if (mpi_running()) {
    if (comm->unit != MPI_DATATYPE_NULL) MPI_Type_free(&comm->unit);
    MPI_Comm_free(&comm->mpi);
  }
  free(comm->send_counts); /* the one allocation behind all four */
  free(comm->gathered);
  free(comm);
}

int uly__comm_rank(const uly__comm *comm) { return comm->rank; }
int uly__comm_size(const uly__comm *comm) { return comm->size; }
int uly__comm_node_size(const uly__comm *comm) { return comm->node_size; }

/* The type of one unit; kept, since a plan uses the same one at every call. */
static uly_status use_unit(uly__comm *comm, int64_t unit_bytes) {
  if (comm->unit_bytes == unit_bytes) return ULY_OK;
  if (unit_bytes > INT_MAX)
    ULY_FAIL(ULY_ERR_CONFIG, "an exchange unit of %lld bytes is too large", (long long)unit_bytes);
  if (comm->unit != MPI_DATATYPE_NULL) MPI_TRY(MPI_Type_free(&comm->unit));
  MPI_TRY(MPI_Type_contiguous((int)unit_bytes, MPI_BYTE, &comm->unit));
  MPI_TRY(MPI_Type_commit(&comm->unit));
  comm->unit_bytes = unit_bytes;
  return ULY_OK;
}

static uly_status to_ints(const uly__comm *comm, const int64_t *from, int *to) {
  for (int p = 0; p < comm->size; p++) {
    if (from[p] > INT_MAX)
      ULY_FAIL(ULY_ERR_CONFIG,
               "an exchange of %lld units with rank %d is more than MPI can count: "
               "use more ranks",
               (long long)from[p], p);
    to[p] = (int)from[p];
  }
  return ULY_OK;
}

uly_status uly__all_to_all(uly__comm *comm, uly_traffic kind, int64_t unit_bytes, const void *send,
                           const int64_t *send_counts, const int64_t *send_offsets, void *recv,
                           const int64_t *recv_counts, const int64_t *recv_offsets) {
  ULY_TRY(use_unit(comm, unit_bytes));
  ULY_TRY(to_ints(comm, send_counts, comm->send_counts));
  ULY_TRY(to_ints(comm, send_offsets, comm->send_offsets));
  ULY_TRY(to_ints(comm, recv_counts, comm->recv_counts));
  ULY_TRY(to_ints(comm, recv_offsets, comm->recv_offsets));
  MPI_TRY(MPI_Alltoallv(send, comm->send_counts, comm->send_offsets, comm->unit, recv,
                        comm->recv_counts, comm->recv_offsets, comm->unit, comm->mpi));
  comm->traffic->bytes[kind] +=
      uly__traffic_all_to_all(comm->size, comm->rank, send_counts, unit_bytes);
  return ULY_OK;
}

uly_status uly__all_gather(uly__comm *comm, uly_traffic kind, const void *send, int64_t bytes,
                           void *recv) {
  if (bytes > INT_MAX) ULY_FAIL(ULY_ERR_INTERNAL, "gathering %lld bytes", (long long)bytes);
  MPI_TRY(MPI_Allgather(send, (int)bytes, MPI_BYTE, recv, (int)bytes, MPI_BYTE, comm->mpi));
  comm->traffic->bytes[kind] += uly__traffic_all_gather(comm->size, bytes);
  return ULY_OK;
}

/* Sums one chunk: shares to their owners, added in rank order, shares to everybody. */
static uly_status sum_chunk(uly__comm *comm, float *data, int64_t count, float *workspace) {
  uly__part own = uly__split(count, 1, comm->size, comm->rank);
  for (int p = 0; p < comm->size; p++) {
    uly__part share = uly__split(count, 1, comm->size, p);
    comm->send_counts[p] = (int)share.count;
    comm->send_offsets[p] = (int)share.begin;
    comm->recv_counts[p] = (int)own.count;
    comm->recv_offsets[p] = (int)(p * own.count);
  }
  MPI_TRY(MPI_Alltoallv(data, comm->send_counts, comm->send_offsets, MPI_FLOAT, workspace,
                        comm->recv_counts, comm->recv_offsets, MPI_FLOAT, comm->mpi));
  float *sum = data + own.begin;
  memcpy(sum, workspace, (size_t)own.count * sizeof *sum);
  for (int p = 1; p < comm->size; p++) {
    const float *other = workspace + p * own.count;
    for (int64_t i = 0; i < own.count; i++) sum[i] += other[i];
  }
  MPI_TRY(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, data, comm->send_counts,
                         comm->send_offsets, MPI_FLOAT, comm->mpi));
  return ULY_OK;
}

uly_status uly__sum_f32(uly__comm *comm, uly_traffic kind, float *data, int64_t count,
                        float *workspace, int64_t workspace_count) {
  if (comm->size == 1) return ULY_OK;
  int64_t chunk = workspace_count / comm->size * comm->size;
  if (chunk <= 0 || chunk > INT_MAX)
    ULY_FAIL(ULY_ERR_INTERNAL, "a workspace of %lld elements for a sum over %d ranks",
             (long long)workspace_count, comm->size);
  for (int64_t begin = 0; begin < count; begin += chunk) {
    int64_t length = count - begin < chunk ? count - begin : chunk;
    ULY_TRY(sum_chunk(comm, data + begin, length, workspace));
  }
  comm->traffic->bytes[kind] +=
      uly__traffic_sum_f32(comm->size, comm->rank, count, workspace_count);
  return ULY_OK;
}

uly_status uly__sum_f64(uly__comm *comm, uly_traffic kind, double *values, int count) {
  if (count > ULY_MAX_SUM_F64) ULY_FAIL(ULY_ERR_INTERNAL, "a sum of %d values", count);
  double *all = comm->gathered;
  ULY_TRY(uly__all_gather(comm, kind, values, count * (int64_t)sizeof *values, all));
  for (int i = 0; i < count; i++) {
    values[i] = 0;
    for (int p = 0; p < comm->size; p++) values[i] += all[(size_t)p * (size_t)count + (size_t)i];
  }
  return ULY_OK;
}

uly_status uly__agree(uly__comm *comm, uly_status status) {
  if (comm->size == 1) return status;
  double mine = (double)status; /* a small integer: exact */
  double *all = comm->gathered;
  ULY_TRY(uly__all_gather(comm, ULY_TRAFFIC_CONTROL, &mine, sizeof mine, all));
  int failed = -1, num_failed = 0;
  for (int p = comm->size - 1; p >= 0; p--)
    if (all[p] != 0) failed = p, num_failed++;
  if (failed < 0) return ULY_OK;
  uly_status agreed = (uly_status)all[failed];
  char message[2048];
  /* A failure of all ranks (a wrong setting, or one agreed on before) needs no rank's name. */
  if (num_failed < comm->size)
    snprintf(message, sizeof message, "rank %d: %s", failed, uly_last_error());
  else
    snprintf(message, sizeof message, "%s", uly_last_error());
  MPI_TRY(MPI_Bcast(message, (int)sizeof message, MPI_CHAR, failed, comm->mpi));
  uly__set_last_error(message);
  return agreed;
}

uly_status uly__same(uly__comm *comm, uint64_t value, const char *what) {
  uint64_t *all = comm->gathered;
  ULY_TRY(uly__all_gather(comm, ULY_TRAFFIC_CONTROL, &value, sizeof value, all));
  for (int p = 1; p < comm->size; p++)
    if (all[p] != all[0])
      ULY_FAIL(ULY_ERR_CONFIG, "rank %d has another %s than rank 0: all ranks must have the same",
               p, what);
  return ULY_OK;
}
