/* Measures what the machine's matrix products reach, of which a run prints its share. This takes a
 * fraction of a second. */
#include "train/train_peak.h"

#include "bench/bench.h"
#include "measure/ceiling.h"

uly_status measure_peak(const options *o, uly_mesh *mesh, double *flops) {
  bench b = {.options = {.repeats = 2}, .world = mesh};
  b.options.config.threads = o->config.threads;
  bench_use_threads(&b);
  gemm *product = NULL;
  *flops = 0;
  uly_status status = gemm_create_for_run(&b, o->config.dtype, &product);
  if (status == ULY_OK && product) {
    bench_result result;
    bench_work work = gemm_work(product);
    status = bench_compare(&b, &work, NULL, &result);
    if (status == ULY_OK) *flops = bench_median(&result.figure);
  }
  gemm_destroy(product);
  return status;
}
