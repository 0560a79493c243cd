/* Token tiles: the rows that one matrix product takes. */
#ifndef ULY_TILES_H
#define ULY_TILES_H

#include "parallel/token_cut.h"

typedef struct uly__tile_range {
  int64_t begin, rows; /* among this rank's tokens */
  /* Number of the segment that ends with the tile; -1: none. */
  int ends_segment;
} uly__tile_range;

typedef struct uly__tiles {
  uly__tile_range *list;
  int64_t num, rows; /* rows: the most per tile */
  int num_segments;  /* of this rank */
} uly__tiles;

/* Cuts this rank's tokens into tiles of at most `rows`, one after the other. They begin anew at
 * every run, and at every segment of the reproducible sums: the stream is cut into `leaves`
 * segments of whole granules, which nest in the runs, and every rank has the same number of them.
 * So the tiles do not depend on the number of ranks. With leaves 0, all tokens of a rank are one
 * segment. */
uly_status uly__tiles_create(const uly__token_cut *cut, int64_t granule, int leaves, int64_t rows,
                             uly__tiles *out);
void uly__tiles_destroy(uly__tiles *tiles);

#endif
