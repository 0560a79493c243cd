/* Makes models: checks what fits together, cuts it, lays it out in memory, counts its FLOPs. */
#ifndef ULY_MODEL_PLAN_H
#define ULY_MODEL_PLAN_H

#include "model/model.h"

/* Plans a model: checks that it fits the mesh; allocates no tensors. */
uly_status uly__model_create(const uly__model_config *config, uly_mesh *mesh,
                             const uly__model_run *run, uly__model **out);
void uly__model_destroy(uly__model *model);

/* Carve weights and gradients; and, if the model makes passes over whole sequences, what these
 * need. arenas: [ULY_NUM_ARENAS], the device's; host: the host's. The second time, with memory, the
 * second function also sets the positions, which are those of one document. */
void uly__model_carve_states(uly__model *model, uly__arena *arenas);
void uly__model_carve_passes(uly__model *model, uly__arena *arenas, uly__arena *host);

/* The masks of a model: that of the layers without a window, then that of the layers with one;
 * either is left out if there are no such layers. */
typedef struct uly__model_masks {
  uly_mask list[2];
  int num;
  uly_block_layout *blocks; /* of both masks; or NULL */
} uly__model_masks;

/* Makes the masks of a run for a sequence of num_tokens tokens. The caller frees them, but not
 * before the plan that they are for has been made. */
uly_status uly__model_make_masks(const uly__model_config *config, const uly__model_run *run,
                                 int64_t num_tokens, uly__model_masks *out);
void uly__model_free_masks(uly__model_masks *masks);
/* Returns which of the masks a layer has. */
int uly__model_mask(const uly__model *model, int layer);

/* Sets the documents of the next sequence; before the first call it is one document. The list is
 * not copied: it must stay as it is while the sequence is processed. Sets positions, mask and
 * pairs. */
uly_status uly__model_set_documents(uly__model *model, const int64_t *doc_start, int64_t num_docs);

/* FLOPs for one token: of the forward and the backward pass of a layer, with what is computed
 * again; and of the head with its loss, forward and backward. */
typedef struct uly__model_work {
  double forward, backward, head;
} uly__model_work;
uly__model_work uly__model_find_work(const uly__model *model, uly_recompute recompute);
/* Returns how the layers are dealt to the stages of a mesh. */
uly__deal uly__model_deal(const uly__model *model, const uly_mesh *mesh, const uly__model_run *run);

/* Returns the FLOPs of forward and backward of num_sequences sequences of N tokens, over all ranks:
 * 6 FLOPs for each weight of a matrix and token, and 12 d for each of `pairs`, the visible pairs of
 * all heads and sequences. Forward alone takes a third. */
double uly__model_flops(const uly__model *model, int64_t num_sequences, double pairs);

#endif
