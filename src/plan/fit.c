/* Checks whether a run fits, and looks for settings that do: see fit.h. */
#include "plan/fit.h"

#include <stdlib.h>

#include "device/process.h"

/* Describes the search: for settings with which every rank needs at most `limit` bytes. */
typedef struct search {
  const uly__measure *measure;
  const uly_mesh *mesh;
  const uly_train_config *config;
  int64_t limit;
} search;

/* The axis along which ranks are added. */
typedef struct longer_axis {
  uly_mesh_desc desc;
  const char *name;
  int extent;
} longer_axis;

/* Makes `times` as many ranks share a sequence: along the ring, if there is one. */
static longer_axis lengthen_sequence(const uly_mesh *mesh, int times) {
  longer_axis axis = {.desc = uly__mesh_describe(mesh)};
  uly_mesh_desc *desc = &axis.desc;
  int *ring = desc->ring > 1 ? &desc->ring : desc->gather > 1 ? &desc->gather : NULL;
  desc->sp *= times;
  if (ring) *ring *= times;
  axis.extent = ring ? *ring : desc->sp;
  axis.name = !ring ? "sp" : ring == &desc->ring ? "ring" : "gather";
  return axis;
}

/* Divides the layers over `times` as many ranks. */
static longer_axis lengthen_tensor(const uly_mesh *mesh, int times) {
  longer_axis axis = {.desc = uly__mesh_describe(mesh), .name = "tp"};
  axis.desc.tp *= times;
  axis.extent = axis.desc.tp;
  return axis;
}

/* Returns the mesh with `times` as many stages. */
static longer_axis lengthen_pipeline(const uly_mesh *mesh, int times) {
  longer_axis axis = {.desc = uly__mesh_describe(mesh), .name = "pp"};
  axis.desc.pp *= times;
  axis.extent = axis.desc.pp;
  return axis;
}

/* Returns the bytes of the rank that needs most, or those of the first rank that is found to need
 * more than the limit. Groups of data parallelism are alike, so only the first is looked at. */
static int64_t most_bytes(const search *s, const uly_mesh_desc *desc,
                          const uly_train_config *config, int halvings) {
  uly_train_config other = *config;
  uly_mesh *first;
  int64_t most = 0;
  other.threads = uly__run_threads(s->mesh, config);
  if (uly_mesh_create_offline(desc, 0, &first) != ULY_OK) return INT64_MAX;
  for (int rank = 0; rank < uly_mesh_size(first) && most <= s->limit; rank++) {
    uly_mesh *mesh;
    if (uly__mesh_index_of(first, rank, ULY_AXIS_DP) > 0) continue;
    int64_t bytes = INT64_MAX;
    if (uly_mesh_create_offline(desc, rank, &mesh) == ULY_OK) {
      bytes = s->measure->bytes(s->measure->context, mesh, &other, halvings);
      uly_mesh_destroy(mesh);
    }
    if (bytes > most) most = bytes;
  }
  uly_mesh_destroy(first);
  return most;
}

/* Returns the ranks of a data-parallel group. */
static int group_size(const uly_mesh *mesh) {
  return uly__mesh_extent(mesh, ULY_AXES_ALL & ~ULY_AXIS_DP);
}

static bool fits(const search *s, const uly_train_config *config, int halvings) {
  uly_mesh_desc same = uly__mesh_describe(s->mesh);
  return most_bytes(s, &same, config, halvings) <= s->limit;
}

/* Changes to full recomputation, unless the run only goes forward, which has nothing to
 * recompute. */
static bool use_full(uly_train_config *c) {
  bool changes = !c->forward_only && c->recompute != ULY_RECOMPUTE_FULL;
  if (changes) c->recompute = ULY_RECOMPUTE_FULL;
  return changes;
}

static bool use_stage_3(uly_train_config *c) {
  bool changes = c->zero_stage != 3;
  c->zero_stage = 3;
  return changes;
}

static bool use_one_chunk(uly_train_config *c) {
  bool changes = c->pp_chunks > 1 || c->pp_ahead > 0;
  c->pp_chunks = 1;
  c->pp_ahead = 0;
  return changes;
}

static bool use_stash(uly_train_config *c) {
  bool changes = !c->forward_only && !c->stash;
  if (changes) c->stash = ".";
  return changes;
}

static bool use_offload(uly_train_config *c) {
  bool changes = !c->forward_only && !c->offload;
  if (changes) c->offload = ".";
  return changes;
}

static bool use_bf16(uly_train_config *c) {
  bool changes = c->dtype != ULY_BF16;
  c->dtype = ULY_BF16;
  return changes;
}

/* The changes in the order in which they are tried, the cheapest first. */
static const struct {
  const char *setting;
  bool (*apply)(uly_train_config *); /* false: no change */
} changes[] = {{"config.zero_stage = 3", use_stage_3},
               {"config.recompute = ULY_RECOMPUTE_FULL", use_full},
               {"config.pp_chunks = 1 and config.pp_ahead = 0", use_one_chunk},
               {"config.stash = DIR", use_stash},
               {"config.offload = DIR", use_offload},
               {"config.dtype = ULY_BF16", use_bf16}};

