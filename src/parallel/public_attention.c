/* The public calls on a plan of attention, except the simple and the explicit ones. The arguments
 * of the program are checked here. */
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/sized.h"
#include "parallel/simple_attention.h"

/* ------------------------------------------------------------------------ creation */

void uly_attention_desc_default(uly_attention_desc *desc, size_t size) {
  uly__sized_default(desc, size, &(uly_attention_desc){0}, sizeof(uly_attention_desc));
}

/* A caller's masks and layouts, in structs of this library's size. */
typedef struct masks {
  uly_mask *list;
  uly_block_layout *layouts;
} masks;

static void free_masks(masks *copies) {
  free(copies->list);
  free(copies->layouts);
}

static uly_status read_masks(uly_attention_desc *desc, masks *copies) {
  if (desc->num_masks < 0 || desc->num_masks > ULY_MAX_MASKS)
    ULY_FAIL(ULY_ERR_CONFIG, "desc.num_masks is %d, but it must be from 0 to %d", desc->num_masks,
             ULY_MAX_MASKS);
  if (!desc->masks && desc->num_masks > 0)
    ULY_FAIL(ULY_ERR_CONFIG, "desc.num_masks is %d, but desc.masks is NULL", desc->num_masks);
  if (!desc->masks) return ULY_OK;
  size_t num = desc->num_masks ? (size_t)desc->num_masks : 1;
  copies->list = calloc(num, sizeof *copies->list);
  copies->layouts = calloc(num, sizeof *copies->layouts);
  if (!copies->list || !copies->layouts) ULY_FAIL(ULY_ERR_MEMORY, "no memory for %zu masks", num);
  const char *from = (const char *)desc->masks;
  for (size_t i = 0; i < num; i++) {
    uly_mask *mask = &copies->list[i];
    const uly_mask *given = (const uly_mask *)(const void *)(from + i * desc->masks->size);
    ULY_TRY(uly__sized_read(given, "uly_mask", mask, sizeof *mask));
    if (!mask->blocks) continue;
    ULY_TRY(uly__sized_read(mask->blocks, "uly_block_layout", &copies->layouts[i],
                            sizeof *copies->layouts));
    mask->blocks = &copies->layouts[i];
  }
  desc->masks = copies->list;
  return ULY_OK;
}

static uint64_t hash(const void *bytes, int64_t count, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes, (size_t)count, seed);
}

/* Records the documents that are in use, for comparisons. */
static void hash_documents(uly_attention *plan) {
  const uly_mask *mask = uly__mask_desc(plan->masks[0]);
  int64_t bytes = mask->num_docs * (int64_t)sizeof *mask->doc_start;
  plan->documents.hash = bytes > 0 ? hash(mask->doc_start, bytes, 0) : 0;
}

/* Makes room for the documents that uly_attention_set_documents will copy. */
static uly_status make_room(uly_attention *plan, int64_t wanted) {
  int64_t N = plan->desc.num_tokens, most = uly__mask_desc(plan->masks[0])->num_docs;
  if (wanted < 0 || wanted > N)
    ULY_FAIL(ULY_ERR_CONFIG, "desc.max_docs is %lld, but it must be from 0 to the %lld tokens",
             (long long)wanted, (long long)N);
  plan->documents.max = wanted > most ? wanted : most > 1 ? most : 1;
  plan->documents.room = calloc(2 * (size_t)plan->documents.max, sizeof(int64_t));
  if (!plan->documents.room)
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for the starts of %lld documents",
             (long long)plan->documents.max);
  return ULY_OK;
}

/* Refuses tensor parallelism, which divides heads and tokens once more: only models do that. */
static uly_status check_tp(const uly_mesh *mesh) {
  int tp = uly__mesh_extent(mesh, ULY_AXIS_TP);
  if (tp > 1)
    ULY_FAIL(ULY_ERR_CONFIG,
             "mesh.tp is %d, but a plan of a program's own attention does not divide heads among "
             "the ranks of tp: make a mesh without mesh.tp for it",
             tp);
  return ULY_OK;
}

static uly_status make(uly_mesh *mesh, const uly_attention_desc *from, uly_attention **out) {
  uly_attention_desc desc = {0};
  masks copies = {0};
  ULY_TRY(check_tp(mesh));
  ULY_TRY(uly__sized_read(from, "uly_attention_desc", &desc, sizeof desc));
  uly_status status = read_masks(&desc, &copies);
  /* The explicit calls are those of Ulysses, on one rank too. */
  const uly__seq_scheme *scheme = &uly__scheme_ulysses;
  if (status == ULY_OK && uly__mesh_extent(mesh, ULY_AXIS_RING) > 1)
    scheme = uly__attention_choose(mesh, &desc);
  if (status == ULY_OK) status = uly__attention_plan(mesh, &desc, scheme, out);
  free_masks(&copies);
  ULY_TRY(status);
  ULY_TRY(make_room(*out, desc.max_docs));
  hash_documents(*out);
  return ULY_OK;
}

