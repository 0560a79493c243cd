/* Meshes: checked once, up front. */
#include "comm/mesh.h"

#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/sized.h"

void uly_mesh_desc_default(uly_mesh_desc *desc, size_t size) {
  uly__sized_default(desc, size, &(uly_mesh_desc){0}, sizeof(uly_mesh_desc));
}

static uly_status read_desc(const uly_mesh_desc *from, uly_mesh_desc *desc) {
  *desc = (uly_mesh_desc){.size = sizeof *desc};
  return from ? uly__sized_read(from, "uly_mesh_desc", desc, sizeof *desc) : ULY_OK;
}

/* Axes that are not built, and `ulysses`, which is all of sp as long as there is no ring. */
static uly_status check_axes(uly_mesh_desc *desc) {
  const struct {
    const char *axis, *scheme;
    int extent;
  } missing[] = {{"ring", "ring attention", desc->ring},
                 {"tp", "tensor parallelism", desc->tp},
                 {"pp", "pipeline parallelism", desc->pp}};
  for (int i = 0; i < 3; i++)
    if (missing[i].extent < 0 || missing[i].extent > 1)
      ULY_FAIL(ULY_ERR_CONFIG, "mesh.%s is %d, but %s is not built yet: leave it at 0 or 1",
               missing[i].axis, missing[i].extent, missing[i].scheme);
  if (desc->dp < 0 || desc->sp < 0 || desc->ulysses < 0)
    ULY_FAIL(ULY_ERR_CONFIG, "mesh.dp is %d, mesh.sp %d and ulysses %d, but none may be negative",
             desc->dp, desc->sp, desc->ulysses);
  if (desc->sp && desc->ulysses && desc->sp != desc->ulysses)
    ULY_FAIL(ULY_ERR_CONFIG, "ulysses is %d, but mesh.sp is %d: without a ring they are equal",
             desc->ulysses, desc->sp);
  if (!desc->sp) desc->sp = desc->ulysses;
  return ULY_OK;
}

static uly_status resolve(const uly_mesh_desc *from, int size, uly_mesh *mesh) {
  uly_mesh_desc desc;
  ULY_TRY(read_desc(from, &desc));
  ULY_TRY(check_axes(&desc));
  mesh->dp = desc.dp ? desc.dp : desc.sp ? (size % desc.sp ? 1 : size / desc.sp) : 1;
  mesh->sp = desc.sp ? desc.sp : mesh->dp < size ? size / mesh->dp : 1;
  if ((int64_t)mesh->dp * mesh->sp != size)
    ULY_FAIL(ULY_ERR_CONFIG,
             "a mesh of dp %d x sp %d needs %lld ranks, but there are %d: start that many "
             "(mpirun -n %lld), or change mesh.dp or mesh.sp",
             mesh->dp, mesh->sp, (long long)mesh->dp * mesh->sp, size,
             (long long)mesh->dp * mesh->sp);
  return ULY_OK;
}

static void place(uly_mesh *mesh, int rank) {
  mesh->rank = rank;
  mesh->dp_index = rank / mesh->sp;
  mesh->sp_index = rank % mesh->sp;
}

