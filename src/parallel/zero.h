/* ZeRO (arXiv 1910.02054) decides which of the W ranks of dp x sp holds which parameters, gradients
 * and optimizer states, and when they move.
 *
 * The parameters fall into units (embedding, each block, final norm with head). A unit is padded to
 * W equal shards; shard r belongs to rank r. What a rank holds of
 *
 *                       parameters   gradients   optimizer states
 *   stage 0             all          all         all
 *   stage 1             all          all         its shards
 *   stage 2             all          its shards  its shards
 *   stage 3             its shards   its shards  its shards
 *
 * The model says what it is about to use: acquire, prefetch and release for weights, begin, fold
 * and end for gradients. In stage 3 a unit is gathered into a slot while the unit before it
 * computes, and stays there until the slot is needed. A unit's gradient is reduced while the next
 * unit's is computed: from stage 2 on in every pass; below, gradients are added up on each rank and
 * reduced in the last pass of a step. Stage 0 then sends the sums to all ranks, at the same time.
 *
 * Reproducible sums: whatever the ranks, gradients are summed over one binary tree of leaves. A
 * leaf is a part of a sequence (`segments` of them lie in this rank's slice); leaves are joined
 * within the rank, then across the ranks in the order of ranks (sp, then dp), then over the passes
 * of a step. So every stage then reduces after each pass, as stage 2 does.
 *
 * Legend: W ranks; unit u has count elements and shards of `shard` elements, W * shard >= count. */
#ifndef ULY_ZERO_H
#define ULY_ZERO_H

#include <stdbool.h>

#include "base/split.h"
#include "comm/mesh.h"
#include "device/arena.h"
#include "ops/ops.h"
#include "parallel/bulk.h"

/* Shards are whole pieces of this many elements, so that what is computed piece by piece (the
 * gradient norm) does not depend on the number of ranks. */
enum { ULY_SHARD_PIECE = 256 };

typedef struct uly__zero_desc {
  int stage;
  uly_dtype dtype, grad_dtype; /* of weights; of gradients kept and sent */
  bool reproducible;
  int segments; /* leaves in this rank's slice; 1 unless reproducible */
  /* Sequences of a step that go through this rank, one after the other. */
  int64_t passes;
  int num_units;
  const int64_t *counts; /* [num_units] elements of each; 0: this rank does not hold it */
  /* Unit 0 is used, and its gradient made, at both ends of the model. */
  bool tied;
  /* This rank has both ends of the model. */
  bool has_both_ends;
  bool forward_only; /* no gradients are made; stage 0 or 3 */
} uly__zero_desc;

typedef struct uly__zero_unit {
  int64_t count, shard;
  /* In the padded range of all units, and in the range of my shards. */
  int64_t full_begin, shard_begin;
  void *weights; /* [W * shard] of dtype; NULL while not here */
  float *grads;  /* [W * shard] while backward adds to it; NULL otherwise */
  char *sums;    /* gradients that are kept, of grad_dtype */
  /* Where stage 3 gathers it, and where its gradient is made. */
  int slot;
  int64_t num_reduced; /* contributions so far this step */
} uly__zero_unit;

/* Places of units that are in use: two that the blocks take in turn, one for the embedding and the
 * last unit, and one more for the last unit if the embedding is needed at the same time. */
enum { ULY_ZERO_SLOTS = 4 };

typedef struct uly__zero_slot {
  void *data; /* [largest of its units] of dtype */
  int unit;   /* held or coming; -1: none */
  bool ready;
} uly__zero_slot;

typedef struct uly__zero {
  uly__zero_desc desc; /* counts is not kept */
  int size, rank;      /* W, and my place */
  const uly__ops *ops;
  uly__stream *stream;
  uly__zero_unit *units;
  int num_levels; /* of the tree over a step's passes */
  /* Elements of all units, padded; and of my shards. */
  int64_t full_count, shard_count;
  /* Weights: all of them (stages 0 to 2), or my shards. Gradients: all, or sums of my shards. */
  char *weights, *grads;
  uly__zero_slot slots[ULY_ZERO_SLOTS];
  /* Gradients that are being made, in the same places. */
  float *live[ULY_ZERO_SLOTS];
  float **fold_levels; /* over the leaves of this slice */
  int num_fold_levels;
  float *reduced;          /* [largest shard]: result of a reduction */
  int reducing;            /* unit; -1: none */
  void *workspace;         /* of reductions */
  int64_t in_flight_bytes; /* its size, and the most of a gather that is under way */
  uly_status (*complete)(void *context, int unit, uly_dtype dtype, void *grads);
  void *complete_context;
  uly__group *group;
  uly__bulk gather; /* of a unit's weights, or of sums of its gradients */
  uly__bulk reduce; /* of a unit's gradients */
  /* Unit that is on its way; -1: none. */
  int gathering, travelling;
  double gather_began, travel_began;
} uly__zero;

