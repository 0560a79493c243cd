/* Describes to MPI what lies where in an exchange. */
#include <limits.h>

#include "comm/group_mpi.h"

static uly_status make_type(int64_t bytes, MPI_Datatype *type) {
  if (bytes < 1 || bytes > INT_MAX)
    ULY_FAIL(ULY_ERR_CONFIG, "an exchange cannot count in units of %lld bytes", (long long)bytes);
  MPI_TRY(MPI_Type_contiguous((int)bytes, MPI_BYTE, type));
  MPI_TRY(MPI_Type_commit(type));
  return ULY_OK;
}

/* MPI keeps a type that is freed until the calls that use it have ended. */
uly_status uly__unit_type_of(uly__group *group, int64_t unit_bytes, MPI_Datatype *type) {
  for (int i = 0; i < ULY_MAX_UNIT_TYPES; i++)
    if (group->units[i].bytes == unit_bytes) {
      *type = group->units[i].type;
      return ULY_OK;
    }
  uly__unit_type *place = &group->units[group->next_unit];
  if (place->bytes > 0) MPI_TRY(MPI_Type_free(&place->type));
  place->bytes = 0;
  ULY_TRY(make_type(unit_bytes, &place->type));
  place->bytes = unit_bytes;
  group->next_unit = (group->next_unit + 1) % ULY_MAX_UNIT_TYPES;
  *type = place->type;
  return ULY_OK;
}

static uly_status to_ints(const uly__group *group, const int64_t *from, int *to) {
  for (int p = 0; p < group->size; p++) {
    if (from[p] > INT_MAX)
      ULY_FAIL(ULY_ERR_CONFIG,
               "an exchange of %lld units with rank %d is more than MPI can count: "
               "use more ranks",
               (long long)from[p], p);
    to[p] = (int)from[p];
  }
  return ULY_OK;
}

static bool is_empty(const uly__group *group, const uly__blocks *blocks) {
  for (int p = 0; p < group->size; p++)
    if (blocks->counts[p] > 0) return false;
  return true;
}

uly_status uly__part_buffers(const uly__group *group, const void **send,
                             const uly__blocks *send_blocks, void **recv,
                             const uly__blocks *recv_blocks) {
  static char elsewhere;
  if (group->size == 1 || *send != *recv) return ULY_OK;
  if (is_empty(group, send_blocks))
    *send = &elsewhere;
  else if (is_empty(group, recv_blocks))
    *recv = &elsewhere;
  else
    ULY_FAIL(ULY_ERR_CONFIG,
             "an exchange cannot receive into the buffer that it sends from: give it two");
  return ULY_OK;
}

/* `out` is made of counts, and written to.
 * NOLINTBEGIN(readability-non-const-parameter) */
uly_status uly__take_blocks(uly__group *group, uly_traffic kind, int64_t unit_bytes,
                            const uly__blocks *send_blocks, const uly__blocks *recv_blocks,
                            int *counts, uly__exchange_counts *out) {
  int size = group->size, rank = group->rank;
  *out = (uly__exchange_counts){counts, counts + size, counts + 2 * size, counts + 3 * size};
  ULY_TRY(to_ints(group, send_blocks->counts, out->send));
  ULY_TRY(to_ints(group, send_blocks->offsets, out->send_offsets));
  ULY_TRY(to_ints(group, recv_blocks->counts, out->recv));
  ULY_TRY(to_ints(group, recv_blocks->offsets, out->recv_offsets));
  if (send_blocks->counts[rank] != recv_blocks->counts[rank])
    ULY_FAIL(ULY_ERR_INTERNAL, "rank %d sends itself %lld units and expects %lld", rank,
             (long long)send_blocks->counts[rank], (long long)recv_blocks->counts[rank]);
  out->send[rank] = out->recv[rank] = 0;
  group->traffic->bytes[kind] +=
      uly__traffic_all_to_all(size, rank, send_blocks->counts, unit_bytes);
  return ULY_OK;
}
/* NOLINTEND(readability-non-const-parameter) */

void uly__copy_own(const uly__group *group, uly__stream *stream, int64_t unit_bytes,
                   const void *send, const uly__blocks *send_blocks, void *recv,
                   const uly__blocks *recv_blocks) {
  int64_t bytes = send_blocks->counts[group->rank] * unit_bytes;
  const char *from = (const char *)send + send_blocks->offsets[group->rank] * unit_bytes;
  char *to = (char *)recv + recv_blocks->offsets[group->rank] * unit_bytes;
  if (to != from) uly__copy(stream, to, from, bytes);
}
