/* ULYSSES_CHECK=collectives: the ranks of a group compare each call before they make it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/environment.h"
#include "base/log.h"
#include "comm/group_mpi.h"

/* Describes what a rank is about to call. Unused bytes are 0, since records are compared as
 * bytes. */
typedef struct record {
  /* A hash of this and all earlier calls, including what did not fit into text. */
  uint64_t history;
  int64_t number; /* in its group, from 1 */
  char group[24];
  char text[104];
} record;

struct uly__check {
  MPI_Comm mpi; /* only for comparisons, which must not mix with the group's calls */
  int size, rank;
  uint64_t history;
  record *records; /* [size] */
  bool broken;
  char message[512];
};

static const char end_of_group[] = "end of the group";

uly_status uly__check_wanted(const uly__group *group, bool *wanted) {
  const char *value = uly__environment("ULYSSES_CHECK");
  int answer = !value ? 0 : strcmp(value, "collectives") == 0 ? 1 : -1;
  MPI_TRY(MPI_Bcast(&answer, 1, MPI_INT, 0, group->mpi));
  if (answer < 0)
    ULY_FAIL(ULY_ERR_CONFIG, "ULYSSES_CHECK in the environment may only be \"collectives\"");
  *wanted = answer > 0;
  return ULY_OK;
}

static void free_check(uly__check *check) {
  free(check->records);
  free(check);
}

uly_status uly__check_create(uly__group *group) {
  if (group->size == 1) return ULY_OK;
  uly__check *check = calloc(1, sizeof *check);
  if (!check) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the check of a group");
  check->records = calloc((size_t)group->size, sizeof *check->records);
  if (!check->records) {
    free_check(check);
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for the check of %d ranks", group->size);
  }
  check->size = group->size;
  check->rank = group->rank;
  int code = MPI_Comm_dup(group->mpi, &check->mpi);
  if (code == MPI_SUCCESS) {
    group->check = check;
    return ULY_OK;
  }
  free_check(check);
  return uly__mpi_failed(code, "MPI_Comm_dup", __FILE__, __LINE__);
}

static record describe(uly__group *group, const char *text) {
  record mine;
  memset(&mine, 0, sizeof mine);
  mine.number = ++group->num_calls;
  memcpy(mine.group, group->name, sizeof mine.group);
  snprintf(mine.text, sizeof mine.text, "%s", text);
  uint64_t *history = &group->check->history;
  *history = XXH3_64bits_withSeed(mine.group, sizeof mine.group, *history);
  *history = XXH3_64bits_withSeed(text, strlen(text), *history);
  mine.history = *history;
  return mine;
}

/* Notes that rank p's call is not that of rank 0. */
static void note_difference(uly__check *check, int p) {
  const record *a = &check->records[0], *b = &check->records[p];
  check->broken = true;
  if (strcmp(a->group, b->group) == 0 && a->number == b->number)
    snprintf(check->message, sizeof check->message,
             "collective %lld of the %s group: rank %d calls %s, rank 0 calls %s",
             (long long)a->number, a->group, p, b->text, a->text);
  else
    snprintf(
        check->message, sizeof check->message,
        "rank %d calls %s (collective %lld of the %s group), rank 0 calls %s (collective %lld of "
        "the %s group)",
        p, b->text, (long long)b->number, b->group, a->text, (long long)a->number, a->group);
}

/* All ranks see the same records, so all reach the same result, and none waits for a rank that has
 * left. */
static uly_status compare(uly__group *group, const char *text) {
  uly__check *check = group->check;
  record mine = describe(group, text);
  MPI_TRY(MPI_Allgather(&mine, (int)sizeof mine, MPI_BYTE, check->records, (int)sizeof mine,
                        MPI_BYTE, check->mpi));
  for (int p = 1; p < check->size && !check->broken; p++)
    if (memcmp(&check->records[p], &check->records[0], sizeof mine) != 0) note_difference(check, p);
  return ULY_OK;
}

uly_status uly__check_call(uly__group *group, const char *format, ...) {
  char text[512];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (!group->check->broken) ULY_TRY(compare(group, text));
  if (group->check->broken) ULY_FAIL(ULY_ERR_INTERNAL, "%s", group->check->message);
  return ULY_OK;
}

/* Returns whether this rank is the lowest of those that end the group in this call. */
static bool is_lowest_to_end(const uly__check *check) {
  int p = 0;
  while (strcmp(check->records[p].text, end_of_group) != 0) p++;
  return p == check->rank;
}

bool uly__check_end(uly__group *group) {
  uly__check *check = group->check;
  if (!check) return true;
  if (!check->broken && compare(group, end_of_group) == ULY_OK && check->broken &&
      is_lowest_to_end(check))
    uly__warn("%s", check->message);
  MPI_Comm_free(&check->mpi);
  return !check->broken;
}

void uly__check_free(uly__group *group) {
  if (group->check) free_check(group->check);
  group->check = NULL;
}
