/* Makes meshes, which are checked once, when they are made. */
#include "comm/mesh.h"

#include <assert.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/sized.h"

void uly_mesh_desc_default(uly_mesh_desc *desc, size_t size) {
  uly__sized_default(desc, size, &(uly_mesh_desc){0}, sizeof(uly_mesh_desc));
}

/* Refuses extents that no axis can have. */
static uly_status check_extents(const uly_mesh_desc *desc) {
  const struct {
    const char *axis;
    int extent;
  } axes[] = {{"dp", desc->dp},     {"sp", desc->sp}, {"ulysses", desc->ulysses},
              {"ring", desc->ring}, {"tp", desc->tp}, {"gather", desc->gather},
              {"pp", desc->pp}};
  for (int i = 0; i < 7; i++)
    if (axes[i].extent < 0)
      ULY_FAIL(ULY_ERR_CONFIG, "mesh.%s is %d, but it must not be negative", axes[i].axis,
               axes[i].extent);
  return ULY_OK;
}

static uly_status read_desc(const uly_mesh_desc *from, uly_mesh_desc *desc) {
  *desc = (uly_mesh_desc){.size = sizeof *desc};
  if (from) ULY_TRY(uly__sized_read(from, "uly_mesh_desc", desc, sizeof *desc));
  return check_extents(desc);
}

/* The ranks along each axis of a sequence, and what passes keys and values on along its ring. */
typedef struct sequence_axes {
  int ulysses, ring; /* 0: all that sp leaves */
  bool gathers;
  const char *ring_name; /* the member that gives `ring` */
} sequence_axes;

static uly_status read_ring(const uly_mesh_desc *desc, sequence_axes *axes) {
  if (desc->ring > 1 && desc->gather > 1)
    ULY_FAIL(ULY_ERR_CONFIG,
             "mesh.ring is %d and mesh.gather %d, but keys and values are either passed around a "
             "ring or gathered: leave one of the two at 0",
             desc->ring, desc->gather);
  axes->gathers = desc->gather > 1;
  axes->ring_name = axes->gathers ? "gather" : "ring";
  axes->ring = desc->gather > desc->ring ? desc->gather : desc->ring;
  axes->ulysses = desc->ulysses;
  return ULY_OK;
}

/* Divides sp into ulysses times ring. If neither is given, all of it is ulysses. */
static uly_status divide_sp(int sp, sequence_axes *axes) {
  if (!axes->ring && !axes->ulysses) axes->ring = 1;
  int given = axes->ring ? axes->ring : axes->ulysses;
  bool fits =
      axes->ring && axes->ulysses ? (int64_t)axes->ring * axes->ulysses == sp : sp % given == 0;
  if (!fits && axes->ring && axes->ulysses)
    ULY_FAIL(ULY_ERR_CONFIG,
             "mesh.ulysses = %d times mesh.%s = %d must be mesh.sp, which is %d: leave one of them "
             "out",
             axes->ulysses, axes->ring_name, axes->ring, sp);
  if (!fits)
    ULY_FAIL(ULY_ERR_CONFIG, "mesh.%s is %d, which does not divide mesh.sp = %d",
             axes->ring ? axes->ring_name : "ulysses", given, sp);
  if (!axes->ulysses) axes->ulysses = sp / axes->ring;
  if (!axes->ring) axes->ring = sp / axes->ulysses;
  return ULY_OK;
}

/* Fills in sp and the axes that it consists of. sp stays 0 if nothing says how large it is. */
static uly_status settle_sequence(uly_mesh_desc *desc, sequence_axes *axes) {
  ULY_TRY(read_ring(desc, axes));
  if (!desc->sp && (axes->ulysses || axes->ring)) {
    if (!axes->ulysses) axes->ulysses = 1;
    if (!axes->ring) axes->ring = 1;
    if ((int64_t)axes->ulysses * axes->ring > INT32_MAX)
      ULY_FAIL(ULY_ERR_CONFIG, "mesh.ulysses = %d times mesh.%s = %d is more than any machine has",
               axes->ulysses, axes->ring_name, axes->ring);
    desc->sp = axes->ulysses * axes->ring;
  }
  return desc->sp ? divide_sp(desc->sp, axes) : ULY_OK;
}

