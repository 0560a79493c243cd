/* Reference matrix product: three loops, f64 sums. */
#include "ops/ops.h"

int64_t uly__matmul_ref_bytes(uly_dtype dtype, int threads) {
  (void)dtype, (void)threads;
  return 0;
}

uly_status uly__matmul_ref_prepare(uly__stream *stream, const uly__matmul *args) {
  (void)stream, (void)args;
  return ULY_OK;
}

uly_status uly__matmul_ref(uly__stream *stream, const uly__matmul *args) {
  (void)stream;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < args->m; i++)
    for (int64_t j = 0; j < args->n; j++) {
      double sum = 0;
      for (int64_t l = 0; l < args->k; l++) {
        int64_t at_a = args->trans_a ? l * args->lda + i : i * args->lda + l;
        int64_t at_b = args->trans_b ? j * args->ldb + l : l * args->ldb + j;
        sum += (double)uly__load(args->a, args->dtype, at_a) *
               (double)uly__load(args->b, args->dtype, at_b);
      }
      int64_t at_c = i * args->ldc + j;
      if (args->accumulate) sum += (double)uly__load(args->c, args->c_dtype, at_c);
      uly__store(args->c, args->c_dtype, at_c, (float)sum);
    }
  return ULY_OK;
}
