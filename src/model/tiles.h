/* Token tiles: the rows that one matrix product takes. */
#ifndef ULY_TILES_H
#define ULY_TILES_H

#include "parallel/tensor.h"
#include "parallel/token_cut.h"

typedef struct uly__tile_range {
  int64_t begin, rows; /* among this rank's tokens */
  /* The part whose rows of the residual stream this rank has, where tensor parallelism divides it:
   * the first of them in the tile, their number, and where they begin in the stream's buffers. */
  int64_t first_own, own_rows, own_begin;
  /* Number of the segment that ends with the tile; -1: none. */
  int ends_segment;
} uly__tile_range;

typedef struct uly__tiles {
  uly__tile_range *list;
  int64_t num, rows; /* rows: the most per tile */
  int64_t own_rows;  /* the same of my parts */
  int64_t num_own;   /* rows of the residual stream that this rank has */
  int num_segments;  /* of this rank */
} uly__tiles;

/* Cuts this rank's tokens into tiles of at most `rows`, one after the other. They begin anew at
 * every run, and at every segment of the reproducible sums: the stream is cut into `leaves`
 * segments of whole granules, which nest in the runs, and every rank has the same number of them.
 * So the tiles do not depend on the number of ranks. With leaves 0, all tokens of a rank are one
 * segment. */
/* All rows of the tiles are this rank's own, until they are divided. */
uly_status uly__tiles_create(const uly__token_cut *cut, int64_t granule, int leaves, int64_t rows,
                             uly__tiles *out);
/* Divides the rows of each tile over the ranks of tensor parallelism. */
void uly__tiles_divide(uly__tiles *tiles, const uly__tensor *tensor);
void uly__tiles_destroy(uly__tiles *tiles);

#endif
