/* Deals layers to the stages of a pipeline: see stage.h. */
#include "model/stage.h"

#include <math.h>

static int max_int(int a, int b) { return a > b ? a : b; }

/* Returns how many layers the last of `num` chunks gets. */
static int layers_of_last(const uly__deal *deal, int num) {
  int best = 1, others = num - 1;
  double least = INFINITY;
  if (others == 0) return deal->num_layers;
  for (int last = 1; last <= deal->num_layers - others; last++) {
    int most = (deal->num_layers - last + others - 1) / others;
    double work = fmax(last + deal->head, most);
    if (work > least) continue;
    least = work;
    best = last;
  }
  return best;
}

/* Returns the first layer of chunk k of the model, where the last of `num` chunks has `last`
 * layers. */
static int first_of(const uly__deal *deal, int num, int last, int k) {
  int rest = deal->num_layers - last, others = num - 1;
  if (k == num) return deal->num_layers;
  if (others == 0) return 0;
  int each = rest / others, larger = rest % others;
  return k * each + max_int(0, k - (others - larger));
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
  int last = layers_of_last(deal, num);
  *out = (uly__stage){.num_chunks = deal->num_chunks};
  for (int v = 0; v < deal->num_chunks; v++) {
    int k = v * deal->num_stages + stage;
    out->chunks[v] = (uly__chunk){first_of(deal, num, last, k), first_of(deal, num, last, k + 1)};
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
