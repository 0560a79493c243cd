/* The ceiling of matrix products: oneDNN's matmul (C API, 2.x) of square matrices that fit into no
 * core's caches and are large enough for its best blocking. */
#include <dnnl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "job/signals.h"
#include "measure/ceiling.h"
#include "measure/measure_mpi.h"

enum { NUM_MATRICES = 3 };

struct gemm {
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  dnnl_primitive_t matmul;
  dnnl_memory_t memory[NUM_MATRICES]; /* [GEMM_SIZE, GEMM_SIZE] each; C = A B */
};

static uly_status make_memory(gemm *product, const dnnl_memory_desc_t *desc, uly_dtype dtype) {
  int64_t bytes = (int64_t)dnnl_memory_desc_get_size(desc);
  for (int i = 0; i < NUM_MATRICES; i++) {
    void *x, *values = measure_random(bytes, dtype, (uint64_t)i);
    if (!values) return ULY_ERR_MEMORY;
    bool ok =
        !dnnl_memory_create(&product->memory[i], desc, product->engine, DNNL_MEMORY_ALLOCATE) &&
        !dnnl_memory_get_data_handle(product->memory[i], &x);
    if (ok) memcpy(x, values, (size_t)bytes);
    free(values);
    if (!ok) return uly_fail(ULY_ERR_MEMORY, "no memory for the matrices of the ceiling");
  }
  return ULY_OK;
}

/* Makes the product; matmul stays NULL if oneDNN cannot compute it on this CPU. */
static uly_status make(gemm *product, uly_dtype dtype) {
  dnnl_dims_t dims = {GEMM_SIZE, GEMM_SIZE}, strides = {GEMM_SIZE, 1};
  dnnl_data_type_t type = dtype == ULY_BF16 ? dnnl_bf16 : dnnl_f32;
  dnnl_memory_desc_t desc;
  dnnl_matmul_desc_t op;
  dnnl_primitive_desc_t made;
  if (dnnl_engine_create(&product->engine, dnnl_cpu, 0) ||
      dnnl_stream_create(&product->stream, product->engine, dnnl_stream_default_flags) ||
      dnnl_memory_desc_init_by_strides(&desc, 2, dims, type, strides) ||
      dnnl_matmul_desc_init(&op, &desc, &desc, NULL, &desc)) {
    return uly_fail(ULY_ERR_INTERNAL, "oneDNN cannot be used on this machine");
  }
  if (dnnl_primitive_desc_create(&made, &op, NULL, product->engine, NULL)) return ULY_OK;
  if (dnnl_primitive_create(&product->matmul, made)) product->matmul = NULL;
  dnnl_primitive_desc_destroy(made);
  return product->matmul ? make_memory(product, &desc, dtype) : ULY_OK;
}

uly_status gemm_create(uly_mesh *world, uly_dtype dtype, gemm **out) {
  gemm *product = calloc(1, sizeof *product);
  *out = product;
  uly_status status =
      product ? make(product, dtype) : uly_fail(ULY_ERR_MEMORY, "no memory for the ceiling");
  status = uly_mesh_agree(world, status);
  bool is_missing = !product || !product->matmul;
  if (measure_sum(is_missing) > 0) {
    gemm_destroy(product);
    *out = NULL;
  }
  return status;
}

uly_status gemm_create_for_run(uly_mesh *world, uly_dtype dtype, gemm **out) {
  uly_machine machine = {.size = sizeof machine};
  uly_machine_look(world, &machine);
  return gemm_create(world, machine.multiplies_bf16 ? dtype : ULY_F32, out);
}

void gemm_destroy(gemm *product) {
  if (!product) return;
  for (int i = 0; i < NUM_MATRICES; i++)
    if (product->memory[i]) dnnl_memory_destroy(product->memory[i]);
  if (product->matmul) dnnl_primitive_destroy(product->matmul);
  if (product->stream) dnnl_stream_destroy(product->stream);
  if (product->engine) dnnl_engine_destroy(product->engine);
  free(product);
}

/* Masks signals in all threads that the product will use: oneDNN's f32 kernels crash if a signal is
 * handled while they run (its issue 4845). The library protects its own products. */
static void mask_signals(int how) {
  sigset_t caught;
  sigemptyset(&caught);
  for (const int *number = signals_caught; *number; number++) sigaddset(&caught, *number);
#pragma omp parallel
  pthread_sigmask(how, &caught, NULL);
}

static uly_status run(void *context) {
  const gemm *product = context;
  dnnl_exec_arg_t args[NUM_MATRICES] = {{DNNL_ARG_SRC, product->memory[0]},
                                        {DNNL_ARG_WEIGHTS, product->memory[1]},
                                        {DNNL_ARG_DST, product->memory[2]}};
  mask_signals(SIG_BLOCK);
  bool failed = dnnl_primitive_execute(product->matmul, product->stream, NUM_MATRICES, args) ||
                dnnl_stream_wait(product->stream);
  mask_signals(SIG_UNBLOCK);
  if (failed) return uly_fail(ULY_ERR_INTERNAL, "oneDNN cannot run the product of the ceiling");
  return ULY_OK;
}

measure_work gemm_work(gemm *product) {
  double size = GEMM_SIZE;
  return (measure_work){
      .run = run, .context = product, .amount = 2 * size * size * size, .adds_up = true};
}