/* The groups of a mesh whose ranks are those of mesh->world. */
static uly_status connect(uly_mesh *mesh, const uly_mesh_desc *desc) {
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

static uly_status allocate(uly_mesh **out) {
  *out = calloc(1, sizeof **out);
  if (!*out) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a mesh");
  (*out)->num_users = 1;
  return ULY_OK;
}

/* Of all processes, or of those of a communicator that Fortran knows as *comm. */
static uly_status create(const int *comm, const uly_mesh_desc *desc, uly_mesh **out) {
  ULY_NOT_NULL(out);
  *out = NULL;
  uly_mesh *mesh;
  ULY_TRY(allocate(&mesh));
  uly_status status = comm ? uly__comm_create_fortran(*comm, &mesh->traffic, "world", &mesh->world)
                           : uly__comm_create(&mesh->traffic, "world", &mesh->world);
  if (status == ULY_OK) status = connect(mesh, desc);
  if (status != ULY_OK)
    uly_mesh_destroy(mesh);
  else
    *out = mesh;
  return status;
}

uly_status uly_mesh_create(const uly_mesh_desc *desc, uly_mesh **out) {
  return create(NULL, desc, out);
}

uly_status uly_mesh_create_fortran(int comm, const uly_mesh_desc *desc, uly_mesh **out) {
  return create(&comm, desc, out);
}

uly_status uly_mesh_create_offline(const uly_mesh_desc *desc, int rank, uly_mesh **out) {
  ULY_NOT_NULL(out);
  *out = NULL;
  uly_mesh_desc axes;
  ULY_TRY(read_desc(desc, &axes));
  ULY_TRY(check_axes(&axes));
  int dp = axes.dp ? axes.dp : 1, sp = axes.sp ? axes.sp : 1;
  if ((int64_t)dp * sp > INT32_MAX || rank < 0 || rank >= dp * sp)
    ULY_FAIL(ULY_ERR_CONFIG, "rank %d of a mesh of dp %d x sp %d does not exist", rank, dp, sp);
  ULY_TRY(allocate(out));
  (*out)->dp = dp;
  (*out)->sp = sp;
  place(*out, rank);
  return ULY_OK;
}

uly_mesh *uly__mesh_use(uly_mesh *mesh) {
  mesh->num_users++;
  return mesh;
}

void uly__mesh_leave(uly_mesh *mesh) {
  if (mesh && --mesh->num_users == 0) free(mesh);
}

void uly_mesh_destroy(uly_mesh *mesh) {
  if (!mesh || mesh->is_destroyed) return;
  uly__comm_destroy(mesh->reduce);
  uly__comm_destroy(mesh->gather);
  uly__comm_destroy(mesh->to_tokens);
  uly__comm_destroy(mesh->to_heads);
  uly__comm_destroy(mesh->sequence);
  uly__comm_destroy(mesh->world);
  mesh->reduce = mesh->gather = mesh->to_tokens = mesh->to_heads = NULL;
  mesh->sequence = mesh->world = NULL;
  mesh->is_destroyed = true;
  uly__mesh_leave(mesh);
}

uly_status uly__mesh_check(const uly_mesh *mesh) {
  ULY_NOT_NULL(mesh);
  if (mesh->is_destroyed)
    ULY_FAIL(ULY_ERR_CONFIG, "the mesh was destroyed: destroy it after all that was made with it");
  return ULY_OK;
}

uly_status uly__mesh_check_online(const uly_mesh *mesh) {
  ULY_TRY(uly__mesh_check(mesh));
  if (!mesh->world)
    ULY_FAIL(ULY_ERR_CONFIG,
             "an offline mesh only plans: make the mesh with uly_mesh_create to compute with it");
  return ULY_OK;
}

int uly_mesh_rank(const uly_mesh *mesh) { return mesh ? mesh->rank : 0; }
int uly_mesh_size(const uly_mesh *mesh) { return mesh ? mesh->dp * mesh->sp : 0; }
int uly_mesh_dp(const uly_mesh *mesh) { return mesh ? mesh->dp : 0; }
int uly_mesh_sp(const uly_mesh *mesh) { return mesh ? mesh->sp : 0; }

uly_status uly_mesh_agree(uly_mesh *mesh, uly_status status) {
  ULY_TRY(uly__mesh_check(mesh));
  return mesh->world ? uly__agree(mesh->world, status) : status;
}

uly_status uly_mesh_same(uly_mesh *mesh, const void *bytes, size_t count, const char *what) {
  ULY_TRY(uly__mesh_check(mesh));
  ULY_NOT_NULL(what);
  if (count > 0) ULY_NOT_NULL(bytes);
  if (!mesh->world) return ULY_OK;
  return uly__same(mesh->world, XXH3_64bits(bytes, count), what);
}
