/* Communication over MPI: its start and end, groups, collectives that wait, agreement. */
#include "comm/comm_mpi.h"

#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/spans.h"

/* What a thread copies at a time. */
enum { COPY_BYTES = 1 << 20 };

static int mpi_started_here;

static int mpi_running(void) {
  int started = 0, ended = 0;
  MPI_Initialized(&started);
  if (started) MPI_Finalized(&ended);
  return started && !ended;
}

uly_status uly__mpi_failed(int code, const char *call, const char *file, int line) {
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  (void)uly__fail(ULY_ERR_COMM, file, line, "line %d: MPI: %s: %.*s", line, call, length, text);
  if (uly_world_size() > 1) {
    uly__warn("%s; the job ends, since other ranks may be waiting", uly_last_error());
    uly_abort(uly_status_exit_code(ULY_ERR_COMM));
  }
  return ULY_ERR_COMM;
}

uly_status uly__busy(const uly__comm *comm) {
  ULY_FAIL(ULY_ERR_INTERNAL, "a collective on the %s group while another is under way", comm->name);
}

uly_status uly_init(int *argc, char ***argv) {
  int started = 0, ended = 0, provided = 0;
  MPI_TRY(MPI_Initialized(&started));
  MPI_TRY(MPI_Finalized(&ended));
  if (ended)
    ULY_FAIL(ULY_ERR_CONFIG, "MPI has ended, and cannot be started twice: call uly_finalize last");
  if (started) return ULY_OK;
  MPI_TRY(MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided));
  mpi_started_here = 1;
  if (provided < MPI_THREAD_FUNNELED)
    ULY_FAIL(ULY_ERR_COMM,
             "this MPI cannot be used by a program with threads "
             "(MPI_THREAD_FUNNELED): install a build that can");
  return ULY_OK;
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

/* Takes over mpi. Its errors are fatal, whatever the program's are: a rank that returned with one would leave
 * the others waiting. */
static uly_status wrap(MPI_Comm mpi, uly__traffic *traffic, const char *name, uly__comm **out) {
  int size = 0, rank = 0;
  MPI_TRY(MPI_Comm_set_errhandler(mpi, MPI_ERRORS_ARE_FATAL));
  MPI_TRY(MPI_Comm_size(mpi, &size));
  MPI_TRY(MPI_Comm_rank(mpi, &rank));
  uly__comm *comm = calloc(1, sizeof *comm);
  int *counts = calloc(4 * (size_t)size, sizeof *counts);
  void *gathered = calloc((size_t)size * ULY_MAX_SUM, sizeof(int64_t));
  if (!comm || !counts || !gathered) {
    free(comm);
    free(counts);
    free(gathered);
    MPI_Comm_free(&mpi);
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for a communicator of %d ranks", size);
  }
  snprintf(comm->name, sizeof comm->name, "%s", name);
  comm->mpi = mpi;
  comm->rank = rank;
  comm->size = size;
  comm->traffic = traffic;
  comm->gathered = gathered;
  comm->send_counts = counts;
  comm->send_offsets = counts + size;
  comm->recv_counts = counts + 2 * (ptrdiff_t)size;
  comm->recv_offsets = counts + 3 * (ptrdiff_t)size;
  comm->unit = MPI_DATATYPE_NULL;
  *out = comm;
  return ULY_OK;
}

static uly_status find_node_size(uly__comm *comm) {
  MPI_Comm node;
  MPI_TRY(MPI_Comm_split_type(comm->mpi, MPI_COMM_TYPE_SHARED, comm->rank, MPI_INFO_NULL, &node));
  MPI_TRY(MPI_Comm_size(node, &comm->node_size));
  MPI_TRY(MPI_Comm_free(&node));
  return ULY_OK;
}

/* The rest of a group whose ranks are not those of another one; checked: with a check of its own. */
static uly_status complete(uly__comm *comm, bool checked) {
  ULY_TRY(find_node_size(comm));
  return checked ? uly__check_create(comm) : ULY_OK;
}

