/* Matrix product through oneDNN (C API, 2.x). The product is cut into tiles whose shape depends on
 * the product's shape alone; each tile is one single-threaded call, and threads share out the tiles.
 * So results do not depend on the number of threads, and oneDNN's own threading is never used.
 *
 * Primitives (generated code for one tile shape) are made once and kept; each thread has memory
 * handles of its own and a scratchpad. What oneDNN cannot do on this CPU (bf16 before AVX-512) is
 * done by the reference. */
#include <dnnl.h>
#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "ops/ops.h"

enum { TILE_M = 256, TILE_N = 512, NUM_SLOTS = 1024, NUM_ARGS = 4 };

typedef struct shape {
  int64_t m, n, k, lda, ldb, ldc;
  int trans_a, trans_b, accumulate, dtype, c_dtype, pad;
} shape;

typedef struct primitive {
  shape key;
  dnnl_primitive_t kernel; /* NULL: oneDNN cannot do this shape */
  int64_t scratch_bytes;
  dnnl_memory_t *memory; /* [threads][NUM_ARGS]: a, b, c, scratchpad */
  bool used;
} primitive;

static dnnl_engine_t engine;
static primitive *table; /* open addressing, NUM_SLOTS */
static int num_primitives;
static int num_threads;
static dnnl_stream_t *streams; /* one for each thread */
static void **scratch;         /* one for each thread, scratch_capacity bytes */
static int64_t scratch_capacity;