enum { NUM_CHANGES = sizeof changes / sizeof changes[0] };

/* A list of words that grows to the end of a buffer. */
typedef struct word_list {
  char text[512];
  int used;
} word_list;

static void add(word_list *list, const char *separator, const char *word) {
  int room = (int)sizeof list->text - list->used;
  int length = snprintf(list->text + list->used, (size_t)room, "%s%s",
                        list->used > 0 ? separator : "", word);
  if (length < room) list->used += length;
}

/* Adds each change that is enough by itself. */
static void add_single_changes(const search *s, word_list *list) {
  for (int i = 0; i < NUM_CHANGES; i++) {
    uly_train_config other = *s->config;
    if (changes[i].apply(&other) && fits(s, &other, 0)) add(list, "; or ", changes[i].setting);
  }
}

/* Adds one change after the other, until the run fits. */
static void add_many_changes(const search *s, word_list *list) {
  uly_train_config other = *s->config;
  word_list settings = {.used = 0};
  for (int i = 0; i < NUM_CHANGES; i++) {
    if (!changes[i].apply(&other)) continue;
    add(&settings, " and ", changes[i].setting);
    if (!fits(s, &other, 0)) continue;
    add(list, "; or ", settings.text);
    return;
  }
}

/* Adds a number of ranks that is enough, and returns whether there is one: the smallest multiple of
 * the present number up to EACH times, and beyond that the first one by a power of two. */
static bool add_ranks(const search *s, longer_axis lengthen(const uly_mesh *, int),
                      word_list *list) {
  enum { MOST = 4096, EACH = 16 };
  int size = group_size(s->mesh);
  for (int times = 2; times * size <= MOST; times += times < EACH ? 1 : times) {
    longer_axis axis = lengthen(s->mesh, times);
    if (most_bytes(s, &axis.desc, s->config, 0) > s->limit) continue;
    char text[96];
    snprintf(text, sizeof text, "mesh.%s = %d with as much memory for each rank", axis.name,
             axis.extent);
    add(list, "; or ", text);
    return true;
  }
  return false;
}

/* Adds ranks that share the sequence, or if these are never enough, ranks that share each layer or,
 * as a last resort, have different layers. */
static void add_more_ranks(const search *s, word_list *list) {
  if (!add_ranks(s, lengthen_sequence, list) && !add_ranks(s, lengthen_tensor, list))
    (void)add_ranks(s, lengthen_pipeline, list);
}

static void add_shorter(const search *s, word_list *list) {
  int64_t tokens = s->measure->num_tokens;
  for (int halvings = 1; tokens >> (halvings - 1) > 1; halvings++) {
    if (!fits(s, s->config, halvings)) continue;
    char text[96];
    snprintf(text, sizeof text, "%s%lld%s", s->measure->before, (long long)(tokens >> halvings),
             s->measure->after);
    add(list, "; or ", text);
    return;
  }
}

static uly_status refuse(const uly__run *run, const uly__measure *measure, int64_t limit,
                         const char *whose) {
  const search s = {measure, run->mesh, &run->config, limit};
  int64_t bytes[ULY_NUM_ARENAS];
  for (int i = 0; i < ULY_NUM_ARENAS; i++) bytes[i] = uly__run_arena_bytes(run, (uly_arena)i);
  word_list list = {.used = 0};
  add_single_changes(&s, &list);
  if (list.used == 0) add_many_changes(&s, &list);
  add_more_ranks(&s, &list);
  add_shorter(&s, &list);
  ULY_FAIL(ULY_ERR_CONFIG,
           "rank %d needs %lld bytes (parameters %lld, gradients %lld, optimizer %lld, activations "
           "%lld, scratch %lld) but may take only %lld (%s). %s%s",
           run->mesh->rank, (long long)uly__run_bytes(run), (long long)bytes[ULY_ARENA_PARAMETERS],
           (long long)bytes[ULY_ARENA_GRADIENTS], (long long)bytes[ULY_ARENA_OPTIMIZER],
           (long long)bytes[ULY_ARENA_ACTIVATIONS], (long long)bytes[ULY_ARENA_SCRATCH],
           (long long)limit, whose, list.used ? "It would fit with " : "Use a smaller model",
           list.text);
}

uly_status uly__check_limit(const uly__run *run, const uly__measure *measure) {
  int64_t limit = run->config.memory_limit;
  if (limit == 0 || uly__run_bytes(run) <= limit) return ULY_OK;
  return refuse(run, measure, limit, "config.memory_limit");
}

uly_status uly__check_fit(const uly__run *run, const uly__measure *measure, int ranks_on_node) {
  if (run->config.memory_limit > 0) return uly__check_limit(run, measure);
  int64_t available = uly__device_available_bytes();
  if (available == 0 || uly__run_bytes(run) <= available / ranks_on_node) return ULY_OK;
  return refuse(run, measure, available / ranks_on_node,
                "its share of what is free on this machine; config.memory_limit overrules it");
}
