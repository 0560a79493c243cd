/* A stage of a pipeline: which layers of a model a rank holds. It holds one chunk of layers or, in
 * an interleaved schedule, several (parallel/schedule.h). Layers have the same numbers on all
 * stages. The first chunk of the model begins with the embedding, and the last one ends with final
 * norm, head and loss. */
#ifndef ULY_STAGE_H
#define ULY_STAGE_H

#include <stdbool.h>

#include "model/config.h"

/* The most chunks of a stage. */
enum { ULY_MAX_CHUNKS = 32 };

typedef struct uly__chunk {
  int first, last; /* layers [first, last) */
} uly__chunk;

typedef struct uly__stage {
  uly__chunk chunks[ULY_MAX_CHUNKS]; /* ascending */
  int num_chunks;
} uly__stage;

/* Returns the stage that consists of layers [first, last); and that of a rank that has all
 * layers. */
static inline uly__stage uly__stage_of(int first, int last) {
  return (uly__stage){.chunks = {{first, last}}, .num_chunks = 1};
}
static inline uly__stage uly__whole_model(const uly__model_config *config) {
  return uly__stage_of(0, config->num_layers);
}

/* How the layers of a model are dealt to the stages of a pipeline. */
typedef struct uly__deal {
  int num_layers, num_stages, num_chunks; /* chunks of each stage */
  /* The work of the head with its loss, in multiples of the work of a layer. */
  double head;
} uly__deal;

/* Deals layers so that the stage with most work has as little as possible: the last one usually has
 * fewer layers, since it has the head. The others have equally many; if they cannot, the later ones
 * have one more, since earlier stages have more micro-batches in flight. The layers of a stage are
 * divided among its chunks by the same rule. Returns ULY_ERR_CONFIG if there are more chunks than
 * layers, or more than ULY_MAX_CHUNKS of a stage. */
uly_status uly__stage_deal(const uly__deal *deal, int stage, uly__stage *out);

/* Returns the number of layers of a chunk, and of all chunks of a stage. */
static inline int uly__chunk_layers(uly__chunk chunk) { return chunk.last - chunk.first; }
int uly__stage_layers(const uly__stage *stage);
/* Returns whether a stage has a layer. */
bool uly__stage_has(const uly__stage *stage, int layer);

/* Return whether a chunk begins with the embedding, and whether it ends with the head. */
static inline bool uly__chunk_embeds(uly__chunk chunk) { return chunk.first == 0; }
static inline bool uly__chunk_has_head(uly__chunk chunk, const uly__model_config *config) {
  return chunk.last == config->num_layers;
}
/* Return whether a stage has the embedding, and whether it has the head. */
static inline bool uly__stage_embeds(const uly__stage *stage) {
  return uly__chunk_embeds(stage->chunks[0]);
}
static inline bool uly__stage_has_head(const uly__stage *stage, const uly__model_config *config) {
  return uly__chunk_has_head(stage->chunks[stage->num_chunks - 1], config);
}

#endif
