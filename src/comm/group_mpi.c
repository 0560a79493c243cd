/* Makes and destroys groups over MPI. */
#include "comm/group_mpi.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Fills in a group whose communicator, size and rank are known. */
static uly_status fill(uly__group *group, uly__traffic *traffic, const char *name) {
  size_t size = (size_t)group->size;
  snprintf(group->name, sizeof group->name, "%s", name);
  group->traffic = traffic;
  group->node_size = 1;
  group->gathered = calloc(size * ULY_MAX_SUM, sizeof(int64_t));
  group->counts = calloc(4 * size, sizeof *group->counts);
  if (!group->gathered || !group->counts)
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for a group of %d ranks", group->size);
  return uly__started_create(group, ULY_MAX_STARTED);
}

static uly_status find_node_size(uly__group *group) {
  MPI_Comm node;
  MPI_TRY(MPI_Comm_split_type(group->mpi, MPI_COMM_TYPE_SHARED, group->rank, MPI_INFO_NULL, &node));
  MPI_TRY(MPI_Comm_size(node, &group->node_size));
  MPI_TRY(MPI_Comm_free(&node));
  group->is_crowded = group->node_size > sysconf(_SC_NPROCESSORS_ONLN);
  return ULY_OK;
}

/* Takes over `mpi`. Its errors are fatal, whatever the program has set: a rank that returned with
 * an error would leave the others waiting. */
static uly_status wrap(MPI_Comm mpi, uly__traffic *traffic, const char *name, uly__group **out) {
  uly__group *group = calloc(1, sizeof *group);
  *out = group;
  if (!group) {
    MPI_Comm_free(&mpi);
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for a group");
  }
  group->mpi = mpi;
  MPI_TRY(MPI_Comm_set_errhandler(mpi, MPI_ERRORS_ARE_FATAL));
  MPI_TRY(MPI_Comm_size(mpi, &group->size));
  MPI_TRY(MPI_Comm_rank(mpi, &group->rank));
  ULY_TRY(fill(group, traffic, name));
  return find_node_size(group);
}

/* Makes the check that the environment asks for. */
static uly_status add_check(uly__group *group) {
  bool is_wanted = false;
  ULY_TRY(uly__check_wanted(group, &is_wanted));
  return is_wanted ? uly__check_create(group) : ULY_OK;
}

static uly_status or_destroy(uly_status status, uly__group **out) {
  if (status == ULY_OK) return ULY_OK;
  uly__group_destroy(*out);
  *out = NULL;
  return status;
}

static uly_status check_running(void) {
  if (!uly__mpi_is_running())
    ULY_FAIL(ULY_ERR_CONFIG,
             "MPI is not running: call uly_init (or MPI_Init) before a mesh is made, and "
             "uly_finalize last");
  return ULY_OK;
}

static uly_status create(MPI_Comm from, uly__traffic *traffic, const char *name, uly__group **out) {
  int is_inter = 0;
  MPI_Comm mpi;
  MPI_TRY(MPI_Comm_test_inter(from, &is_inter));
  if (is_inter)
    ULY_FAIL(ULY_ERR_CONFIG,
             "an intercommunicator joins two groups of ranks, but a mesh is one group: merge it "
             "first (MPI_Intercomm_merge)");
  MPI_TRY(MPI_Comm_dup(from, &mpi));
  uly_status status = wrap(mpi, traffic, name, out);
  if (status == ULY_OK) status = add_check(*out);
  return or_destroy(status, out);
}

uly_status uly__group_create(uly__traffic *traffic, const char *name, uly__group **out) {
  *out = NULL;
  ULY_TRY(check_running());
  return create(MPI_COMM_WORLD, traffic, name, out);
}

uly_status uly__group_create_fortran(int comm, uly__traffic *traffic, const char *name,
                                     uly__group **out) {
  *out = NULL;
  ULY_TRY(check_running());
  MPI_Comm from = MPI_Comm_f2c(comm);
  if (from == MPI_COMM_NULL)
    ULY_FAIL(ULY_ERR_CONFIG,
             "the communicator is MPI_COMM_NULL: only ranks that belong to one can make a mesh");
  return create(from, traffic, name, out);
}

uly_status uly__group_split(uly__group *group, int color, const char *name, uly__group **out) {
  *out = NULL;
  BEGIN_COLLECTIVE(group, "split (%s)", name);
  MPI_Comm mpi;
  MPI_TRY(MPI_Comm_split(group->mpi, color, group->rank, &mpi));
  uly_status status = wrap(mpi, group->traffic, name, out);
  if (status == ULY_OK && group->check) status = uly__check_create(*out);
  return or_destroy(status, out);
}

uly_status uly__group_create_offline(int size, int rank, const char *name, uly__group **out) {
  uly__group *group = *out = calloc(1, sizeof *group);
  if (!group) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a group");
  snprintf(group->name, sizeof group->name, "%s", name);
  group->mpi = MPI_COMM_NULL;
  group->size = size;
  group->rank = rank;
  group->node_size = 1;
  return ULY_OK;
}

static bool is_pending(const uly__group *group) {
  for (int i = 0; i < group->num_started; i++)
    if (group->started[i]->is_pending) return true;
  return false;
}

void uly__group_destroy(uly__group *group) {
  if (!group) return;
  bool is_online = group->mpi != MPI_COMM_NULL && uly__mpi_is_running();
  /* Calls that are under way can only be completed if all ranks do the same. If they do not, the
   * calls are left until the process ends. */
  bool leaves = !is_online || !uly__check_end(group), keeps_mpi = leaves && is_pending(group);
  uly__started_free(group, leaves);
  for (int i = 0; is_online && i < ULY_MAX_UNIT_TYPES; i++)
    if (group->units[i].bytes > 0) MPI_Type_free(&group->units[i].type);
  if (is_online && !keeps_mpi) MPI_Comm_free(&group->mpi);
  uly__check_free(group);
  free(group->counts);
  free(group->gathered);
  free(group);
}

int uly__group_rank(const uly__group *group) { return group->rank; }
int uly__group_size(const uly__group *group) { return group->size; }
int uly__group_node_size(const uly__group *group) { return group->node_size; }
