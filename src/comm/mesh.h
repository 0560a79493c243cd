/* The mesh: rank <-> axes, and the groups that communicate. */
#ifndef ULY_MESH_H
#define ULY_MESH_H

#include "comm/comm.h"

struct uly_mesh {
  int dp, sp; /* extents of the axes */
  int rank;   /* dp_index * sp + sp_index */
  int dp_index, sp_index;
  /* Groups; NULL in an offline mesh. */
  uly__comm *world;                /* all ranks of the mesh */
  uly__comm *sequence;             /* the sp ranks that share my sequence */
  uly__comm *to_heads, *to_tokens; /* the same, for exchanges of each direction beside the rest */
  uly__comm *gather, *reduce; /* all ranks: for weights and gradients that travel beside the rest */
  uly__traffic traffic;       /* what this rank has sent, over all groups */
  /* Whoever made the mesh, until it is destroyed, and all objects that were made with it. */
  int num_users;
  bool is_destroyed;
};

/* Keeps the struct until uly__mesh_leave, also when the mesh is destroyed before. */
uly_mesh *uly__mesh_use(uly_mesh *mesh);
void uly__mesh_leave(uly_mesh *mesh);

/* Returns ULY_ERR_CONFIG where the mesh is NULL or was destroyed; and, the second, where it is offline. */
uly_status uly__mesh_check(const uly_mesh *mesh);
uly_status uly__mesh_check_online(const uly_mesh *mesh);

#endif
