/* The mesh: the place of a rank on each axis, and the groups that communicate.
 *
 * Ranks are numbered along the axes, from the innermost (ranks of one machine) to the outermost. A
 * set of axes names a group: the ranks that differ from each other only on these axes. */
#ifndef ULY_MESH_H
#define ULY_MESH_H

#include "comm/group.h"

/* Axes from the innermost to the outermost, and sets of them. */
enum {
  ULY_AXIS_TP = 1 << 0,      /* parts of each layer */
  ULY_AXIS_ULYSSES = 1 << 1, /* heads of one sequence */
  ULY_AXIS_RING = 1 << 2,    /* blocks of keys of one sequence */
  ULY_AXIS_DP = 1 << 3,      /* sequences */
  ULY_AXIS_PP = 1 << 4,      /* layers */
  ULY_NUM_AXES = 5,

  /* The ranks that share a sequence. */
  ULY_AXES_SP = ULY_AXIS_ULYSSES | ULY_AXIS_RING,
  /* The ranks among which ZeRO divides parameters. */
  ULY_AXES_ZERO = ULY_AXES_SP | ULY_AXIS_DP,
  ULY_AXES_ALL = (1 << ULY_NUM_AXES) - 1
};

struct uly_mesh {
  int extent[ULY_NUM_AXES]; /* by the number of the axis's bit */
  /* The ring axis gathers keys and values, instead of passing them on. */
  bool gathers;
  int rank;
  uly__group *groups[ULY_AXES_ALL + 1]; /* by axes; sets of the same ranks share one */
  uly__traffic traffic;                 /* what this rank has sent, over all groups */
  /* The number of users: the program, until it destroys the mesh, and all objects that were made
   * with the mesh. */
  int num_users;
  bool is_offline, is_destroyed;
};

/* Return the number of ranks in a group of these axes, and the place of this rank, or of another,
 * in it. */
int uly__mesh_extent(const uly_mesh *mesh, unsigned axes);
int uly__mesh_index(const uly_mesh *mesh, unsigned axes);
int uly__mesh_index_of(const uly_mesh *mesh, int rank, unsigned axes);

/* Returns the group of the ranks that differ from this one only in these axes: TP, ULYSSES, RING,
 * SP, ZERO, PP or ALL. */
uly__group *uly__mesh_group(const uly_mesh *mesh, unsigned axes);
/* Returns the group of all ranks of the mesh. */
uly__group *uly__mesh_world(const uly_mesh *mesh);

/* Describes the extents of a mesh. */
uly_mesh_desc uly__mesh_describe(const uly_mesh *mesh);

/* Keeps the struct until uly__mesh_leave, even if the mesh is destroyed before. */
uly_mesh *uly__mesh_use(uly_mesh *mesh);
void uly__mesh_leave(uly_mesh *mesh);

/* Return ULY_ERR_CONFIG if the mesh is NULL or was destroyed; the second also if it is offline. */
uly_status uly__mesh_check(const uly_mesh *mesh);
uly_status uly__mesh_check_online(const uly_mesh *mesh);

#endif
