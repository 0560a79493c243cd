/* Local attention, forward and backward, against the GEMM ceiling of the same storage type: oneDNN's
 * matmul at 2048^3, measured before and after each case in the same run. One line of JSON each. Causal
 * pairs count once; backward counts five products, whatever the kernel repeats.
 *
 *   bench_attention [TOKENS]      (threads: OMP_NUM_THREADS) */
#include <dnnl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ulysses.h"

enum { GEMM = 2048, REPEATS = 5 };

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Ends the program unless ok. */
static void check(int ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "bench_attention: %s: %s\n", what, uly_last_error());
  uly_abort(1);
  abort(); /* not reached: tells analyzers that check does not return */
}

/* GFLOP/s of the best of REPEATS runs. */
static double ceiling(uly_dtype dtype) {
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  dnnl_dims_t dims = {GEMM, GEMM}, strides = {GEMM, 1};
  dnnl_memory_desc_t desc;
  dnnl_matmul_desc_t op;
  dnnl_primitive_desc_t made;
  dnnl_primitive_t matmul;
  dnnl_memory_t memory[3];
  int ok = !dnnl_engine_create(&engine, dnnl_cpu, 0) &&
           !dnnl_stream_create(&stream, engine, dnnl_stream_default_flags) &&
           !dnnl_memory_desc_init_by_strides(&desc, 2, dims,
                                             dtype == ULY_BF16 ? dnnl_bf16 : dnnl_f32, strides) &&
           !dnnl_matmul_desc_init(&op, &desc, &desc, NULL, &desc) &&
           !dnnl_primitive_desc_create(&made, &op, NULL, engine, NULL) &&
           !dnnl_primitive_create(&matmul, made);
  if (!ok) return 0; /* no bf16 on this CPU */
  for (int i = 0; i < 3; i++) {
    void *x;
    check(!dnnl_memory_create(&memory[i], &desc, engine, DNNL_MEMORY_ALLOCATE), "oneDNN memory");
    check(!dnnl_memory_get_data_handle(memory[i], &x), "oneDNN memory");
    memset(x, 0, (size_t)GEMM * GEMM * (dtype == ULY_BF16 ? 2 : 4));
  }
  dnnl_exec_arg_t args[3] = {
      {DNNL_ARG_SRC, memory[0]}, {DNNL_ARG_WEIGHTS, memory[1]}, {DNNL_ARG_DST, memory[2]}};
  double best = 1e30;
  for (int i = 0; i < REPEATS; i++) {
    double start = now();
    check(!dnnl_primitive_execute(matmul, stream, 3, args) && !dnnl_stream_wait(stream), "oneDNN");
    double seconds = now() - start;
    if (i > 0 && seconds < best) best = seconds; /* the first one warms up */
  }
  for (int i = 0; i < 3; i++) dnnl_memory_destroy(memory[i]);
  dnnl_primitive_destroy(matmul);
  dnnl_primitive_desc_destroy(made);
  dnnl_stream_destroy(stream);
  dnnl_engine_destroy(engine);
  return 2.0 * GEMM * GEMM * GEMM / best * 1e-9;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

/* Fills with values of about 0.1 of either type. */
static void *filled(int64_t bytes, uly_dtype dtype) {
  char *x = malloc((size_t)bytes);
  check(x != NULL, "no memory");
  uint16_t half = 0x3dcc;
  float whole = 0.1f;
  for (int64_t i = 0; i < bytes; i += dtype == ULY_BF16 ? 2 : 4)
    memcpy(x + i, dtype == ULY_BF16 ? (void *)&half : (void *)&whole, dtype == ULY_BF16 ? 2 : 4);
  return x;
}

static void report(const char *pass, const uly_attention_desc *desc, double flops, double *seconds,
                   double peak) {
  qsort(seconds, REPEATS, sizeof *seconds, by_size);
  double achieved = flops / seconds[REPEATS / 2] * 1e-9;
  printf(
      "{\"bench\": \"attention\", \"pass\": \"%s\", \"dtype\": \"%s\", \"tokens\": %lld, "
      "\"q_heads\": %d, \"kv_heads\": %d, \"head_dim\": %d, \"gflops\": %.1f, "
      "\"ceiling_gflops\": %.1f, \"ratio\": %.3f, \"spread\": %.3f}\n",
      pass, desc->dtype == ULY_BF16 ? "bf16" : "f32", (long long)desc->num_tokens,
      desc->num_q_heads, desc->num_kv_heads, desc->head_dim, achieved, peak, achieved / peak,
      (seconds[REPEATS - 1] - seconds[0]) / seconds[REPEATS / 2]);
  fflush(stdout);
}

static void bench(uly_mesh *mesh, int64_t tokens, int head_dim, uly_dtype dtype) {
  uly_attention_desc desc = {.num_tokens = tokens,
                             .num_q_heads = 2,
                             .num_kv_heads = 1,
                             .head_dim = head_dim,
                             .dtype = dtype,
                             .mask = {.kind = ULY_MASK_CAUSAL}};
  uly_attention *plan = NULL;
  check(!uly_attention_create(mesh, &desc, &plan), "plan");
  uly_attention_bytes bytes = uly_attention_get_bytes(plan);
  void *qkv = filled(bytes.qkv_heads, dtype), *d_qkv = filled(bytes.qkv_heads, dtype);
  void *o = filled(bytes.o_heads, dtype), *d_o = filled(bytes.o_heads, dtype);
  float *lse = filled(bytes.lse, ULY_F32);
  void *workspace = filled(bytes.workspace, ULY_F32);
  double forward[REPEATS], backward[REPEATS], before = ceiling(dtype);
  for (int i = -1; i < REPEATS; i++) {
    double start = now();
    check(!uly_attention_local_forward(plan, qkv, o, lse), "forward");
    double middle = now();
    check(!uly_attention_local_backward(plan, qkv, o, lse, d_o, d_qkv, workspace), "backward");
    if (i < 0) continue;
    forward[i] = middle - start;
    backward[i] = now() - middle;
  }
  double after = ceiling(dtype), peak = before > after ? before : after;
  double pairs = (double)tokens * (double)(tokens + 1) / 2;
  double product = 2.0 * head_dim * pairs * desc.num_q_heads;
  if (peak > 0) {
    report("forward", &desc, 2 * product, forward, peak);
    report("backward", &desc, 5 * product, backward, peak);
  }
  free(qkv), free(d_qkv), free(o), free(d_o), free(lse), free(workspace);
  uly_attention_destroy(plan);
}

int main(int argc, char **argv) {
  uly_mesh *mesh = NULL;
  check(!uly_init(&argc, &argv) && !uly_mesh_create(NULL, (uly_mesh_desc){0}, &mesh), "mesh");
  int64_t tokens = argc > 1 ? strtoll(argv[1], NULL, 10) : 8192;
  for (int dtype = 0; dtype < 2; dtype++)
    for (int head_dim = 32; head_dim <= 128; head_dim *= 2)
      bench(mesh, tokens, head_dim, (uly_dtype)dtype);
  uly_mesh_destroy(mesh);
  uly_finalize();
  return 0;
}