#define DNN_TRY(call)                                                                       \
  do {                                                                                      \
    dnnl_status_t dnn_status_ = (call);                                                     \
    if (dnn_status_ != dnnl_success)                                                        \
      ULY_FAIL(ULY_ERR_INTERNAL, "oneDNN: %s returned status %d", #call, (int)dnn_status_); \
  } while (0)

static void clear_table(void) {
  for (int i = 0; i < NUM_SLOTS; i++) {
    primitive *p = &table[i];
    if (!p->used || !p->kernel) continue;
    for (int j = 0; j < num_threads * NUM_ARGS; j++)
      if (p->memory[j]) dnnl_memory_destroy(p->memory[j]);
    free(p->memory);
    dnnl_primitive_destroy(p->kernel);
  }
  memset(table, 0, NUM_SLOTS * sizeof *table);
  num_primitives = 0;
}

/* Room for the primitives of one product, and for as many threads as may run. What is held for each
 * thread is made anew when there are more than ever before. */
static uly_status prepare(int threads) {
  if (!engine) DNN_TRY(dnnl_engine_create(&engine, dnnl_cpu, 0));
  if (!table && !(table = calloc(NUM_SLOTS, sizeof *table)))
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for the table of matrix products");
  if (threads > num_threads || num_primitives + 4 > NUM_SLOTS / 2) clear_table();
  if (threads <= num_threads) return ULY_OK;
  dnnl_stream_t *more_streams = realloc(streams, (size_t)threads * sizeof *streams);
  if (more_streams) streams = more_streams;
  void **more_scratch = realloc(scratch, (size_t)threads * sizeof *scratch);
  if (more_scratch) scratch = more_scratch;
  if (!more_streams || !more_scratch)
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for the streams of %d threads", threads);
  for (; num_threads < threads; num_threads++) {
    scratch[num_threads] = NULL;
    DNN_TRY(dnnl_stream_create(&streams[num_threads], engine, dnnl_stream_default_flags));
  }
  scratch_capacity = 0;
  return ULY_OK;
}

static dnnl_data_type_t data_type(int dtype) { return dtype == ULY_BF16 ? dnnl_bf16 : dnnl_f32; }

static uly_status matrix(dnnl_memory_desc_t *desc, int64_t rows, int64_t cols, int64_t ld,
                         int trans, int dtype) {
  dnnl_dims_t dims = {rows, cols};
  dnnl_dims_t strides = {trans ? 1 : ld, trans ? ld : 1};
  DNN_TRY(dnnl_memory_desc_init_by_strides(desc, 2, dims, data_type(dtype), strides));
  return ULY_OK;
}

static uly_status grow_scratch(int64_t bytes) {
  if (bytes <= scratch_capacity) return ULY_OK;
  scratch_capacity = 0;
  for (int t = 0; t < num_threads; t++) {
    free(scratch[t]);
    scratch[t] = aligned_alloc(64, (size_t)((bytes + 63) / 64 * 64));
    if (!scratch[t])
      ULY_FAIL(ULY_ERR_MEMORY, "cannot allocate %lld bytes of scratch for a matrix product",
               (long long)bytes);
  }
  scratch_capacity = bytes;
  return ULY_OK;
}

static uly_status make_kernel(primitive *p) {
  const shape *s = &p->key;
  dnnl_memory_desc_t desc[NUM_ARGS];
  ULY_TRY(matrix(&desc[0], s->m, s->k, s->lda, s->trans_a, s->dtype));
  ULY_TRY(matrix(&desc[1], s->k, s->n, s->ldb, s->trans_b, s->dtype));
  ULY_TRY(matrix(&desc[2], s->m, s->n, s->ldc, 0, s->c_dtype));
  dnnl_matmul_desc_t op;
  DNN_TRY(dnnl_matmul_desc_init(&op, &desc[0], &desc[1], NULL, &desc[2]));
  dnnl_primitive_attr_t attr;
  DNN_TRY(dnnl_primitive_attr_create(&attr));
  DNN_TRY(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user));
  dnnl_post_ops_t post = NULL;
  if (s->accumulate) {
    DNN_TRY(dnnl_post_ops_create(&post));
    DNN_TRY(dnnl_post_ops_append_sum(post, 1.0f));
    DNN_TRY(dnnl_primitive_attr_set_post_ops(attr, post));
  }
  dnnl_primitive_desc_t desc_made = NULL;
  int threads = omp_get_max_threads();
  omp_set_num_threads(1); /* the blocking that oneDNN chooses is that of one thread */
  dnnl_status_t status = dnnl_primitive_desc_create(&desc_made, &op, attr, engine, NULL);
  if (status == dnnl_success) status = dnnl_primitive_create(&p->kernel, desc_made);
  omp_set_num_threads(threads);
  if (post) dnnl_post_ops_destroy(post);
  dnnl_primitive_attr_destroy(attr);
  if (status == dnnl_unimplemented) return ULY_OK;
  DNN_TRY(status);

  desc[3] = *dnnl_primitive_desc_query_md(desc_made, dnnl_query_scratchpad_md, 0);
  p->scratch_bytes = (int64_t)dnnl_memory_desc_get_size(&desc[3]);
  dnnl_primitive_desc_destroy(desc_made);
  p->memory = calloc((size_t)num_threads * NUM_ARGS, sizeof *p->memory);
  if (!p->memory) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the handles of a matrix product");
  for (int t = 0; t < num_threads; t++)
    for (int i = 0; i < NUM_ARGS; i++)
      DNN_TRY(dnnl_memory_create(&p->memory[t * NUM_ARGS + i], &desc[i], engine, DNNL_MEMORY_NONE));
  return grow_scratch(p->scratch_bytes);
}

/* FNV-1a over the key's words. */
static uint64_t hash(const shape *key) {
  const unsigned char *bytes = (const unsigned char *)key;
  uint64_t h = 14695981039346656037u;
  for (size_t i = 0; i < sizeof *key; i++) h = (h ^ bytes[i]) * 1099511628211u;
  return h;
}

static uly_status find(const shape *key, primitive **out) {
  uint64_t slot = hash(key) % NUM_SLOTS;
  while (table[slot].used && memcmp(&table[slot].key, key, sizeof *key) != 0)
    slot = (slot + 1) % NUM_SLOTS;
  primitive *p = &table[slot];
  *out = p;
  if (p->used) return ULY_OK;
  p->key = *key;
  p->used = true;
  uly_status status = make_kernel(p);
  p->used = status == ULY_OK; /* a slot without handles is never found */
  num_primitives += p->used;
  return status;
}

