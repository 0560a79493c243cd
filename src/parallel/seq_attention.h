/* The plan behind uly_attention: attention over a sequence that is cut over ranks, by one of the
 * schemes of seq_scheme.h. */
#ifndef ULY_SEQ_ATTENTION_H
#define ULY_SEQ_ATTENTION_H

#include "ops/mask.h"
#include "ops/ops.h"
#include "parallel/key_scheme.h"
#include "parallel/token_cut.h"

/* More than the kinds of layers of any model. */
enum { ULY_MAX_MASKS = 1024 };

typedef struct uly__simple_buffers uly__simple_buffers;

struct uly_attention {
  int64_t id; /* unique in the process */
  uly_mesh *mesh;
  uly_attention_desc desc; /* of all heads; its masks are NULL: see `masks` */
  /* The heads that this rank's share of tensor parallelism attends with. Blocks and ranks of the
   * sequence divide these, and buffers hold no others. */
  uly__head_range heads;
  int num_masks;
  uly__mask **masks;
  /* A caller's lists of documents: the one in use, and room to try the next. */
  struct {
    int64_t *room; /* [2][max] */
    int64_t max;
    int used;      /* which of the two lists */
    uint64_t hash; /* of the documents in use */
  } documents;
  uly__token_cut cut; /* which tokens each rank holds */
  /* Which tokens each rank of the ring attends with: those of all its ranks of Ulysses. */
  uly__token_cut rows;
  const uly__seq_scheme *scheme;
  void *own; /* what the scheme keeps in the plan */
  const uly__key_scheme *keys;
  void *key_own; /* what the key scheme keeps */
  /* [num_blocks]: the heads of each, and where their Q, K, V and outputs lie. */
  const uly__head_block *blocks;
  int num_blocks;
  uly__seq_work work;
  /* The most rows that attend in one call, if the caller passes part of the rows at a time. 0: all
   * rows attend at once. */
  int64_t rows_at_once;
  const uly__ops *ops;
  uly__stream *stream;
  uly__group *group; /* the ranks that share the sequence */
  /* Of these, the ranks along the ring, and those among which heads are exchanged. */
  uly__group *ring_group, *head_group;
  /* The kernels call it now and then; NULL: nothing is under way during their work. */
  void (*poll)(void *context);
  void *poll_context;
  /* Buffers of the simple functions; NULL before the first call. */
  uly__simple_buffers *simple;
};

/* Returns the scheme for a model on this mesh: the first that is applicable. */
const uly__seq_scheme *uly__attention_choose(const uly_mesh *mesh, const uly_attention_desc *desc);

/* Like uly_attention_create without agreement among the ranks. The structs of desc have the sizes
 * that this library knows. */
uly_status uly__attention_plan(uly_mesh *mesh, const uly_attention_desc *desc,
                               const uly__seq_scheme *scheme, uly_attention **out);
/* Frees a plan, but not the buffers of the simple calls (uly__attention_free_simple). */
void uly__attention_destroy(uly_attention *plan);

/* Like uly_attention_set_documents, but the list is not copied: it must stay as it is while it is
 * in use. */
uly_status uly__attention_use_documents(uly_attention *plan, const int64_t *doc_start,
                                        int64_t num_docs);

/* Returns ULY_ERR_CONFIG unless the plan has a mask of that number. */
uly_status uly__attention_check_mask(const uly_attention *plan, int mask);

/* Counts the pairs of all query heads of the attention, not only of this rank's share. */
double uly__attention_pairs(const uly_attention *plan, int mask);

/* The bytes that this rank sends in a pass: to exchange heads, and keys and values along the
 * ring. */
typedef struct uly__seq_sent {
  int64_t heads, keys;
} uly__seq_sent;
uly__seq_sent uly__attention_sent(const uly_attention *plan, bool is_backward);

/* Carves a place for outputs, unless they are in kept->o. */
static inline void uly__attention_carve_outputs(const uly_attention *plan, uly__arena *arena,
                                                uly__seq_kept *kept) {
  int64_t bytes = plan->scheme->outputs_bytes(plan);
  kept->outputs = bytes > 0 ? uly__arena_carve(arena, bytes) : kept->o;
}

/* Returns where forward wants Q, K and V of a layer. */
static inline void *uly__attention_qkv(const uly_attention *plan, const uly__seq_kept *kept) {
  return plan->work.qkv ? plan->work.qkv : kept->qkv;
}

/* Lets the caller attend with at most `rows` rows in a call. It must be called before buffers are
 * carved. Where the plan's schemes cannot do this, all rows attend at once; rows_at_once says
 * which. */
void uly__attention_takes_rows(uly_attention *plan, int64_t rows);

/* Drives what is under way. Not collective. */
uly_status uly__attention_poll(uly_attention *plan);

#endif