/* ----------------------------------------------------------------------------- axes */

static int *extent_of(uly_mesh *mesh, unsigned axis) {
  int number = 0;
  while (axis >> number != 1) number++;
  return &mesh->extent[number];
}

int uly__mesh_extent(const uly_mesh *mesh, unsigned axes) {
  int extent = 1;
  for (int axis = 0; axis < ULY_NUM_AXES; axis++)
    if (axes >> axis & 1) extent *= mesh->extent[axis];
  return extent;
}

int uly__mesh_index_of(const uly_mesh *mesh, int rank, unsigned axes) {
  int index = 0, stride = 1;
  for (int axis = 0; axis < ULY_NUM_AXES; axis++) {
    int place = rank % mesh->extent[axis];
    rank /= mesh->extent[axis];
    if (!(axes >> axis & 1)) continue;
    index += place * stride;
    stride *= mesh->extent[axis];
  }
  return index;
}

int uly__mesh_index(const uly_mesh *mesh, unsigned axes) {
  return uly__mesh_index_of(mesh, mesh->rank, axes);
}

/* The extents by which messages name a mesh. */
typedef struct outline {
  int dp, sp, tp, pp;
} outline;

static void set_extents(uly_mesh *mesh, outline of, const sequence_axes *axes) {
  *extent_of(mesh, ULY_AXIS_TP) = of.tp;
  *extent_of(mesh, ULY_AXIS_ULYSSES) = axes->ulysses;
  *extent_of(mesh, ULY_AXIS_RING) = axes->ring;
  *extent_of(mesh, ULY_AXIS_DP) = of.dp;
  *extent_of(mesh, ULY_AXIS_PP) = of.pp;
  mesh->gathers = axes->gathers;
}

enum { NAME_BYTES = 80, DIVISORS_BYTES = 128 };

/* Writes what messages call a mesh, as in "dp 2 x sp 4 x tp 2". tp and pp are left out if they are
 * 1. */
static const char *name_mesh(outline of, char text[NAME_BYTES]) {
  int used = snprintf(text, NAME_BYTES, "dp %d x sp %d", of.dp, of.sp);
  if (of.tp > 1) used += snprintf(text + used, NAME_BYTES - (size_t)used, " x tp %d", of.tp);
  if (of.pp > 1) snprintf(text + used, NAME_BYTES - (size_t)used, " x pp %d", of.pp);
  return text;
}

/* Computes the number of ranks that a mesh needs. */
static uly_status count_ranks(outline of, int64_t *num) {
  const int extents[] = {of.dp, of.sp, of.tp, of.pp};
  char name[NAME_BYTES];
  *num = 1;
  for (int i = 0; i < 4; i++) {
    if (*num > INT32_MAX / extents[i])
      ULY_FAIL(ULY_ERR_CONFIG, "a mesh of %s needs more ranks than any machine has",
               name_mesh(of, name));
    *num *= extents[i];
  }
  return ULY_OK;
}

/* Writes the divisors of a number of ranks, as in "1, 2 or 4". The list ends early if there are
 * many. */
static const char *list_divisors(int size, char text[DIVISORS_BYTES]) {
  int used = snprintf(text, DIVISORS_BYTES, "1");
  for (int n = 2; n <= size && used < DIVISORS_BYTES - 32; n++)
    if (size % n == 0)
      used += snprintf(text + used, DIVISORS_BYTES - (size_t)used, n < size ? ", %d" : " or %d", n);
  return text;
}