static dnnl_status_t run_tile(const primitive *p, int thread, const void *a, const void *b,
                              void *c) {
  dnnl_memory_t *memory = &p->memory[thread * NUM_ARGS];
  dnnl_memory_set_data_handle(memory[0], (void *)(uintptr_t)a);
  dnnl_memory_set_data_handle(memory[1], (void *)(uintptr_t)b);
  dnnl_memory_set_data_handle(memory[2], c);
  dnnl_memory_set_data_handle(memory[3], scratch[thread]);
  dnnl_exec_arg_t exec[NUM_ARGS] = {{DNNL_ARG_SRC, memory[0]},
                                    {DNNL_ARG_WEIGHTS, memory[1]},
                                    {DNNL_ARG_DST, memory[2]},
                                    {DNNL_ARG_SCRATCHPAD, memory[3]}};
  return dnnl_primitive_execute(p->kernel, streams[thread], NUM_ARGS, exec);
}

/* oneDNN's older f32 kernels keep a pointer to their workspace in the stack pointer for a while (oneDNN issue 4845,
 * mended in 2026). A signal that is handled then writes its frame into the heap. So signals wait until the thread's
 * tiles are done. */
static void hold_signals(sigset_t *before) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, before);
}

/* Tiles of one size cover a dimension: the last one is shorter. */
static int64_t num_tiles(int64_t total, int64_t tile) { return (total + tile - 1) / tile; }

uly_status uly__matmul_onednn(const uly__matmul *args) {
  if (args->m == 0 || args->n == 0) return ULY_OK;
  if (args->k == 0) return uly__matmul_ref(args);
  ULY_TRY(prepare(omp_get_max_threads()));
  int64_t rows = num_tiles(args->m, TILE_M), cols = num_tiles(args->n, TILE_N);
  primitive *kernels[2][2]; /* [last row of tiles][last column of tiles] */
  for (int last_m = 0; last_m < 2; last_m++)
    for (int last_n = 0; last_n < 2; last_n++) {
      shape key;
      memset(&key, 0, sizeof key);
      key.m = last_m ? args->m - (rows - 1) * TILE_M : TILE_M;
      key.n = last_n ? args->n - (cols - 1) * TILE_N : TILE_N;
      key.k = args->k;
      key.lda = args->lda, key.ldb = args->ldb, key.ldc = args->ldc;
      key.trans_a = args->trans_a, key.trans_b = args->trans_b;
      key.accumulate = args->accumulate, key.dtype = args->dtype, key.c_dtype = args->c_dtype;
      kernels[last_m][last_n] = NULL;
      if ((!last_m && rows == 1) || (!last_n && cols == 1)) continue;
      ULY_TRY(find(&key, &kernels[last_m][last_n]));
      if (!kernels[last_m][last_n]->kernel) return uly__matmul_ref(args);
    }
  dnnl_status_t failed = dnnl_success;
#pragma omp parallel
  {
    sigset_t before;
    hold_signals(&before);
#pragma omp for schedule(static)
    for (int64_t tile = 0; tile < rows * cols; tile++) {
      int64_t row = tile / cols, col = tile % cols, i = row * TILE_M, j = col * TILE_N;
      const primitive *p = kernels[row == rows - 1][col == cols - 1];
      const void *a = uly__at(args->a, args->dtype, args->trans_a ? i : i * args->lda);
      const void *b = uly__at(args->b, args->dtype, args->trans_b ? j * args->ldb : j);
      void *c = uly__at(args->c, args->c_dtype, i * args->ldc + j);
      dnnl_status_t status = run_tile(p, omp_get_thread_num(), a, b, c);
      if (status != dnnl_success) {
#pragma omp atomic write
        failed = status;
      }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
  }
  DNN_TRY(failed);
  return ULY_OK;
}
