/* Token tiles: see tiles.h. */
#include "model/tiles.h"

#include <stdlib.h>

#include "base/integers.h"
#include "base/split.h"

/* Adds the tiles of tokens [begin, end) of the stream, of which the first is this rank's token
 * t. */
static void add_tiles(uly__tiles *tiles, int64_t begin, int64_t end, int64_t t, int64_t rows) {
  for (int64_t at = begin; at < end; at += rows) {
    int64_t count = uly__min(rows, end - at);
    tiles->list[tiles->num++] = (uly__tile_range){.begin = t + at - begin,
                                                  .rows = count,
                                                  .own_rows = count,
                                                  .own_begin = t + at - begin,
                                                  .ends_segment = -1};
    tiles->rows = tiles->own_rows = uly__max(tiles->rows, count);
  }
}

/* Adds the tiles of this rank's tokens that are in a part of the stream, and returns how many. */
static int64_t add_segment(uly__tiles *tiles, const uly__token_cut *cut, uly__part part,
                           int64_t rows) {
  const uly_token_run *runs = uly__token_cut_runs(cut, cut->rank);
  int64_t before = tiles->num, t = 0;
  for (int r = 0; r < cut->num_runs; t += runs[r++].count) {
    int64_t begin = uly__max(part.begin, runs[r].begin);
    int64_t end = uly__min(part.begin + part.count, runs[r].begin + runs[r].count);
    add_tiles(tiles, begin, end, t + begin - runs[r].begin, rows);
  }
  return tiles->num - before;
}

uly_status uly__tiles_create(const uly__token_cut *cut, int64_t granule, int leaves, int64_t rows,
                             uly__tiles *out) {
  int num = leaves ? leaves / cut->size : 1;
  int64_t room = cut->count / rows + num + cut->num_runs;
  *out = (uly__tiles){.num_segments = num, .num_own = cut->count};
  out->list = calloc((size_t)room, sizeof *out->list);
  if (!out->list) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a list of %lld tiles", (long long)room);
  for (int s = 0; s < num; s++) {
    uly__part part = {0, cut->num_tokens};
    if (leaves) part = uly__split(cut->num_tokens, granule, leaves, (int64_t)cut->rank * num + s);
    if (add_segment(out, cut, part, rows) > 0) out->list[out->num - 1].ends_segment = s;
  }
  return ULY_OK;
}

void uly__tiles_divide(uly__tiles *tiles, const uly__tensor *tensor) {
  tiles->own_rows = tiles->num_own = 0;
  for (int64_t i = 0; i < tiles->num; i++) {
    uly__tile_range *tile = &tiles->list[i];
    uly__part part = uly__tensor_part(tensor, tile->rows, tensor->rank);
    tile->first_own = part.begin;
    tile->own_rows = part.count;
    tile->own_begin = tiles->num_own;
    tiles->num_own += part.count;
    tiles->own_rows = uly__max(tiles->own_rows, part.count);
  }
}

void uly__tiles_destroy(uly__tiles *tiles) { free(tiles->list); }