/* Checks that an axis divides a number of ranks. */
static uly_status check_divides(const char *axis, int extent, const char *ranks, int size) {
  char divisors[DIVISORS_BYTES];
  if (size % extent != 0)
    ULY_FAIL(ULY_ERR_CONFIG,
             "mesh.%s is %d, which does not divide the number of ranks%s, %d: start a multiple of "
             "%d ranks, or set mesh.%s to %s",
             axis, extent, ranks, size, extent, axis, list_divisors(size, divisors));
  return ULY_OK;
}

/* Returns the end of a list of the axes of a mesh, after dp. */
static const char *other_axes(outline of) {
  static const char *const ends[2][2] = {{" or mesh.sp", ", mesh.sp or mesh.pp"},
                                         {", mesh.sp or mesh.tp", ", mesh.sp, mesh.tp or mesh.pp"}};
  return ends[of.tp > 1][of.pp > 1];
}

/* Checks that the ranks are as many as the mesh needs. */
static uly_status check_size(outline of, int size) {
  int64_t needed;
  char name[NAME_BYTES];
  ULY_TRY(count_ranks(of, &needed));
  if (needed != size)
    ULY_FAIL(ULY_ERR_CONFIG,
             "a mesh of %s needs %lld ranks, but there are %d: start that many (mpirun -n %lld), "
             "or change mesh.dp%s",
             name_mesh(of, name), (long long)needed, size, (long long)needed, other_axes(of));
  return ULY_OK;
}

static uly_status resolve(const uly_mesh_desc *from, int size, uly_mesh *mesh) {
  uly_mesh_desc desc;
  sequence_axes axes;
  ULY_TRY(read_desc(from, &desc));
  outline of = {.tp = desc.tp ? desc.tp : 1, .pp = desc.pp ? desc.pp : 1};
  ULY_TRY(check_divides("tp", of.tp, "", size));
  ULY_TRY(check_divides("pp", of.pp, of.tp > 1 ? " divided by mesh.tp" : "", size / of.tp));
  int num = size / of.tp / of.pp; /* for dp and sp */
  /* With dp alone, the axes that are given divide what dp leaves. */
  if (desc.dp > 0 && !desc.sp && num % desc.dp == 0) desc.sp = num / desc.dp;
  ULY_TRY(settle_sequence(&desc, &axes));
  of.dp = desc.dp ? desc.dp : desc.sp ? (num % desc.sp ? 1 : num / desc.sp) : 1;
  of.sp = desc.sp ? desc.sp : of.dp < num ? num / of.dp : 1;
  ULY_TRY(check_size(of, size));
  ULY_TRY(divide_sp(of.sp, &axes));
  set_extents(mesh, of, &axes);
  return ULY_OK;
}

/* --------------------------------------------------------------------------- groups */

/* The sets of axes whose ranks communicate, and what messages call their groups. */
static const struct {
  unsigned axes;
  const char *name;
} sets[] = {{ULY_AXES_ALL, "world"},       {ULY_AXES_ZERO, "ZeRO"}, {ULY_AXES_SP, "sequence"},
            {ULY_AXIS_ULYSSES, "Ulysses"}, {ULY_AXIS_RING, "ring"}, {ULY_AXIS_TP, "tensor"},
            {ULY_AXIS_PP, "pipeline"}};

enum { NUM_SETS = sizeof sets / sizeof sets[0] };

/* Returns the axes of a set that have more than one rank. */
static unsigned axes_that_count(const uly_mesh *mesh, unsigned axes) {
  for (int axis = 0; axis < ULY_NUM_AXES; axis++)
    if (mesh->extent[axis] == 1) axes &= ~(1u << axis);
  return axes;
}

/* Returns the group that has been made of the same ranks, if any. */
static uly__group *find_same(const uly_mesh *mesh, unsigned axes) {
  for (int i = 0; i < NUM_SETS; i++)
    if (mesh->groups[sets[i].axes] &&
        axes_that_count(mesh, sets[i].axes) == axes_that_count(mesh, axes))
      return mesh->groups[sets[i].axes];
  return NULL;
}

