/* ulysses bench ceiling: what the machine can do. The lines have a figure and no ceiling, since the
 * figure is one. All ranks measure at the same time, and their rates are added. */
#include <omp.h>
#include <stdlib.h>

#include "bench/bench.h"
#include "measure/bench_mpi.h"
#include "measure/ceiling.h"

/* Measures the products of a type. Nothing is measured if the CPU does not know the type. */
static uly_status measure_gemm(bench *b, uly_dtype dtype) {
  bench_result result = {.seconds = 0};
  gemm *product = NULL;
  uly_status status = gemm_create(b, dtype, &product);
  if (status == ULY_OK && product) {
    bench_work work = gemm_work(product);
    status = bench_compare(b, &work, NULL, &result);
  }
  if (status == ULY_OK) {
    bench_print(b, "matmul", "GFLOP/s", &result,
                json_pack("{s:s, s:i}", "dtype", dtype == ULY_BF16 ? "bf16" : "f32", "size",
                          (int)GEMM_SIZE));
  }
  gemm_destroy(product);
  return status;
}

/* Measures with one thread, and with all. */
static uly_status measure_gemms(bench *b, uly_dtype dtype) {
  int all = b->options.config.threads;
  uly_status status = ULY_OK;
  for (int threads = 1; threads <= all && status == ULY_OK; threads += all > 1 ? all - 1 : 1) {
    b->options.config.threads = threads;
    omp_set_num_threads(threads);
    status = measure_gemm(b, dtype);
  }
  b->options.config.threads = all;
  omp_set_num_threads(all);
  return status;
}

static uly_status measure_memory(bench *b) {
  bench_result result;
  memory_arrays arrays;
  int64_t bytes = b->options.array_bytes / bench_ranks_of_node();
  uly_status status = uly_mesh_agree(b->world, memory_arrays_create(bytes, &arrays));
  const bench_work works[] = {memory_triad(&arrays), memory_read(&arrays)};
  static const char *const names[] = {"memory_triad", "memory_read"};
  for (int i = 0; i < 2 && status == ULY_OK; i++) {
    status = bench_compare(b, &works[i], NULL, &result);
    if (status == ULY_OK) bench_print(b, names[i], "GB/s", &result, json_object());
  }
  memory_arrays_destroy(&arrays);
  return status;
}

/* Measures the exchange. Rates are of the bytes that one rank sends to the others. */
static uly_status measure_alltoall(bench *b, int64_t block) {
  bench_result result;
  int64_t ranks = uly_world_size(), bytes = block * ranks;
  char *send = bench_random(bytes, ULY_F32, 1), *receive = bench_random(bytes, ULY_F32, 2);
  uly_status status = uly_mesh_agree(b->world, send && receive ? ULY_OK : ULY_ERR_MEMORY);
  if (status == ULY_OK) {
    bench_alltoall a = {.send = send, .receive = receive, .block = block};
    bench_work work = {
        .run = bench_run_alltoall, .context = &a, .amount = (double)block * (double)(ranks - 1)};
    status = bench_compare(b, &work, NULL, &result);
  }
  if (status == ULY_OK) {
    bench_print(b, "alltoall", "GB/s", &result,
                json_pack("{s:I}", "sent_bytes", (json_int_t)(block * (ranks - 1))));
  }
  free(send);
  free(receive);
  return status;
}

uly_status bench_ceiling(bench *b) {
  static const int64_t blocks[] = {64 << 10, 1 << 20, 16 << 20}; /* bytes to each other rank */
  bench_use_threads(b);
  uly_status status = measure_gemms(b, ULY_F32);
  if (status == ULY_OK) status = measure_gemms(b, ULY_BF16);
  if (status == ULY_OK) status = measure_memory(b);
  for (int i = 0; i < 3 && status == ULY_OK && uly_world_size() > 1; i++) {
    status = measure_alltoall(b, blocks[i]);
  }
  return status;
}
