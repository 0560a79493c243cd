/* Matrix product of bf16 on a CPU that multiplies f32 faster: tiles are widened, which is exact,
 * and multiplied in f32. Compiled once for each instruction set (ULY_ISA).
 *
 * A thread takes a tile of c through all of k, TILE_K at a time: it widens the piece of a and that
 * of b that meet there into its workspace, and oneDNN adds their product to the tile's sum, f32
 * too. At the end the sum is added to c, and rounded once where c is bf16. Tiles and their order
 * depend on the product's shape alone, so results do not depend on the number of threads. */
#include <omp.h>

#include "base/integers.h"
#include "ops/instruction_set.h"
#include "ops/products_onednn.h"

/* With these sizes, widening takes some hundredths of the time of a product, and a workspace fits
 * into the second-level cache of most CPUs. GAP separates rows whose distance would be a power of
 * two. */
enum { TILE_M = 256, TILE_N = 512, TILE_K = 256, GAP = 16 };

/* The workspace of a thread; b may be stored either way. */
typedef struct workspace {
  float a[TILE_M * (TILE_K + GAP)]; /* [m][k] or [k][m] */
  float b[TILE_N * (TILE_K + GAP)]; /* [n][k] or [k][n] */
  float sum[TILE_M * (TILE_N + GAP)];
} workspace;

_Static_assert(TILE_M == TILE_K && TILE_K <= TILE_N, "pieces fit their places either way");

static int64_t workspace_bytes(uly_dtype dtype, int threads) {
  return dtype == ULY_BF16 ? threads * (int64_t)sizeof(workspace) : 0;
}

static int64_t num_tiles(int64_t total, int64_t tile) { return (total + tile - 1) / tile; }

/* The products of a tile: the last row, column and step along k may be shorter; the first step
 * begins the sum. */
typedef struct tile_products {
  const uly__product *of[2][2][2][2]; /* [last row][last column][last step][not the first step] */
} tile_products;

/* Returns the distance of the rows of a piece. */
static int64_t row_distance(bool trans, int64_t across, int64_t along) {
  return (trans ? along : across) + GAP;
}

/* Sets *can to whether oneDNN can compute them all. */
static uly_status find_products(const uly__matmul *x, tile_products *out, bool *can) {
  int64_t rows = num_tiles(x->m, TILE_M), cols = num_tiles(x->n, TILE_N);
  int64_t steps = num_tiles(x->k, TILE_K);
  ULY_TRY(uly__products_begin());
  *can = true;
  for (int i = 0; i < 16; i++) {
    bool last_m = i & 1, last_n = i & 2, last_k = i & 4, adds = i & 8;
    bool is_there = (last_m || rows > 1) && (last_n || cols > 1) && (last_k || steps > 1) &&
                    !(adds && steps == 1);
    if (!is_there) continue;
    uly__product_shape shape = {.m = last_m ? x->m - (rows - 1) * TILE_M : TILE_M,
                                .n = last_n ? x->n - (cols - 1) * TILE_N : TILE_N,
                                .k = last_k ? x->k - (steps - 1) * TILE_K : TILE_K,
                                .lda = row_distance(x->trans_a, TILE_K, TILE_M),
                                .ldb = row_distance(x->trans_b, TILE_N, TILE_K),
                                .ldc = TILE_N + GAP,
                                .trans_a = x->trans_a,
                                .trans_b = x->trans_b,
                                .accumulate = adds,
                                .dtype = ULY_F32,
                                .c_dtype = ULY_F32};
    const uly__product **product = &out->of[last_m][last_n][last_k][adds];
    ULY_TRY(uly__products_find(shape, product));
    *can &= *product != NULL;
  }
  return ULY_OK;
}

static void widen(int64_t rows, int64_t cols, const uint16_t *restrict x, int64_t ldx,
                  float *restrict y, int64_t ldy) {
  for (int64_t r = 0; r < rows; r++, x += ldx, y += ldy)
#pragma omp simd
    for (int64_t i = 0; i < cols; i++) y[i] = uly__bf16_to_f32(x[i]);
}

/* Widens the piece [rows, cols] of a matrix, or of its transpose, that begins at (row, col). */
static void widen_piece(const void *matrix, int64_t ld, bool trans, int64_t row, int64_t col,
                        int64_t rows, int64_t cols, float *to, int64_t ld_to) {
  const uint16_t *x = matrix;
  if (trans)
    widen(cols, rows, x + col * ld + row, ld, to, ld_to);
  else
    widen(rows, cols, x + row * ld + col, ld, to, ld_to);
}