static uly_status make_group(uly_mesh *mesh, unsigned axes, const char *name, uly__group **out) {
  if (mesh->is_offline)
    return uly__group_create_offline(uly__mesh_extent(mesh, axes), uly__mesh_index(mesh, axes),
                                     name, out);
  int others = uly__mesh_index(mesh, ULY_AXES_ALL & ~axes);
  return uly__group_split(uly__mesh_world(mesh), others, name, out);
}

/* Makes the groups of a mesh whose extents, rank and, unless it is offline, world are known. */
static uly_status make_groups(uly_mesh *mesh) {
  for (int i = 0; i < NUM_SETS; i++) {
    uly__group **group = &mesh->groups[sets[i].axes];
    if (!*group) *group = find_same(mesh, sets[i].axes);
    if (!*group) ULY_TRY(make_group(mesh, sets[i].axes, sets[i].name, group));
  }
  return ULY_OK;
}

static void destroy_groups(uly_mesh *mesh) {
  for (int i = NUM_SETS - 1; i >= 0; i--) {
    uly__group *group = mesh->groups[sets[i].axes];
    bool is_shared = false; /* with a set that comes before this one */
    for (int j = 0; j < i; j++) is_shared |= mesh->groups[sets[j].axes] == group;
    if (!is_shared) uly__group_destroy(group);
    mesh->groups[sets[i].axes] = NULL;
  }
}

uly__group *uly__mesh_group(const uly_mesh *mesh, unsigned axes) {
  assert(mesh->groups[axes]); /* it is in sets */
  return mesh->groups[axes];
}

uly__group *uly__mesh_world(const uly_mesh *mesh) { return uly__mesh_group(mesh, ULY_AXES_ALL); }

/* ------------------------------------------------------------------------- creation */

/* Completes a mesh that has its world. */
static uly_status connect(uly_mesh *mesh, const uly_mesh_desc *desc) {
  uly__group *world = uly__mesh_world(mesh);
  mesh->rank = uly__group_rank(world);
  /* Ranks may have been started with different meshes, so they agree here, and no rank enters the
   * split alone. */
  ULY_TRY(uly__agree(world, resolve(desc, uly__group_size(world), mesh)));
  ULY_TRY(uly_mesh_same(mesh, mesh->extent, sizeof mesh->extent, "mesh"));
  ULY_TRY(uly_mesh_same(mesh, &mesh->gathers, sizeof mesh->gathers, "mesh.gather"));
  return make_groups(mesh);
}

static uly_status allocate(uly_mesh **out) {
  *out = calloc(1, sizeof **out);
  if (!*out) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a mesh");
  (*out)->num_users = 1;
  return ULY_OK;
}

static uly_status or_destroy(uly_status status, uly_mesh **out) {
  if (status == ULY_OK) return ULY_OK;
  uly_mesh_destroy(*out);
  *out = NULL;
  return status;
}

/* Creates a mesh of all processes, or of those of a communicator that Fortran knows as *comm. */
static uly_status create(const int *comm, const uly_mesh_desc *desc, uly_mesh **out) {
  ULY_NOT_NULL(out);
  *out = NULL;
  ULY_TRY(allocate(out));
  uly_mesh *mesh = *out;
  uly__group **world = &mesh->groups[ULY_AXES_ALL];
  uly_status status = comm ? uly__group_create_fortran(*comm, &mesh->traffic, "world", world)
                           : uly__group_create(&mesh->traffic, "world", world);
  if (status == ULY_OK) status = connect(mesh, desc);
  return or_destroy(status, out);
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
  uly_mesh_desc own;
  sequence_axes axes;
  ULY_TRY(read_desc(desc, &own));
  ULY_TRY(settle_sequence(&own, &axes));
  outline of = {own.dp ? own.dp : 1, own.sp ? own.sp : 1, own.tp ? own.tp : 1, own.pp ? own.pp : 1};
  int64_t num;
  char name[NAME_BYTES];
  ULY_TRY(count_ranks(of, &num));
  if (rank < 0 || rank >= num)
    ULY_FAIL(ULY_ERR_CONFIG, "rank %d of a mesh of %s does not exist", rank, name_mesh(of, name));
  ULY_TRY(divide_sp(of.sp, &axes));
  ULY_TRY(allocate(out));
  (*out)->is_offline = true;
  (*out)->rank = rank;
  set_extents(*out, of, &axes);
  return or_destroy(make_groups(*out), out);
}

