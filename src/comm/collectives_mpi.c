/* Collectives that wait, and agreement. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/spans.h"
#include "comm/group_mpi.h"

/* The most ranks that gather by messages. */
enum { FEW_RANKS = 8 };

/* A request is waited for in another function; the checker looks at one at a time.
 * NOLINTBEGIN(clang-analyzer-optin.mpi.MPI-Checker) */

uly_status uly__all_to_all(uly__group *group, uly__stream *stream, uly_traffic kind,
                           int64_t unit_bytes, const void *send, uly__blocks send_blocks,
                           void *recv, uly__blocks recv_blocks) {
  BEGIN_COLLECTIVE(group, "all_to_all (%s, units of %lld bytes)", uly_traffic_name(kind),
                   (long long)unit_bytes);
  uly__exchange_counts c;
  MPI_Datatype unit;
  ULY_TRY(uly__unit_type_of(group, unit_bytes, &unit));
  ULY_TRY(uly__part_buffers(group, &send, &send_blocks, &recv, &recv_blocks));
  ULY_TRY(uly__take_blocks(group, kind, unit_bytes, &send_blocks, &recv_blocks, group->counts, &c));
  uly__copy_own(group, stream, unit_bytes, send, &send_blocks, recv, &recv_blocks);
  if (group->size == 1) return ULY_OK;
  MPI_Request request;
  MPI_TRY(MPI_Ialltoallv(send, c.send, c.send_offsets, unit, recv, c.recv, c.recv_offsets, unit,
                         group->mpi, &request));
  return uly__mpi_wait(group, 1, &request);
}

/* Gathers among a few ranks by messages, of which one is to itself: MPI's non-blocking gather takes
 * longer, and its blocking one cannot sleep while it waits. */
static uly_status gather_by_messages(uly__group *group, const void *send, int bytes, char *recv) {
  MPI_Request requests[2 * FEW_RANKS];
  int num = 0;
  for (int i = 0; i < group->size; i++) {
    int p = (group->rank + group->size - i) % group->size;
    MPI_TRY(MPI_Irecv(recv + (size_t)p * (size_t)bytes, bytes, MPI_BYTE, p, ULY_GATHER_TAG,
                      group->mpi, &requests[num++]));
  }
  for (int i = 0; i < group->size; i++)
    MPI_TRY(MPI_Isend(send, bytes, MPI_BYTE, (group->rank + i) % group->size, ULY_GATHER_TAG,
                      group->mpi, &requests[num++]));
  return uly__mpi_wait(group, num, requests);
}

static uly_status gather(uly__group *group, uly_traffic kind, const void *send, int64_t bytes,
                         void *recv) {
  if (bytes > INT_MAX) ULY_FAIL(ULY_ERR_INTERNAL, "gathering %lld bytes", (long long)bytes);
  if (group->size <= FEW_RANKS) {
    ULY_TRY(gather_by_messages(group, send, (int)bytes, recv));
  } else {
    MPI_Request request;
    MPI_TRY(MPI_Iallgather(send, (int)bytes, MPI_BYTE, recv, (int)bytes, MPI_BYTE, group->mpi,
                           &request));
    ULY_TRY(uly__mpi_wait(group, 1, &request));
  }
  group->traffic->bytes[kind] += uly__traffic_all_gather(group->size, bytes);
  return ULY_OK;
}

/* NOLINTEND(clang-analyzer-optin.mpi.MPI-Checker) */

uly_status uly__all_gather(uly__group *group, uly__stream *stream, uly_traffic kind,
                           const void *send, int64_t bytes, void *recv) {
  (void)stream;
  BEGIN_COLLECTIVE(group, "all_gather (%s, %lld bytes)", uly_traffic_name(kind), (long long)bytes);
  return gather(group, kind, send, bytes, recv);
}

uly_status uly__sum_i64(uly__group *group, uly_traffic kind, int64_t *values, int count) {
  BEGIN_COLLECTIVE(group, "sum_i64 (%s, %d values)", uly_traffic_name(kind), count);
  if (count < 0 || count > ULY_MAX_SUM) ULY_FAIL(ULY_ERR_INTERNAL, "a sum of %d values", count);
  const uint64_t *all = group->gathered;
  ULY_TRY(gather(group, kind, values, count * (int64_t)sizeof *values, group->gathered));
  for (int i = 0; i < count; i++) {
    uint64_t sum = 0; /* unsigned: wraps */
    for (int p = 0; p < group->size; p++) sum += all[(size_t)p * (size_t)count + (size_t)i];
    values[i] = (int64_t)sum;
  }
  return ULY_OK;
}

uly_status uly__sum_exactly(uly__group *group, uly__exact_sum *sum) {
  uly__exact_carry(sum);
  return uly__sum_i64(group, ULY_TRAFFIC_CONTROL, sum->digits, ULY_EXACT_WORDS);
}

uly_status uly__agree(uly__group *group, uly_status status) {
  BEGIN_COLLECTIVE(group, "agree");
  if (group->size == 1) return status;
  double mine = (double)status; /* a small integer: exact */
  double *all = group->gathered;
  ULY_TRY(gather(group, ULY_TRAFFIC_CONTROL, &mine, sizeof mine, all));
  int failed = -1, num_failed = 0;
  for (int p = group->size - 1; p >= 0; p--)
    if (all[p] != 0) failed = p, num_failed++;
  if (failed < 0) return ULY_OK;
  uly_status agreed = (uly_status)all[failed];
  char message[2048], name[32];
  int length = snprintf(name, sizeof name, "rank %d ", failed);
  /* A failure of all ranks (a wrong setting, or a failure that was agreed on before) needs no
   * rank's name, nor does a message that begins with it. */
  if (num_failed < group->size && strncmp(uly_last_error(), name, (size_t)length) != 0)
    snprintf(message, sizeof message, "rank %d: %s", failed, uly_last_error());
  else
    snprintf(message, sizeof message, "%s", uly_last_error());
  MPI_TRY(MPI_Bcast(message, (int)sizeof message, MPI_CHAR, failed, group->mpi));
  uly__set_last_error(message);
  return agreed;
}

uly_status uly__same(uly__group *group, uint64_t value, const char *what) {
  BEGIN_COLLECTIVE(group, "same (%s)", what);
  uint64_t *all = group->gathered;
  ULY_TRY(gather(group, ULY_TRAFFIC_CONTROL, &value, sizeof value, all));
  for (int p = 1; p < group->size; p++)
    if (all[p] != all[0])
      ULY_FAIL(ULY_ERR_CONFIG,
               "rank %d has a different %s from rank 0: all ranks must have the same", p, what);
  return ULY_OK;
}

uly_status uly__same_values(uly__group *group, const uly__named *values, int num) {
  BEGIN_COLLECTIVE(group, "same_values (%d of them)", num);
  if (num < 0 || num > ULY_MAX_SUM) ULY_FAIL(ULY_ERR_INTERNAL, "a comparison of %d values", num);
  uint64_t mine[ULY_MAX_SUM], *all = group->gathered;
  for (int i = 0; i < num; i++) mine[i] = values[i].value;
  ULY_TRY(gather(group, ULY_TRAFFIC_CONTROL, mine, num * (int64_t)sizeof *mine, all));
  for (int i = 0; i < num; i++)
    for (int p = 1; p < group->size; p++)
      if (all[(size_t)p * (size_t)num + (size_t)i] != all[i])
        ULY_FAIL(ULY_ERR_CONFIG,
                 "rank %d has a different %s from rank 0: all ranks must pass the same", p,
                 values[i].name);
  return ULY_OK;
}