static void add_sum_f32(int64_t rows, int64_t cols, const float *restrict sum, bool accumulate,
                        float *restrict c, int64_t ldc) {
  for (int64_t r = 0; r < rows; r++, sum += TILE_N + GAP, c += ldc) {
#pragma omp simd
    for (int64_t i = 0; i < cols; i++) c[i] = (accumulate ? c[i] : 0) + sum[i];
  }
}

static void add_sum_bf16(int64_t rows, int64_t cols, const float *restrict sum, bool accumulate,
                         uint16_t *restrict c, int64_t ldc) {
  for (int64_t r = 0; r < rows; r++, sum += TILE_N + GAP, c += ldc) {
#pragma omp simd
    for (int64_t i = 0; i < cols; i++)
      c[i] = uly__f32_to_bf16((accumulate ? uly__bf16_to_f32(c[i]) : 0) + sum[i]);
  }
}

/* Computes the tile whose first element is (i, j). */
static int multiply_tile(const uly__matmul *x, const tile_products *products, int64_t i, int64_t j,
                         workspace *w) {
  int64_t m = uly__min(TILE_M, x->m - i), n = uly__min(TILE_N, x->n - j);
  int64_t lda = row_distance(x->trans_a, TILE_K, TILE_M);
  int64_t ldb = row_distance(x->trans_b, TILE_N, TILE_K);
  int failed = 0;
  for (int64_t l = 0; l < x->k && failed == 0; l += TILE_K) {
    int64_t k = uly__min(TILE_K, x->k - l);
    bool last_m = i + TILE_M >= x->m, last_n = j + TILE_N >= x->n, last_k = l + TILE_K >= x->k;
    widen_piece(x->a, x->lda, x->trans_a, i, l, m, k, w->a, lda);
    widen_piece(x->b, x->ldb, x->trans_b, l, j, k, n, w->b, ldb);
    failed = uly__product_run(products->of[last_m][last_n][last_k][l > 0], w->a, w->b, w->sum);
  }
  void *c = uly__at(x->c, x->c_dtype, i * x->ldc + j);
  if (x->c_dtype == ULY_F32)
    add_sum_f32(m, n, w->sum, x->accumulate, c, x->ldc);
  else
    add_sum_bf16(m, n, w->sum, x->accumulate, c, x->ldc);
  return failed;
}

/* Returns the number of threads that may run and have a workspace. */
static int num_threads(const uly__matmul *x) {
  int most = omp_get_max_threads();
  return x->workspace_threads < most ? x->workspace_threads : most;
}

static uly_status prepare(uly__stream *stream, const uly__matmul *x) {
  if (x->dtype == ULY_F32) return uly__matmul_onednn_prepare(stream, x);
  tile_products unused;
  bool can;
  if (x->m == 0 || x->n == 0 || x->k == 0) return ULY_OK;
  return find_products(x, &unused, &can);
}

static uly_status matmul(uly__stream *stream, const uly__matmul *x) {
  if (x->dtype == ULY_F32) return uly__matmul_onednn(stream, x);
  if (x->m == 0 || x->n == 0) return ULY_OK;
  if (x->k == 0) return uly__matmul_ref(stream, x);
  int64_t rows = num_tiles(x->m, TILE_M), cols = num_tiles(x->n, TILE_N);
  tile_products products;
  bool can;
  ULY_TRY(find_products(x, &products, &can));
  if (!can) return uly__matmul_ref(stream, x);
  int failed = 0;
#pragma omp parallel num_threads(num_threads(x))
  {
    sigset_t before;
    workspace *own = (workspace *)x->workspace + omp_get_thread_num();
    /* A region of one thread does not count as parallel: oneDNN's generic products, which other
     * CPUs than x86-64 use, would divide a tile among threads of their own, and sum in another
     * order. */
    omp_set_num_threads(1);
    uly__products_hold_signals(&before);
#pragma omp for schedule(static)
    for (int64_t tile = 0; tile < rows * cols; tile++) {
      int result = multiply_tile(x, &products, tile / cols * TILE_M, tile % cols * TILE_N, own);
      if (result != 0) {
#pragma omp atomic write
        failed = result;
      }
    }
    uly__products_release_signals(&before);
  }
  return uly__products_check(failed);
}

void ULY_FOR_ISA(uly__matmul_widened)(uly__ops *table) {
  table->matmul = matmul;
  table->matmul_prepare = prepare;
  table->matmul_bytes = workspace_bytes;
}
