/* Calls that run while the caller computes. */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "comm/group_mpi.h"

/* A request is started by one function and waited for by another; the checker looks at one at a
 * time. NOLINTBEGIN(clang-analyzer-optin.mpi.MPI-Checker) */

/* MPI counts in units of this many bytes, so that its int suffices. */
enum { UNIT = 64 };

/* All tags that MPI guarantees but the last. */
enum { NUM_TAGS = ULY_GATHER_TAG };

static uly_status create_started(uly__group *group, uly__started **out) {
  size_t size = (size_t)group->size;
  uly__started *s = *out = calloc(1, sizeof *s);
  if (s) {
    s->group = group;
    s->requests = calloc(2 * size, sizeof *s->requests);
    s->counts = calloc(4 * size, sizeof *s->counts);
  }
  if (!s || !s->requests || !s->counts)
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for the requests of %d ranks", group->size);
  return ULY_OK;
}

uly_status uly__started_create(uly__group *group, int num) {
  if (num <= group->num_started) return ULY_OK;
  uly__started **more = realloc(group->started, (size_t)num * sizeof *more);
  if (!more) ULY_FAIL(ULY_ERR_MEMORY, "no memory for %d calls of a group", num);
  group->started = more;
  while (group->num_started < num)
    ULY_TRY(create_started(group, &group->started[group->num_started++]));
  return ULY_OK;
}

uly_status uly__group_reserve(uly__group *group, int num) {
  if (group->mpi == MPI_COMM_NULL) return ULY_OK;
  return uly__started_create(group, num);
}

/* Notes that MPI has done its part. */
static void end(uly__started *s) {
  s->group->traffic->under_way[s->kind] -= s->is_pending;
  s->is_pending = false;
}

void uly__started_free(uly__group *group, bool leave) {
  for (int i = 0; i < group->num_started; i++) {
    uly__started *s = group->started[i];
    if (!s || (s->is_pending && leave)) continue;
    if (s->is_pending) {
      (void)uly__mpi_wait(group, s->num_requests, s->requests);
      end(s);
    }
    free(s->requests);
    free(s->counts);
    free(s);
  }
  free(group->started);
}

/* Takes a place for a call. */
static uly_status take(uly__group *group, const char *call, uly__request *request,
                       uly__started **out) {
  if (request->started)
    ULY_FAIL(ULY_ERR_INTERNAL, "%s on the %s group with a request that is under way", call,
             group->name);
  int i = 0;
  while (i < group->num_started && group->started[i]->is_taken) i++;
  if (i == group->num_started)
    ULY_FAIL(ULY_ERR_INTERNAL, "%s on the %s group while %d calls are under way", call, group->name,
             group->num_started);
  *out = group->started[i];
  return ULY_OK;
}

/* Notes that the call has been handed to MPI in s->num_requests requests. */
static void begin(uly__started *s, uly_traffic kind, bool is_collective, uly__request *request) {
  s->is_taken = true;
  s->kind = kind;
  s->is_collective = is_collective;
  s->is_pending = s->num_requests > 0;
  s->group->traffic->under_way[kind] += s->is_pending;
  request->started = s;
}

uly_status uly__all_to_all_start(uly__group *group, uly__stream *stream, uly_traffic kind,
                                 int64_t unit_bytes, const void *send, uly__blocks send_blocks,
                                 void *recv, uly__blocks recv_blocks, uly__request *request) {
  BEGIN_COLLECTIVE(group, "all_to_all_start (%s, units of %lld bytes)", uly_traffic_name(kind),
                   (long long)unit_bytes);
  uly__started *s;
  uly__exchange_counts c;
  MPI_Datatype unit;
  ULY_TRY(take(group, "all_to_all_start", request, &s));
  ULY_TRY(uly__unit_type_of(group, unit_bytes, &unit));
  ULY_TRY(uly__part_buffers(group, &send, &send_blocks, &recv, &recv_blocks));
  ULY_TRY(uly__take_blocks(group, kind, unit_bytes, &send_blocks, &recv_blocks, s->counts, &c));
  s->num_requests = group->size > 1;
  if (group->size > 1)
    MPI_TRY(MPI_Ialltoallv(send, c.send, c.send_offsets, unit, recv, c.recv, c.recv_offsets, unit,
                           group->mpi, s->requests));
  uly__copy_own(group, stream, unit_bytes, send, &send_blocks, recv, &recv_blocks);
  begin(s, kind, true, request);
  return ULY_OK;
}

