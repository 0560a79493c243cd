/* Deals layers to the stages of a pipeline: see stage.h. */
#include "model/stage.h"

#include <math.h>

/* Layers that are divided among `num` parts, the last of which also has the head. */
typedef struct parts {
  int layers, num, least; /* least: of each part */
  double head;
} parts;

/* Returns how many layers the last part gets, so that the part with most work has as little as
 * possible. */
static int find_last(parts p) {
  int best = p.least, others = p.num - 1;
  double smallest = INFINITY;
  if (others == 0) return p.layers;
  for (int last = p.least; last <= p.layers - others * p.least; last++) {
    int most = (p.layers - last + others - 1) / others;
    double work = fmax(last + p.head, most);
    if (work > smallest) continue;
    smallest = work;
    best = last;
  }
  return best;
}

/* Returns how many layers part i gets. Of the parts before the last one, the later ones are larger
 * if they cannot be equal. */
static int size_of(parts p, int i) {
  int last = find_last(p), others = p.num - 1;
  if (others == 0 || i == others) return last;
  int each = (p.layers - last) / others, num_larger = (p.layers - last) % others;
  return each + (i >= others - num_larger);
}

/* Returns how many layers chunk v of a stage gets. */
static int chunk_size(const uly__deal *deal, int s, int v) {
  parts stages = {deal->num_layers, deal->num_stages, deal->num_chunks, deal->head};
  bool is_last = s == deal->num_stages - 1;
  parts chunks = {size_of(stages, s), deal->num_chunks, 1, is_last ? deal->head : 0};
  return size_of(chunks, v);
}

uly_status uly__stage_deal(const uly__deal *deal, int stage, uly__stage *out) {
  int num = deal->num_stages * deal->num_chunks;
  if (deal->num_chunks > ULY_MAX_CHUNKS || num > deal->num_layers) {
    int chunks = deal->num_layers / deal->num_stages;
    if (deal->num_chunks > 1 && chunks >= 1)
      ULY_FAIL(
          ULY_ERR_CONFIG,
          "config.pp_chunks is %d, but %d layers in %d stages (mesh.pp) allow at most %d chunks "
          "per stage: set config.pp_chunks to that number or less",
          deal->num_chunks, deal->num_layers, deal->num_stages,
          chunks < ULY_MAX_CHUNKS ? chunks : ULY_MAX_CHUNKS);
    ULY_FAIL(ULY_ERR_CONFIG,
             "mesh.pp is %d, but the model has only %d layers, and every stage needs one: set "
             "mesh.pp to that number or less",
             deal->num_stages, deal->num_layers);
  }
  *out = (uly__stage){.num_chunks = deal->num_chunks};
  int first = 0;
  for (int k = 0; k < num; k++) {
    int v = k / deal->num_stages, s = k % deal->num_stages, size = chunk_size(deal, s, v);
    if (s == stage) out->chunks[v] = (uly__chunk){first, first + size};
    first += size;
  }
  return ULY_OK;
}

int uly__stage_layers(const uly__stage *stage) {
  int num = 0;
  for (int v = 0; v < stage->num_chunks; v++) num += uly__chunk_layers(stage->chunks[v]);
  return num;
}

bool uly__stage_has(const uly__stage *stage, int layer) {
  for (int v = 0; v < stage->num_chunks; v++)
    if (layer >= stage->chunks[v].first && layer < stage->chunks[v].last) return true;
  return false;
}