uly_mesh_desc uly__mesh_describe(const uly_mesh *mesh) {
  return (uly_mesh_desc){.size = sizeof(uly_mesh_desc),
                         .dp = uly_mesh_dp(mesh),
                         .sp = uly_mesh_sp(mesh),
                         .ring = uly_mesh_ring(mesh),
                         .tp = uly_mesh_tp(mesh),
                         .pp = uly_mesh_pp(mesh),
                         .gather = uly_mesh_gather(mesh)};
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
  destroy_groups(mesh);
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
  if (mesh->is_offline)
    ULY_FAIL(ULY_ERR_CONFIG,
             "an offline mesh only plans: make the mesh with uly_mesh_create to compute with it");
  return ULY_OK;
}

int uly_mesh_rank(const uly_mesh *mesh) { return mesh ? mesh->rank : 0; }
int uly_mesh_size(const uly_mesh *mesh) { return mesh ? uly__mesh_extent(mesh, ULY_AXES_ALL) : 0; }
int uly_mesh_dp(const uly_mesh *mesh) { return mesh ? uly__mesh_extent(mesh, ULY_AXIS_DP) : 0; }
int uly_mesh_sp(const uly_mesh *mesh) { return mesh ? uly__mesh_extent(mesh, ULY_AXES_SP) : 0; }
int uly_mesh_tp(const uly_mesh *mesh) { return mesh ? uly__mesh_extent(mesh, ULY_AXIS_TP) : 0; }
int uly_mesh_pp(const uly_mesh *mesh) { return mesh ? uly__mesh_extent(mesh, ULY_AXIS_PP) : 0; }
int uly_mesh_dp_index(const uly_mesh *mesh) {
  return mesh ? uly__mesh_index(mesh, ULY_AXIS_DP) : 0;
}
int uly_mesh_pp_index(const uly_mesh *mesh) {
  return mesh ? uly__mesh_index(mesh, ULY_AXIS_PP) : 0;
}
int uly_mesh_ulysses(const uly_mesh *mesh) {
  return mesh ? uly__mesh_extent(mesh, ULY_AXIS_ULYSSES) : 0;
}
int uly_mesh_ring(const uly_mesh *mesh) {
  return mesh && !mesh->gathers ? uly__mesh_extent(mesh, ULY_AXIS_RING) : mesh ? 1 : 0;
}
int uly_mesh_gather(const uly_mesh *mesh) {
  return mesh && mesh->gathers ? uly__mesh_extent(mesh, ULY_AXIS_RING) : mesh ? 1 : 0;
}

uly_status uly_mesh_agree(uly_mesh *mesh, uly_status status) {
  ULY_TRY(uly__mesh_check(mesh));
  return mesh->is_offline ? status : uly__agree(uly__mesh_world(mesh), status);
}

uly_status uly_mesh_same(uly_mesh *mesh, const void *bytes, size_t count, const char *what) {
  ULY_TRY(uly__mesh_check(mesh));
  ULY_NOT_NULL(what);
  if (count > 0) ULY_NOT_NULL(bytes);
  if (mesh->is_offline) return ULY_OK;
  return uly__same(uly__mesh_world(mesh), XXH3_64bits(bytes, count), what);
}
