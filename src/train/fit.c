/* Checks whether a run fits into the memory of its machine before any of it is allocated, and if
 * not, finds what would fit. */
#include <stdlib.h>

#include "device/device.h"
#include "device/process.h"
#include "train/trainer.h"

static int64_t total_bytes(const uly_trainer *trainer) {
  int64_t total = 0;
  for (int i = 0; i < ULY_NUM_ARENAS; i++) total += uly__trainer_bytes(trainer, (uly_arena)i);
  return total;
}

/* Returns the bytes of a rank with other settings; INT64_MAX if they cannot work. */
static int64_t plan_bytes(const uly_mesh *mesh, const uly_train_config *config,
                          uly__decode_run decode) {
  uly_mesh copy = *mesh;
  uly_trainer *trainer = NULL;
  if (uly__trainer_plan(&copy, config, decode, &trainer) != ULY_OK) return INT64_MAX;
  int64_t bytes = total_bytes(trainer);
  uly_trainer_destroy(trainer);
  return bytes;
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
static void add_single_changes(const uly_mesh *mesh, const uly_train_config *config,
                               uly__decode_run decode, int64_t limit, word_list *list) {
  for (int i = 0; i < NUM_CHANGES; i++) {
    uly_train_config other = *config;
    if (changes[i].apply(&other) && plan_bytes(mesh, &other, decode) <= limit)
      add(list, "; or ", changes[i].setting);
  }
}

/* Adds one change after the other, until the run fits. */
static void add_many_changes(const uly_mesh *mesh, const uly_train_config *config,
                             uly__decode_run decode, int64_t limit, word_list *list) {
  uly_train_config other = *config;
  word_list settings = {.used = 0};
  for (int i = 0; i < NUM_CHANGES; i++) {
    if (!changes[i].apply(&other)) continue;
    add(&settings, " and ", changes[i].setting);
    if (plan_bytes(mesh, &other, decode) > limit) continue;
    add(list, "; or ", settings.text);
    return;
  }
}

static void add_more_ranks(const uly_mesh *mesh, const uly_train_config *config,
                           uly__decode_run decode, int64_t limit, word_list *list) {
  for (int64_t sp = 2 * (int64_t)uly_mesh_sp(mesh); sp <= 4096; sp *= 2) {
    uly_mesh *larger = NULL;
    uly_mesh_desc desc = {.size = sizeof desc, .dp = uly_mesh_dp(mesh), .sp = (int)sp};
    if (uly_mesh_create_offline(&desc, mesh->rank, &larger) != ULY_OK) return;
    int64_t bytes = plan_bytes(larger, config, decode);
    uly_mesh_destroy(larger);
    if (bytes == INT64_MAX) return; /* more ranks than heads */
    if (bytes > limit) continue;
    char text[96];
    snprintf(text, sizeof text, "mesh.sp = %lld with as much memory for each rank", (long long)sp);
    add(list, "; or ", text);
    return;
  }
}

static void add_shorter(const uly_mesh *mesh, const uly_train_config *config,
                        uly__decode_run decode, int64_t limit, word_list *list) {
  uly_train_config other = *config;
  bool decodes = decode.capacity > 0;
  while ((decodes ? decode.capacity : other.seq_len) > 1) {
    decode.capacity /= 2;
    if (other.seq_len > 1) other.seq_len /= 2;
    if (plan_bytes(mesh, &other, decode) > limit) continue;
    char text[64];
    if (decodes)
      snprintf(text, sizeof text, "%lld tokens, prompt and text", (long long)decode.capacity);
    else
      snprintf(text, sizeof text, "config.seq_len = %lld", (long long)other.seq_len);
    add(list, "; or ", text);
    return;
  }
}

static uly_status refuse(const uly_trainer *trainer, int64_t limit, const char *whose) {
  const uly_train_config *config = &trainer->config;
  const uly_mesh *mesh = trainer->mesh;
  int64_t bytes[ULY_NUM_ARENAS];
  for (int i = 0; i < ULY_NUM_ARENAS; i++) bytes[i] = uly__trainer_bytes(trainer, (uly_arena)i);
  word_list list = {.used = 0};
  add_single_changes(mesh, config, trainer->decode, limit, &list);
  if (list.used == 0) add_many_changes(mesh, config, trainer->decode, limit, &list);
  add_more_ranks(mesh, config, trainer->decode, limit, &list);
  add_shorter(mesh, config, trainer->decode, limit, &list);
  ULY_FAIL(ULY_ERR_CONFIG,
           "rank %d needs %lld bytes (parameters %lld, gradients %lld, optimizer %lld, activations "
           "%lld, scratch %lld) and may take %lld (%s). %s%s",
           mesh->rank, (long long)total_bytes(trainer), (long long)bytes[ULY_ARENA_PARAMETERS],
           (long long)bytes[ULY_ARENA_GRADIENTS], (long long)bytes[ULY_ARENA_OPTIMIZER],
           (long long)bytes[ULY_ARENA_ACTIVATIONS], (long long)bytes[ULY_ARENA_SCRATCH],
           (long long)limit, whose, list.used ? "It would fit with " : "Use a smaller model",
           list.text);
}

uly_status uly__check_limit(const uly_trainer *trainer) {
  int64_t limit = trainer->config.memory_limit;
  if (limit == 0 || total_bytes(trainer) <= limit) return ULY_OK;
  return refuse(trainer, limit, "config.memory_limit");
}

uly_status uly__check_fit(const uly_trainer *trainer, int ranks_on_node) {
  if (trainer->config.memory_limit > 0) return uly__check_limit(trainer);
  int64_t available = uly__device_available_bytes();
  if (available == 0 || total_bytes(trainer) <= available / ranks_on_node) return ULY_OK;
  return refuse(trainer, available / ranks_on_node,
                "its share of what is free on this machine; config.memory_limit overrules it");
}