uly_status uly__all_gather_start(uly__group *group, uly__stream *stream, uly_traffic kind,
                                 void *data, int64_t part_bytes, uly__request *request) {
  (void)stream;
  BEGIN_COLLECTIVE(group, "all_gather_start (%s, %lld bytes)", uly_traffic_name(kind),
                   (long long)part_bytes);
  if (part_bytes < 0 || part_bytes % UNIT)
    ULY_FAIL(ULY_ERR_INTERNAL, "parts of %lld bytes are not multiples of %d", (long long)part_bytes,
             UNIT);
  if (part_bytes / UNIT > INT_MAX / group->size)
    ULY_FAIL(ULY_ERR_CONFIG, "%d parts of %lld bytes are more than MPI can count", group->size,
             (long long)part_bytes);
  uly__started *s;
  MPI_Datatype unit;
  ULY_TRY(take(group, "all_gather_start", request, &s));
  ULY_TRY(uly__unit_type_of(group, UNIT, &unit));
  s->num_requests = group->size > 1 && part_bytes > 0;
  if (s->num_requests > 0)
    MPI_TRY(MPI_Iallgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, data, (int)(part_bytes / UNIT), unit,
                           group->mpi, s->requests));
  group->traffic->bytes[kind] += uly__traffic_all_gather(group->size, part_bytes);
  begin(s, kind, true, request);
  return ULY_OK;
}

uly_status uly__group_take_tag(uly__group *group, int *tag, const char *format, ...) {
  char text[256];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  BEGIN_COLLECTIVE(group, "%s", text);
  *tag = group->next_tag;
  group->next_tag = (group->next_tag + 1) % NUM_TAGS;
  return ULY_OK;
}

/* Starts the receives first, so that MPI need not buffer what arrives. */
uly_status uly__send_recv_start(uly__group *group, uly__stream *stream, uly_traffic kind,
                                int64_t unit_bytes, const void *send, uly__blocks send_blocks,
                                void *recv, uly__blocks recv_blocks, int tag,
                                uly__request *request) {
  uly__started *s;
  uly__exchange_counts c;
  MPI_Datatype unit;
  ULY_TRY(uly__check_online(group));
  ULY_TRY(take(group, "send_recv_start", request, &s));
  ULY_TRY(uly__unit_type_of(group, unit_bytes, &unit));
  ULY_TRY(uly__take_blocks(group, kind, unit_bytes, &send_blocks, &recv_blocks, s->counts, &c));
  s->num_requests = 0;
  for (int i = 1; i < group->size; i++) {
    int p = (group->rank + group->size - i) % group->size;
    if (c.recv[p] > 0)
      MPI_TRY(MPI_Irecv((char *)recv + c.recv_offsets[p] * unit_bytes, c.recv[p], unit, p, tag,
                        group->mpi, &s->requests[s->num_requests++]));
  }
  for (int i = 1; i < group->size; i++) {
    int p = (group->rank + i) % group->size;
    if (c.send[p] > 0)
      MPI_TRY(MPI_Isend((const char *)send + c.send_offsets[p] * unit_bytes, c.send[p], unit, p,
                        tag, group->mpi, &s->requests[s->num_requests++]));
  }
  uly__copy_own(group, stream, unit_bytes, send, &send_blocks, recv, &recv_blocks);
  begin(s, kind, false, request);
  return ULY_OK;
}

bool uly__group_is_moving(const uly__group *group, uly_traffic kind) {
  return group->traffic->under_way[kind] > 0;
}

bool uly__request_is_pending(const uly__request *request) {
  return request->started && request->started->is_pending;
}

uly_status uly__request_poll(uly__request *request) {
  uly__started *s = request->started;
  bool done = false;
  if (!s || !s->is_pending) return ULY_OK;
  ULY_TRY(uly__mpi_test(s->num_requests, s->requests, &done));
  if (done) end(s);
  return ULY_OK;
}

uly_status uly__request_wait(uly__request *request) {
  uly__started *s = request->started;
  if (!s) return ULY_OK;
  if (s->is_collective && s->group->check) ULY_TRY(uly__check_call(s->group, "wait"));
  if (s->is_pending) ULY_TRY(uly__mpi_wait(s->group, s->num_requests, s->requests));
  end(s);
  s->is_taken = false;
  request->started = NULL;
  return ULY_OK;
}

/* NOLINTEND(clang-analyzer-optin.mpi.MPI-Checker) */
