/* Matrix product through oneDNN. The product is cut into tiles whose shape depends on the product's
 * shape alone; each tile is one single-threaded call, and threads divide the tiles among them. So
 * results do not depend on the number of threads. The reference computes what oneDNN cannot compute
 * on this CPU. */
#include "ops/products_onednn.h"

enum { TILE_M = 256, TILE_N = 512 };

/* Returns the number of tiles of one size that cover a dimension; the last one is shorter. */
static int64_t num_tiles(int64_t total, int64_t tile) { return (total + tile - 1) / tile; }

/* The products of the tiles: the last row and column of tiles may be shorter. */
typedef struct tile_products {
  const uly__product *of[2][2]; /* [last row][last column] */
} tile_products;

/* Sets *can to whether oneDNN can compute them all. */
static uly_status find_products(const uly__matmul *x, tile_products *out, bool *can) {
  int64_t rows = num_tiles(x->m, TILE_M), cols = num_tiles(x->n, TILE_N);
  ULY_TRY(uly__products_begin());
  *can = true;
  for (int i = 0; i < 4; i++) {
    bool last_m = i & 1, last_n = i & 2;
    if ((!last_m && rows == 1) || (!last_n && cols == 1)) continue;
    uly__product_shape shape = {.m = last_m ? x->m - (rows - 1) * TILE_M : TILE_M,
                                .n = last_n ? x->n - (cols - 1) * TILE_N : TILE_N,
                                .k = x->k,
                                .lda = x->lda,
                                .ldb = x->ldb,
                                .ldc = x->ldc,
                                .trans_a = x->trans_a,
                                .trans_b = x->trans_b,
                                .accumulate = x->accumulate,
                                .dtype = x->dtype,
                                .c_dtype = x->c_dtype};
    const uly__product **product = &out->of[last_m][last_n];
    ULY_TRY(uly__products_find(shape, product));
    *can &= *product != NULL;
  }
  return ULY_OK;
}

uly_status uly__matmul_onednn_prepare(uly__stream *stream, const uly__matmul *args) {
  (void)stream;
  tile_products unused;
  bool can;
  if (args->m == 0 || args->n == 0 || args->k == 0) return ULY_OK;
  return find_products(args, &unused, &can);
}

uly_status uly__matmul_onednn(uly__stream *stream, const uly__matmul *args) {
  if (args->m == 0 || args->n == 0) return ULY_OK;
  if (args->k == 0) return uly__matmul_ref(stream, args);
  int64_t rows = num_tiles(args->m, TILE_M), cols = num_tiles(args->n, TILE_N);
  tile_products products;
  bool can;
  ULY_TRY(find_products(args, &products, &can));
  if (!can) return uly__matmul_ref(stream, args);
  int failed = 0;
#pragma omp parallel
  {
    sigset_t before;
    uly__products_hold_signals(&before);
#pragma omp for schedule(static)
    for (int64_t tile = 0; tile < rows * cols; tile++) {
      int64_t row = tile / cols, col = tile % cols, i = row * TILE_M, j = col * TILE_N;
      const uly__product *product = products.of[row == rows - 1][col == cols - 1];
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
