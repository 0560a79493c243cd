/* Matrix products by oneDNN, each on one thread, for ops that cut their product into tiles and
 * divide these among threads. oneDNN's own threading is never used. */
#ifndef ULY_PRODUCTS_ONEDNN_H
#define ULY_PRODUCTS_ONEDNN_H

#include <signal.h>

#include "ops/ops.h"

/* As in uly__matmul. */
typedef struct uly__product_shape {
  int64_t m, n, k, lda, ldb, ldc;
  bool trans_a, trans_b, accumulate;
  uly_dtype dtype, c_dtype;
} uly__product_shape;

typedef struct uly__product uly__product;

/* Makes room for as many threads as may run. Call it before an op finds its products: if there are
 * more threads than ever before, products that were found earlier are gone. */
uly_status uly__products_begin(void);

/* Finds the product of this shape, which is made the first time and kept until the process ends.
 * *out is NULL if oneDNN cannot compute it on this CPU. */
uly_status uly__products_find(uly__product_shape shape, const uly__product **out);

/* Multiplies on the calling thread of a parallel region. uly__products_check takes its result. */
int uly__product_run(const uly__product *product, const void *a, const void *b, void *c);
uly_status uly__products_check(int result);

/* Between these two calls, a thread of a parallel region may run products. */
void uly__products_hold_signals(sigset_t *before);
void uly__products_release_signals(const sigset_t *before);

#endif
