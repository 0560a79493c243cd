/* Plans attention over a sequence that is cut over ranks, as far as all schemes share it. */
#include "parallel/seq_attention.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/sized.h"
#include "parallel/head_share.h"

static uly_status check_counts(const uly_attention_desc *d) {
  if (d->num_q_heads < 1 || d->num_kv_heads < 1 || d->head_dim < 1)
    ULY_FAIL(ULY_ERR_CONFIG,
             "desc.num_q_heads is %d, desc.num_kv_heads %d and desc.head_dim %d, but all must be "
             "at least 1",
             d->num_q_heads, d->num_kv_heads, d->head_dim);
  if (d->num_q_heads > 1 << 20 || d->head_dim > 1 << 20)
    ULY_FAIL(ULY_ERR_CONFIG,
             "desc.num_q_heads is %d and desc.head_dim %d, but neither may be above 2^20",
             d->num_q_heads, d->head_dim);
  if (d->num_q_heads % d->num_kv_heads != 0)
    ULY_FAIL(ULY_ERR_CONFIG,
             "desc.num_q_heads is %d, but it must be a multiple of desc.num_kv_heads, which is %d",
             d->num_q_heads, d->num_kv_heads);
  return ULY_OK;
}

static uly_status check(const uly_attention_desc *desc) {
  if (desc->dtype != ULY_F32 && desc->dtype != ULY_BF16)
    ULY_FAIL(ULY_ERR_CONFIG, "desc.dtype is %d, but it must be ULY_F32 or ULY_BF16",
             (int)desc->dtype);
  if (!desc->callback.forward != !desc->callback.backward)
    ULY_FAIL(ULY_ERR_CONFIG, "desc.callback must have both forward and backward, or neither");
  if (!desc->callback.forward && desc->head_dim > ULY_MAX_HEAD_DIM)
    ULY_FAIL(ULY_ERR_CONFIG,
             "desc.head_dim is %d, but the kernels support at most %d (a callback of your own has "
             "no limit)",
             desc->head_dim, ULY_MAX_HEAD_DIM);
  if (!isfinite(desc->scale)) ULY_FAIL(ULY_ERR_CONFIG, "desc.scale is not finite");
  return check_counts(desc);
}

/* The first mask of a plan that was given none: it hides nothing. */
static const uly_mask no_mask = {.size = sizeof no_mask};

static int num_masks(const uly_attention_desc *desc) {
  return desc->masks && desc->num_masks ? desc->num_masks : 1;
}

static bool same_documents(const uly_mask *a, const uly_mask *b) {
  return a->num_docs == b->num_docs &&
         (a->num_docs == 0 ||
          memcmp(a->doc_start, b->doc_start, (size_t)a->num_docs * sizeof *a->doc_start) == 0);
}

static uly_status make_masks(uly_attention *plan, const uly_attention_desc *desc) {
  plan->num_masks = num_masks(desc);
  plan->masks = calloc((size_t)plan->num_masks, sizeof *plan->masks);
  if (!plan->masks) ULY_FAIL(ULY_ERR_MEMORY, "no memory for %d masks", plan->num_masks);
  for (int i = 0; i < plan->num_masks; i++) {
    const uly_mask *mask = desc->masks ? &desc->masks[i] : &no_mask;
    ULY_TRY(uly__mask_create(mask, desc->num_tokens, desc->num_q_heads, &plan->masks[i]));
    if (desc->masks && !same_documents(mask, desc->masks))
      ULY_FAIL(ULY_ERR_CONFIG, "desc.masks[%d] has other documents than desc.masks[0]", i);
  }
  return ULY_OK;
}

static const uly__key_scheme *choose_keys(const uly_mesh *mesh) {
  if (uly__mesh_extent(mesh, ULY_AXIS_RING) == 1) return &uly__keys_whole;
  return mesh->gathers ? &uly__keys_gather : &uly__keys_ring;
}

static uly_status cut_tokens(uly_attention *plan, const uly_attention_desc *desc) {
  const uly_mesh *mesh = plan->mesh;
  int ring = uly__mesh_extent(mesh, ULY_AXIS_RING), r = uly__mesh_index(mesh, ULY_AXIS_RING);
  ULY_TRY(uly__token_cut_create(ring, uly__mesh_extent(mesh, ULY_AXIS_ULYSSES),
                                uly__mesh_index(mesh, ULY_AXES_SP), desc->num_tokens,
                                desc->token_tile, &plan->cut));
  return uly__token_cut_create(ring, 1, r, desc->num_tokens, desc->token_tile, &plan->rows);
}

uly_status uly__attention_poll(uly_attention *plan) {
  if (plan->scheme->poll) ULY_TRY(plan->scheme->poll(plan));
  return plan->keys->poll ? plan->keys->poll(plan) : ULY_OK;
}

static void poll(void *plan) { (void)uly__attention_poll(plan); }

void uly__attention_takes_rows(uly_attention *plan, int64_t rows) {
  bool can = plan->scheme->forward_rows && plan->keys->forward_rows &&
             !plan->desc.callback.forward && plan->num_blocks == 1;
  plan->rows_at_once = can ? rows : 0;
}

