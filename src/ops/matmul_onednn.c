/* Matrix product through oneDNN. The product is cut into tiles whose shape depends on the product's
 * shape alone; each tile is one single-threaded call, and threads divide the tiles among them. So
 * results do not depend on the number of threads. The reference computes what oneDNN cannot compute
 * on this CPU. */
#include "ops/products_onednn.h"

enum { TILE_M = 256, TILE_N = 512 };

/* Returns the number of tiles of one size that cover a dimension; the last one is shorter. */
static int64_t num_tiles(int64_t total, int64_t tile) { return (total + tile - 1) / tile; }

uly_status uly__matmul_onednn(uly__stream *stream, const uly__matmul *args) {
  if (args->m == 0 || args->n == 0) return ULY_OK;
  if (args->k == 0) return uly__matmul_ref(stream, args);
  ULY_TRY(uly__products_prepare(4));
  int64_t rows = num_tiles(args->m, TILE_M), cols = num_tiles(args->n, TILE_N);
  const uly__product *products[2][2] = {{NULL}}; /* [last row of tiles][last column] */
  for (int last_m = 0; last_m < 2; last_m++)
    for (int last_n = 0; last_n < 2; last_n++) {
      uly__product_shape shape = {.m = last_m ? args->m - (rows - 1) * TILE_M : TILE_M,
                                  .n = last_n ? args->n - (cols - 1) * TILE_N : TILE_N,
                                  .k = args->k,
                                  .lda = args->lda,
                                  .ldb = args->ldb,
                                  .ldc = args->ldc,
                                  .trans_a = args->trans_a,
                                  .trans_b = args->trans_b,
                                  .accumulate = args->accumulate,
                                  .dtype = args->dtype,
                                  .c_dtype = args->c_dtype};
      if ((!last_m && rows == 1) || (!last_n && cols == 1)) continue;
      ULY_TRY(uly__products_find(shape, &products[last_m][last_n]));
      if (!products[last_m][last_n]) return uly__matmul_ref(stream, args);
    }
  int failed = 0;
#pragma omp parallel
  {
    sigset_t before;
    uly__products_hold_signals(&before);
#pragma omp for schedule(static)
    for (int64_t tile = 0; tile < rows * cols; tile++) {
      int64_t row = tile / cols, col = tile % cols, i = row * TILE_M, j = col * TILE_N;
      const uly__product *product = products[row == rows - 1][col == cols - 1];
      const void *a = uly__at(args->a, args->dtype, args->trans_a ? i : i * args->lda);
      const void *b = uly__at(args->b, args->dtype, args->trans_b ? j * args->ldb : j);
      void *c = uly__at(args->c, args->c_dtype, i * args->ldc + j);
      int result = uly__product_run(product, a, b, c);
      if (result != 0) {
#pragma omp atomic write
        failed = result;
      }
    }
    uly__products_release_signals(&before);
  }
  return uly__products_check(failed);
}
