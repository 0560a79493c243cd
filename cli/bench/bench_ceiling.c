/* ulysses bench ceiling: measures what the machine can do. The lines have a figure and no ceiling,
 * since the figure is itself a ceiling. All ranks measure at the same time, and their rates are
 * added. */
#include <omp.h>
#include <stdlib.h>

#include "bench/bench.h"
#include "common/try.h"
#include "measure/ceiling.h"
#include "measure/measure_mpi.h"

/* Measures matrix products of a type, or nothing if the CPU does not support the type. */
static uly_status measure_gemm(bench *b, uly_dtype dtype) {
  static const measure_result nothing;
  gemm *product = NULL;
  uly_status status = gemm_create(b->world, dtype, &product);
  json_t *more =
      json_pack("{s:s, s:i}", "dtype", dtype == ULY_BF16 ? "bf16" : "f32", "size", (int)GEMM_SIZE);
  measure_work work = gemm_work(product);
  if (status == ULY_OK && product)
    status = bench_report(b, "matmul", "GFLOP/s", &work, NULL, more);
  else if (status == ULY_OK)
    bench_print(b, "matmul", "GFLOP/s", &nothing, more);
  else
    json_decref(more);
  gemm_destroy(product);
  return status;
}

/* Measures with one thread, then with all threads. */
static uly_status measure_gemms(bench *b, uly_dtype dtype) {
  int *threads = &b->options.run.config.threads, all = *threads;
  uly_status status = ULY_OK;
  for (int num = 1; num <= all && status == ULY_OK; num += all > 1 ? all - 1 : 1) {
    *threads = num;
    omp_set_num_threads(num);
    status = measure_gemm(b, dtype);
  }
  *threads = all;
  omp_set_num_threads(all);
  return status;
}

static uly_status measure_arrays(const bench *b, memory_arrays *arrays) {
  const measure_work triad = memory_triad(arrays), reading = memory_read(arrays);
  TRY(bench_report(b, "memory_triad", "GB/s", &triad, NULL, json_object()));
  return bench_report(b, "memory_read", "GB/s", &reading, NULL, json_object());
}

static uly_status measure_memory(const bench *b) {
  memory_arrays arrays;
  int64_t bytes = b->options.array_bytes / measure_ranks_of_node();
  uly_status status = uly_mesh_agree(b->world, memory_arrays_create(bytes, &arrays));
  if (status == ULY_OK) status = measure_arrays(b, &arrays);
  memory_arrays_destroy(&arrays);
  return status;
}

/* Measures the exchange. Rates count the bytes that one rank sends to the others. */
static uly_status measure_alltoall(const bench *b, int64_t block) {
  int64_t ranks = uly_world_size(), bytes = block * ranks, sent = block * (ranks - 1);
  char *send = measure_random(bytes, ULY_F32, 1), *receive = measure_random(bytes, ULY_F32, 2);
  measure_alltoall_args a = {.send = send, .receive = receive, .block = block};
  measure_work work = {.run = measure_run_alltoall, .context = &a, .amount = (double)sent};
  uly_status status = uly_mesh_agree(b->world, send && receive ? ULY_OK : ULY_ERR_MEMORY);
  if (status == ULY_OK)
    status = bench_report(b, "alltoall", "GB/s", &work, NULL,
                          json_pack("{s:I}", "sent_bytes", (json_int_t)sent));
  free(send);
  free(receive);
  return status;
}

uly_status bench_ceiling(bench *b) {
  static const int64_t blocks[] = {64 << 10, 1 << 20, 16 << 20}; /* bytes to each other rank */
  measure_use_threads(&b->options.run.config.threads);
  TRY(measure_gemms(b, ULY_F32));
  TRY(measure_gemms(b, ULY_BF16));
  TRY(measure_memory(b));
  for (int i = 0; i < 3 && uly_world_size() > 1; i++) TRY(measure_alltoall(b, blocks[i]));
  return ULY_OK;
}