static uint64_t hash_masks(const uly_attention *plan) {
  uint64_t h = 0;
  for (int i = 0; i < plan->num_masks; i++) {
    const uly_mask *mask = uly__mask_desc(plan->masks[i]);
    const uly_block_layout *l = mask->blocks;
    int64_t numbers[] = {mask->kind, mask->window, l ? l->block : 0, l ? l->num_layouts : 0};
    h = hash(numbers, sizeof numbers, h);
    if (!l) continue;
    int64_t rows = l->num_layouts * l->num_blocks;
    h = hash(l->row_begin, (rows + 1) * (int64_t)sizeof *l->row_begin, h);
    h = hash(l->cols, l->row_begin[rows] * (int64_t)sizeof *l->cols, h);
  }
  return h;
}

/* Compares the plans of all ranks. Ranks that plan different attention would exchange different
 * counts, or compute wrong results unnoticed. */
static uly_status compare(const uly_attention *plan) {
  const uly_attention_desc *d = &plan->desc;
  uint32_t scale;
  memcpy(&scale, &d->scale, sizeof scale);
  const uly__named values[] = {
      {"desc.num_tokens", (uint64_t)d->num_tokens},
      {"desc.num_q_heads", (uint64_t)d->num_q_heads},
      {"desc.num_kv_heads", (uint64_t)d->num_kv_heads},
      {"desc.head_dim", (uint64_t)d->head_dim},
      {"desc.dtype", (uint64_t)d->dtype},
      {"desc.scale", scale},
      {"desc.token_tile", (uint64_t)d->token_tile},
      {"desc.max_docs", (uint64_t)plan->documents.max},
      {"desc.head_groups", (uint64_t)plan->num_blocks},
      {"desc.callback", d->callback.forward != NULL},
      {"desc.num_masks", (uint64_t)plan->num_masks},
      {"desc.masks", hash_masks(plan)},
      {"list of documents in desc.masks", plan->documents.hash},
  };
  return uly__same_values(uly__mesh_world(plan->mesh), values, sizeof values / sizeof *values);
}

uly_status uly_attention_create(uly_mesh *mesh, const uly_attention_desc *desc,
                                uly_attention **out) {
  ULY_NOT_NULL(out);
  *out = NULL;
  ULY_TRY(uly__mesh_check(mesh));
  uly_attention *plan = NULL;
  uly_status status = uly_mesh_agree(mesh, make(mesh, desc, &plan));
  if (status == ULY_OK && plan && !mesh->is_offline) status = compare(plan);
  if (status != ULY_OK)
    uly_attention_destroy(plan);
  else
    *out = plan;
  return status;
}

void uly_attention_destroy(uly_attention *plan) {
  if (plan) uly__attention_free_simple(plan);
  uly__attention_destroy(plan);
}

/* ------------------------------------------------------------------------- queries */

const uly_token_run *uly_attention_tokens(const uly_attention *plan, int *num_runs) {
  if (num_runs) *num_runs = plan ? plan->cut.num_runs : 0;
  return plan ? uly__token_cut_runs(&plan->cut, plan->cut.rank) : NULL;
}

double uly_attention_pairs(const uly_attention *plan, int mask) {
  return plan && uly__attention_check_mask(plan, mask) == ULY_OK ? uly__attention_pairs(plan, mask)
                                                                 : 0;
}

/* ----------------------------------------------------------------------- documents */

uly_status uly_attention_set_documents(uly_attention *plan, const int64_t *doc_start,
                                       int64_t num_docs) {
  ULY_NOT_NULL(plan);
  if (num_docs > plan->documents.max && num_docs <= plan->desc.num_tokens)
    ULY_FAIL(ULY_ERR_CONFIG,
             "there are %lld documents, but the plan has room for %lld: create it with a larger "
             "desc.max_docs",
             (long long)num_docs, (long long)plan->documents.max);
  int64_t *copy = NULL;
  int next = 1 - plan->documents.used;
  if (doc_start && num_docs > 0 && num_docs <= plan->documents.max) {
    copy = plan->documents.room + next * plan->documents.max;
    for (int64_t i = 0; i < num_docs; i++) copy[i] = doc_start[i];
  }
  ULY_TRY(uly__attention_use_documents(plan, copy ? copy : doc_start, num_docs));
  plan->documents.used = next;
  hash_documents(plan);
  return ULY_OK;
}