static uly_status complete_as_asked(uly__comm *comm) {
  bool checked = false;
  ULY_TRY(uly__check_wanted(comm, &checked));
  return complete(comm, checked);
}

static uly_status or_destroy(uly_status status, uly__comm **out) {
  if (status == ULY_OK) return ULY_OK;
  uly__comm_destroy(*out);
  *out = NULL;
  return status;
}

static uly_status check_running(void) {
  if (!mpi_running())
    ULY_FAIL(ULY_ERR_CONFIG,
             "MPI is not running: call uly_init (or MPI_Init) before a mesh is made, and "
             "uly_finalize last");
  return ULY_OK;
}

static uly_status create(MPI_Comm from, uly__traffic *traffic, const char *name, uly__comm **out) {
  int is_inter = 0;
  MPI_Comm mpi;
  MPI_TRY(MPI_Comm_test_inter(from, &is_inter));
  if (is_inter)
    ULY_FAIL(ULY_ERR_CONFIG,
             "an intercommunicator joins two groups of ranks, but a mesh is one: merge it first "
             "(MPI_Intercomm_merge)");
  MPI_TRY(MPI_Comm_dup(from, &mpi));
  ULY_TRY(wrap(mpi, traffic, name, out));
  return or_destroy(complete_as_asked(*out), out);
}

uly_status uly__comm_create(uly__traffic *traffic, const char *name, uly__comm **out) {
  *out = NULL;
  ULY_TRY(check_running());
  return create(MPI_COMM_WORLD, traffic, name, out);
}

uly_status uly__comm_create_fortran(int comm, uly__traffic *traffic, const char *name,
                                    uly__comm **out) {
  *out = NULL;
  ULY_TRY(check_running());
  MPI_Comm from = MPI_Comm_f2c(comm);
  if (from == MPI_COMM_NULL)
    ULY_FAIL(ULY_ERR_CONFIG,
             "the communicator is MPI_COMM_NULL: only ranks that belong to one can make a mesh");
  return create(from, traffic, name, out);
}

uly_status uly__comm_split(uly__comm *comm, int color, const char *name, uly__comm **out) {
  *out = NULL;
  BEGIN_COLLECTIVE(comm, "split (%s)", name);
  MPI_Comm mpi;
  MPI_TRY(MPI_Comm_split(comm->mpi, color, comm->rank, &mpi));
  ULY_TRY(wrap(mpi, comm->traffic, name, out));
  return or_destroy(complete(*out, comm->check != NULL), out);
}

uly_status uly__comm_dup(uly__comm *comm, const char *name, uly__comm **out) {
  *out = NULL;
  BEGIN_COLLECTIVE(comm, "dup (%s)", name);
  MPI_Comm mpi;
  MPI_TRY(MPI_Comm_dup(comm->mpi, &mpi));
  ULY_TRY(wrap(mpi, comm->traffic, name, out));
  (*out)->node_size = comm->node_size;
  uly__check_share(*out, comm);
  return ULY_OK;
}

/* What is under way may be completed only where all ranks do the same. Where they do not, it is left to
 * the end of the process. */
static void end_group(uly__comm *comm) {
  if (uly__check_end(comm)) (void)uly__finish_started(comm);
  if (comm->unit != MPI_DATATYPE_NULL) MPI_Type_free(&comm->unit);
  if (!comm->started.pending) MPI_Comm_free(&comm->mpi);
}

void uly__comm_destroy(uly__comm *comm) {
  if (!comm) return;
  if (mpi_running()) end_group(comm);
  uly__check_leave(comm);
  free(comm->send_counts); /* the one allocation behind all four */
  free(comm->gathered);
  free(comm);
}

int uly__comm_rank(const uly__comm *comm) { return comm->rank; }
int uly__comm_size(const uly__comm *comm) { return comm->size; }
int uly__comm_node_size(const uly__comm *comm) { return comm->node_size; }

