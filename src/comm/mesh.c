/* Meshes: checked once, up front. */
#include "comm/mesh.h"

#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

static uly_status resolve(uly_mesh_desc desc, int size, uly_mesh *mesh) {
  if (desc.dp < 0 || desc.sp < 0)
    ULY_FAIL(ULY_ERR_CONFIG, "a mesh of dp %d x sp %d: neither may be negative", desc.dp, desc.sp);
  mesh->dp = desc.dp ? desc.dp : desc.sp ? (size % desc.sp ? 1 : size / desc.sp) : 1;
  mesh->sp = desc.sp ? desc.sp : mesh->dp < size ? size / mesh->dp : 1;
  if ((int64_t)mesh->dp * mesh->sp != size)
    ULY_FAIL(ULY_ERR_CONFIG,
             "a mesh of dp %d x sp %d needs %lld ranks, but there are %d: start that many "
             "(mpirun -n %lld) or change --dp or --sp",
             mesh->dp, mesh->sp, (long long)mesh->dp * mesh->sp, size,
             (long long)mesh->dp * mesh->sp);
  return ULY_OK;
}

static void place(uly_mesh *mesh, int rank) {
  mesh->rank = rank;
  mesh->dp_index = rank / mesh->sp;
  mesh->sp_index = rank % mesh->sp;
}

static uly_status connect(uly_mesh *mesh, const void *mpi_comm, uly_mesh_desc desc) {
  ULY_TRY(uly__comm_create(mpi_comm, &mesh->traffic, "world", &mesh->world));
  /* Ranks may have been started with different meshes: none goes on into the split alone. */
  ULY_TRY(uly__agree(mesh->world, resolve(desc, uly__comm_size(mesh->world), mesh)));
  int shape[2] = {mesh->dp, mesh->sp};
  ULY_TRY(uly_mesh_same(mesh, shape, sizeof shape, "mesh"));
  place(mesh, uly__comm_rank(mesh->world));
  ULY_TRY(uly__comm_split(mesh->world, mesh->dp_index, "sequence", &mesh->sequence));
  ULY_TRY(uly__comm_dup(mesh->sequence, "to_heads", &mesh->to_heads));
  ULY_TRY(uly__comm_dup(mesh->sequence, "to_tokens", &mesh->to_tokens));
  ULY_TRY(uly__comm_dup(mesh->world, "gather", &mesh->gather));
  return uly__comm_dup(mesh->world, "reduce", &mesh->reduce);
}

uly_status uly_mesh_create(const void *mpi_comm, uly_mesh_desc desc, uly_mesh **out) {
  *out = NULL;
  uly_mesh *mesh = calloc(1, sizeof *mesh);
  if (!mesh) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a mesh");
  uly_status status = connect(mesh, mpi_comm, desc);
  if (status != ULY_OK)
    uly_mesh_destroy(mesh);
  else
    *out = mesh;
  return status;
}

uly_status uly_mesh_create_offline(uly_mesh_desc desc, int rank, uly_mesh **out) {
  *out = NULL;
  int dp = desc.dp ? desc.dp : 1, sp = desc.sp ? desc.sp : 1;
  if (dp < 1 || sp < 1 || (int64_t)dp * sp > INT32_MAX || rank < 0 || rank >= dp * sp)
    ULY_FAIL(ULY_ERR_CONFIG, "rank %d of a mesh of dp %d x sp %d does not exist", rank, dp, sp);
  uly_mesh *mesh = calloc(1, sizeof *mesh);
  if (!mesh) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a mesh");
  mesh->dp = dp;
  mesh->sp = sp;
  place(mesh, rank);
  *out = mesh;
  return ULY_OK;
}

void uly_mesh_destroy(uly_mesh *mesh) {
  if (!mesh) return;
  uly__comm_destroy(mesh->reduce);
  uly__comm_destroy(mesh->gather);
  uly__comm_destroy(mesh->to_tokens);
  uly__comm_destroy(mesh->to_heads);
  uly__comm_destroy(mesh->sequence);
  uly__comm_destroy(mesh->world);
  free(mesh);
}

int uly_mesh_rank(const uly_mesh *mesh) { return mesh->rank; }
int uly_mesh_size(const uly_mesh *mesh) { return mesh->dp * mesh->sp; }
int uly_mesh_dp(const uly_mesh *mesh) { return mesh->dp; }
int uly_mesh_sp(const uly_mesh *mesh) { return mesh->sp; }

uly_status uly_mesh_agree(uly_mesh *mesh, uly_status status) {
  return mesh->world ? uly__agree(mesh->world, status) : status;
}

uly_status uly_mesh_same(uly_mesh *mesh, const void *bytes, size_t count, const char *what) {
  if (!mesh->world) return ULY_OK;
  return uly__same(mesh->world, XXH3_64bits(bytes, count), what);
}