static uly_status fill(uly_attention *plan, const uly_attention_desc *desc,
                       const uly__seq_scheme *scheme) {
  static _Atomic int64_t last_id;
  plan->id = ++last_id;
  plan->desc = *desc;
  plan->desc.masks = NULL;
  if (desc->scale == 0.0f) plan->desc.scale = (float)(1.0 / sqrt((double)desc->head_dim));
  plan->ops = uly__ops_get();
  plan->stream = uly__stream_get();
  plan->group = uly__mesh_group(plan->mesh, ULY_AXES_SP);
  plan->ring_group = uly__mesh_group(plan->mesh, ULY_AXIS_RING);
  plan->head_group = uly__mesh_group(plan->mesh, ULY_AXIS_ULYSSES);
  plan->scheme = scheme;
  plan->keys = choose_keys(plan->mesh);
  ULY_TRY(scheme->applicable(plan->mesh, desc));
  ULY_TRY(plan->keys->applicable(plan->mesh, desc));
  plan->heads = uly__head_share(plan->mesh, desc, uly__mesh_index(plan->mesh, ULY_AXIS_TP));
  ULY_TRY(cut_tokens(plan, desc));
  ULY_TRY(make_masks(plan, desc));
  if (plan->keys->create) ULY_TRY(plan->keys->create(plan));
  ULY_TRY(scheme->create(plan));
  if (plan->keys->poll && !plan->mesh->is_offline) {
    plan->poll = poll;
    plan->poll_context = plan;
  }
  return ULY_OK;
}

const uly__seq_scheme *uly__attention_choose(const uly_mesh *mesh, const uly_attention_desc *desc) {
#define ADDRESS(name) &uly__scheme_##name,
  static const uly__seq_scheme *const schemes[] = {ULY_SEQ_SCHEMES(ADDRESS)};
#undef ADDRESS
  /* If no scheme is applicable, the last one says why when it makes the plan. Until then nothing
   * has failed yet. */
  size_t i = 0, last = sizeof schemes / sizeof schemes[0] - 1;
  char before[2048];
  snprintf(before, sizeof before, "%s", uly_last_error());
  while (i < last && schemes[i]->applicable(mesh, desc) != ULY_OK) i++;
  uly__set_last_error(before);
  return schemes[i];
}

uly_status uly__attention_plan(uly_mesh *mesh, const uly_attention_desc *desc,
                               const uly__seq_scheme *scheme, uly_attention **out) {
  *out = NULL;
  ULY_TRY(check(desc));
  ULY_TRY(uly__ops_check_wish());
  uly_attention *plan = calloc(1, sizeof *plan);
  if (!plan) ULY_FAIL(ULY_ERR_MEMORY, "no memory for an attention plan");
  plan->mesh = uly__mesh_use(mesh);
  uly_status status = fill(plan, desc, scheme);
  if (status != ULY_OK)
    uly__attention_destroy(plan);
  else
    *out = plan;
  return status;
}

void uly__attention_destroy(uly_attention *plan) {
  if (!plan) return;
  for (int i = 0; plan->masks && i < plan->num_masks; i++) uly__mask_destroy(plan->masks[i]);
  free(plan->masks);
  free(plan->documents.room);
  if (plan->scheme) plan->scheme->destroy(plan);
  if (plan->keys && plan->keys->destroy) plan->keys->destroy(plan);
  uly__token_cut_destroy(&plan->cut);
  uly__token_cut_destroy(&plan->rows);
  uly__mesh_leave(plan->mesh);
  free(plan);
}

uly_status uly__attention_use_documents(uly_attention *plan, const int64_t *doc_start,
                                        int64_t num_docs) {
  uly_mask before = *uly__mask_desc(plan->masks[0]);
  for (int i = 0; i < plan->num_masks; i++) {
    uly_status status = uly__mask_set_documents(plan->masks[i], doc_start, num_docs);
    if (status == ULY_OK) continue;
    while (--i >= 0)
      (void)uly__mask_set_documents(plan->masks[i], before.doc_start, before.num_docs);
    return status;
  }
  return ULY_OK;
}

double uly__attention_pairs(const uly_attention *plan, int mask) {
  return uly__mask_pairs(plan->masks[mask], plan->desc.num_q_heads);
}

uly_status uly__attention_check_mask(const uly_attention *plan, int mask) {
  if (mask < 0 || mask >= plan->num_masks)
    ULY_FAIL(ULY_ERR_CONFIG, "mask %d is asked for, but the plan has %d, counted from 0", mask,
             plan->num_masks);
  return ULY_OK;
}

uly__seq_sent uly__attention_sent(const uly_attention *plan, bool is_backward) {
  const uly__seq_scheme *scheme = plan->scheme;
  uly__block_range range = scheme->attended(plan);
  uly__seq_sent sent = {is_backward ? scheme->sent_backward(plan) : scheme->sent_forward(plan), 0};
  for (int b = range.first; b < range.first + range.num; b++)
    sent.keys += is_backward ? plan->keys->sent_backward(plan, &plan->blocks[b])
                             : plan->keys->sent_forward(plan, &plan->blocks[b]);
  return sent;
}