uly_status uly__use_unit(uly__comm *comm, int64_t unit_bytes) {
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

/* Counts and offsets for MPI, and for the traffic. A rank's own block is not MPI's: copy_own has more threads. */
static uly_status take_blocks(uly__comm *comm, uly_traffic kind, int64_t unit_bytes,
                              const uly__blocks *send, const uly__blocks *recv) {
  ULY_TRY(uly__use_unit(comm, unit_bytes));
  ULY_TRY(to_ints(comm, send->counts, comm->send_counts));
  ULY_TRY(to_ints(comm, send->offsets, comm->send_offsets));
  ULY_TRY(to_ints(comm, recv->counts, comm->recv_counts));
  ULY_TRY(to_ints(comm, recv->offsets, comm->recv_offsets));
  if (send->counts[comm->rank] != recv->counts[comm->rank])
    ULY_FAIL(ULY_ERR_INTERNAL, "rank %d sends itself %lld units and expects %lld", comm->rank,
             (long long)send->counts[comm->rank], (long long)recv->counts[comm->rank]);
  comm->send_counts[comm->rank] = comm->recv_counts[comm->rank] = 0;
  comm->traffic->bytes[kind] +=
      uly__traffic_all_to_all(comm->size, comm->rank, send->counts, unit_bytes);
  return ULY_OK;
}

static void copy_own(const uly__comm *comm, int64_t unit_bytes, const void *send,
                     const uly__blocks *send_blocks, void *recv, const uly__blocks *recv_blocks) {
  int64_t bytes = send_blocks->counts[comm->rank] * unit_bytes;
  const char *from = (const char *)send + send_blocks->offsets[comm->rank] * unit_bytes;
  char *to = (char *)recv + recv_blocks->offsets[comm->rank] * unit_bytes;
#pragma omp parallel for schedule(static) if (bytes > COPY_BYTES)
  for (int64_t at = 0; at < bytes; at += COPY_BYTES)
    memcpy(to + at, from + at, (size_t)(bytes - at < COPY_BYTES ? bytes - at : COPY_BYTES));
}

uly_status uly__all_to_all(uly__comm *comm, uly_traffic kind, int64_t unit_bytes, const void *send,
                           uly__blocks send_blocks, void *recv, uly__blocks recv_blocks) {
  BEGIN_COLLECTIVE(comm, "all_to_all (%s, units of %lld bytes)", uly_traffic_name(kind),
                   (long long)unit_bytes);
  ULY_TRY(take_blocks(comm, kind, unit_bytes, &send_blocks, &recv_blocks));
  copy_own(comm, unit_bytes, send, &send_blocks, recv, &recv_blocks);
  if (comm->size == 1) return ULY_OK;
  double begin = uly__now();
  MPI_TRY(MPI_Alltoallv(send, comm->send_counts, comm->send_offsets, comm->unit, recv,
                        comm->recv_counts, comm->recv_offsets, comm->unit, comm->mpi));
  comm->traffic->wait_seconds += uly__now() - begin;
  return ULY_OK;
}

/* NOLINTBEGIN(clang-analyzer-optin.mpi.MPI-Checker): waited for in another function */
uly_status uly__all_to_all_start(uly__comm *comm, uly_traffic kind, int64_t unit_bytes,
                                 const void *send, uly__blocks send_blocks, void *recv,
                                 uly__blocks recv_blocks) {
  BEGIN_COLLECTIVE(comm, "all_to_all_start (%s, units of %lld bytes)", uly_traffic_name(kind),
                   (long long)unit_bytes);
  ULY_TRY(take_blocks(comm, kind, unit_bytes, &send_blocks, &recv_blocks));
  comm->started = (uly__started){.under_way = true};
  if (comm->size > 1) {
    MPI_TRY(MPI_Ialltoallv(send, comm->send_counts, comm->send_offsets, comm->unit, recv,
                           comm->recv_counts, comm->recv_offsets, comm->unit, comm->mpi,
                           &comm->started.request));
    comm->started.pending = true;
  }
  copy_own(comm, unit_bytes, send, &send_blocks, recv, &recv_blocks);
  return ULY_OK;
}
/* NOLINTEND(clang-analyzer-optin.mpi.MPI-Checker) */

static uly_status gather(uly__comm *comm, uly_traffic kind, const void *send, int64_t bytes,
                         void *recv) {
  if (bytes > INT_MAX) ULY_FAIL(ULY_ERR_INTERNAL, "gathering %lld bytes", (long long)bytes);
  double begin = uly__now();
  MPI_TRY(MPI_Allgather(send, (int)bytes, MPI_BYTE, recv, (int)bytes, MPI_BYTE, comm->mpi));
  comm->traffic->wait_seconds += uly__now() - begin;
  comm->traffic->bytes[kind] += uly__traffic_all_gather(comm->size, bytes);
  return ULY_OK;
}

uly_status uly__all_gather(uly__comm *comm, uly_traffic kind, const void *send, int64_t bytes,
                           void *recv) {
  BEGIN_COLLECTIVE(comm, "all_gather (%s, %lld bytes)", uly_traffic_name(kind), (long long)bytes);
  return gather(comm, kind, send, bytes, recv);
}

uly_status uly__sum_i64(uly__comm *comm, uly_traffic kind, int64_t *values, int count) {
  BEGIN_COLLECTIVE(comm, "sum_i64 (%s, %d values)", uly_traffic_name(kind), count);
  if (count < 0 || count > ULY_MAX_SUM) ULY_FAIL(ULY_ERR_INTERNAL, "a sum of %d values", count);
  const uint64_t *all = comm->gathered;
  ULY_TRY(gather(comm, kind, values, count * (int64_t)sizeof *values, comm->gathered));
  for (int i = 0; i < count; i++) {
    uint64_t sum = 0; /* unsigned: wraps */
    for (int p = 0; p < comm->size; p++) sum += all[(size_t)p * (size_t)count + (size_t)i];
    values[i] = (int64_t)sum;
  }
  return ULY_OK;
}

uly_status uly__agree(uly__comm *comm, uly_status status) {
  BEGIN_COLLECTIVE(comm, "agree");
  if (comm->size == 1) return status;
  double mine = (double)status; /* a small integer: exact */
  double *all = comm->gathered;
  ULY_TRY(gather(comm, ULY_TRAFFIC_CONTROL, &mine, sizeof mine, all));
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
  BEGIN_COLLECTIVE(comm, "same (%s)", what);
  uint64_t *all = comm->gathered;
  ULY_TRY(gather(comm, ULY_TRAFFIC_CONTROL, &value, sizeof value, all));
  for (int p = 1; p < comm->size; p++)
    if (all[p] != all[0])
      ULY_FAIL(ULY_ERR_CONFIG, "rank %d has another %s than rank 0: all ranks must have the same",
               p, what);
  return ULY_OK;
}

uly_status uly__same_values(uly__comm *comm, const uly__named *values, int num) {
  BEGIN_COLLECTIVE(comm, "same_values (%d of them)", num);
  if (num < 0 || num > ULY_MAX_SUM) ULY_FAIL(ULY_ERR_INTERNAL, "a comparison of %d values", num);
  uint64_t mine[ULY_MAX_SUM], *all = comm->gathered;
  for (int i = 0; i < num; i++) mine[i] = values[i].value;
  ULY_TRY(gather(comm, ULY_TRAFFIC_CONTROL, mine, num * (int64_t)sizeof *mine, all));
  for (int i = 0; i < num; i++)
    for (int p = 1; p < comm->size; p++)
      if (all[(size_t)p * (size_t)num + (size_t)i] != all[i])
        ULY_FAIL(ULY_ERR_CONFIG, "rank %d has another %s than rank 0: all ranks must pass the same",
                 p, values[i].name);
  return ULY_OK;
}