/* Plans. mesh may be an offline one. ULY_ERR_CONFIG names what cannot work. */
uly_status uly__zero_create(uly_mesh *mesh, const uly__zero_desc *desc, uly__zero **out);
void uly__zero_destroy(uly__zero *zero);

/* Sets a function that is called for each gradient of a unit that this rank has completed, before
 * it is added to those of other ranks: grads is that of the whole unit, of dtype. It is called once
 * for each uly__zero_end_grads in stages 2 and 3, and once in a step below that. */
void uly__zero_on_complete(uly__zero *zero,
                           uly_status (*complete)(void *context, int unit, uly_dtype dtype,
                                                  void *grads),
                           void *context);
/* Returns how often it is called for a unit in a step. */
int64_t uly__zero_num_completions(const uly__zero *zero, int unit);

/* Carves weights and gradients, and the places in use from scratch; arenas: [ULY_NUM_ARENAS]. */
void uly__zero_carve(uly__zero *zero, uly__arena *arenas);

/* --- What a rank updates. */

/* Return which elements of a unit this rank updates: in stage 0 all, otherwise its shard; and which
 * of them it owns: its shard, which no other rank counts or saves. Neither includes padding. */
uly__part uly__zero_updated(const uly__zero *zero, int unit);
uly__part uly__zero_owned(const uly__zero *zero, int unit);
/* Return how many places the elements that this rank updates take, over all units; and the place of
 * one of them. The places of a unit's elements follow each other. */
int64_t uly__zero_num_places(const uly__zero *zero);
int64_t uly__zero_place(const uly__zero *zero, int unit, int64_t at);
/* Returns where this rank keeps the weight, of dtype, of an element that it updates. */
void *uly__zero_weight(const uly__zero *zero, int unit, int64_t at);

/* --- In a pass. Collective if weights or gradients are sent; nothing waits longer than it must. */

/* Forgets gathered weights, which are out of date. */
void uly__zero_forget_weights(uly__zero *zero);
/* Forgets gathered weights, and sets all gradients to 0. */
void uly__zero_begin_step(uly__zero *zero);
/* Starts to gather a unit's weights, so that acquire need not wait. */
uly_status uly__zero_prefetch(uly__zero *zero, int unit);
/* Makes units[unit].weights point to the weights. */
uly_status uly__zero_acquire(uly__zero *zero, int unit);
void uly__zero_release(uly__zero *zero, int unit);

/* Makes units[unit].grads point to zeros (or to what earlier passes left), to add gradients to. */
uly_status uly__zero_begin_grads(uly__zero *zero, int unit);
/* Folds elements [begin, begin + count), whose sums over leaf `segment` (0 first) of this slice are
 * complete. */
void uly__zero_fold(uly__zero *zero, int unit, int segment, int64_t begin, int64_t count);
/* Ends the unit's gradient of this pass, which is complete on this rank. */
uly_status uly__zero_end_grads(uly__zero *zero, int unit);
/* Drives what is under way. */
uly_status uly__zero_poll(uly__zero *zero);

/* --- After the passes of a step. Collective. */

/* Ends what is under way: from now on, the gradients of elements that this rank owns are the sums
 * over the step and all ranks. A tied unit 0, to which another rank adds from the other end of the
 * model, must still be completed: uly__zero_reduced returns this rank's shard of its gradient, of
 * grad_dtype, and uly__zero_share_reduced then sends it to the ranks that need it. */
uly_status uly__zero_reduce(uly__zero *zero);
void *uly__zero_reduced(const uly__zero *zero, int unit);
uly_status uly__zero_share_reduced(uly__zero *zero, int unit);
/* Makes this true of all elements of a unit that this rank updates, until the call for another
 * unit: stage 0 sends reproducible sums only now. */
uly_status uly__zero_gather_grads(uly__zero *zero, int unit);
/* Returns where the gradient of such an element is, of grad_dtype. The gradients of the elements
 * after it follow, as long as this rank owns all of these elements or none. */
const void *uly__zero_grad(const uly__zero *zero, int unit, int64_t at);
/* Sends the weights of a unit, which their owners have updated, to the ranks that keep all of them.
 * In stage 0 each of these ranks has updated all weights itself; in stage 3 no rank keeps all. */
uly_status uly__zero_publish(uly__zero *zero, int unit);

/* --- For a plan. */

/* Counts the gathers of a step, which depend on the order in which the passes use the units. */
typedef struct uly__zero_gathers {
  const uly__zero *zero;
  int held[ULY_ZERO_SLOTS]; /* unit in each slot; -1: none */
  int64_t elements;         /* of the shards that were sent */
} uly__zero_gathers;

uly__zero_gathers uly__zero_count_gathers(const uly__zero *zero);
/* Counts the gather of a unit that is about to be used, unless the unit is there. */
void uly__zero_gathers_use(uly__zero_gathers *count, int unit);

/* Return the bytes that this rank sends in a step, for gradients and for weights. */
int64_t uly__zero_sent_grads(const uly__zero *zero);
int64_t uly__zero_sent_weights(const uly__zero *zero, const uly__zero_gathers *count);

#endif
