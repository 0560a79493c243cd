/* Single-threaded products through oneDNN (C API, 2.x): see products_onednn.h.
 *
 * Primitives (generated code for one shape) are made once and kept; each thread has memory handles
 * of its own and a scratchpad. */
#include "ops/products_onednn.h"

#include <dnnl.h>
#include <dnnl_debug.h>
#include <omp.h>
#include <pthread.h>
#include <stdlib.h>

#include "ops/cpu.h"

enum { FIRST_SLOTS = 256, NUM_ARGS = 4 };

/* A shape without gaps, so that its bytes can be compared. */
typedef struct shape_key {
  int64_t m, n, k, lda, ldb, ldc;
  int trans_a, trans_b, accumulate, dtype, c_dtype, pad;
} shape_key;

struct uly__product {
  shape_key key;
  dnnl_primitive_t kernel; /* NULL: oneDNN cannot do this shape */
  int64_t scratch_bytes;
  dnnl_memory_t *memory; /* [threads][NUM_ARGS]: a, b, c, scratchpad */
};

static dnnl_engine_t engine;
static uly__product **table; /* [num_slots], open addressing, at most half full */
static int num_slots, num_products;
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

static void destroy_product(uly__product *p) {
  if (!p) return;
  for (int i = 0; p->memory && i < num_threads * NUM_ARGS; i++)
    if (p->memory[i]) dnnl_memory_destroy(p->memory[i]);
  free(p->memory);
  if (p->kernel) dnnl_primitive_destroy(p->kernel);
  free(p);
}

static void clear_table(void) {
  for (int i = 0; i < num_slots; i++) {
    destroy_product(table[i]);
    table[i] = NULL;
  }
  num_products = 0;
}

/* Remakes what is held for each thread if there are more threads than ever before. */
uly_status uly__products_begin(void) {
  int threads = omp_get_max_threads();
  if (!engine) DNN_TRY(dnnl_engine_create(&engine, dnnl_cpu, 0));
  if (threads <= num_threads) return ULY_OK;
  clear_table();
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

static uly_status make_kernel(uly__product *p) {
  const shape_key *s = &p->key;
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
  /* oneDNN chooses the blocking for one thread. */
  omp_set_num_threads(1);
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

/* Returns the FNV-1a hash of the key's words. */
static uint64_t hash(const shape_key *key) {
  const unsigned char *bytes = (const unsigned char *)key;
  uint64_t h = 14695981039346656037u;
  for (size_t i = 0; i < sizeof *key; i++) h = (h ^ bytes[i]) * 1099511628211u;
  return h;
}

/* Returns the slot of a shape, which is empty if the shape is new. */
static uly__product **find_slot(uly__product **slots, int num, const shape_key *key) {
  uint64_t i = hash(key) % (uint64_t)num;
  while (slots[i] && memcmp(&slots[i]->key, key, sizeof *key) != 0) i = (i + 1) % (uint64_t)num;
  return &slots[i];
}

static uly_status grow_table(void) {
  int num = num_slots ? 2 * num_slots : FIRST_SLOTS;
  uly__product **slots = calloc((size_t)num, sizeof(uly__product *));
  if (!slots) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the table of matrix products");
  for (int i = 0; i < num_slots; i++)
    if (table[i]) *find_slot(slots, num, &table[i]->key) = table[i];
  free(table);
  table = slots;
  num_slots = num;
  return ULY_OK;
}

static uly_status make_product(const shape_key *key, uly__product **out) {
  uly__product *p = calloc(1, sizeof *p);
  if (!p) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a matrix product");
  p->key = *key;
  uly_status status = make_kernel(p);
  if (status == ULY_OK)
    *out = p;
  else
    destroy_product(p);
  return status;
}

uly_status uly__products_find(uly__product_shape shape, const uly__product **out) {
  shape_key key;
  memset(&key, 0, sizeof key);
  key.m = shape.m, key.n = shape.n, key.k = shape.k;
  key.lda = shape.lda, key.ldb = shape.ldb, key.ldc = shape.ldc;
  key.trans_a = shape.trans_a, key.trans_b = shape.trans_b, key.accumulate = shape.accumulate;
  key.dtype = (int)shape.dtype, key.c_dtype = (int)shape.c_dtype;
  if (2 * num_products >= num_slots) ULY_TRY(grow_table());
  uly__product **slot = find_slot(table, num_slots, &key);
  if (!*slot) {
    ULY_TRY(make_product(&key, slot));
    num_products++;
  }
  *out = (*slot)->kernel ? *slot : NULL;
  return ULY_OK;
}

uly_status uly__products_check(int result) {
  DNN_TRY((dnnl_status_t)result);
  return ULY_OK;
}

int uly__product_run(const uly__product *p, const void *a, const void *b, void *c) {
  int thread = omp_get_thread_num();
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

/* Blocks signals until the thread's products are done: oneDNN's older f32 kernels keep a pointer to
 * their workspace in the stack pointer for a while (oneDNN issue 4845, fixed in 2026), and a signal
 * that is handled then writes its frame into the heap. */
void uly__products_hold_signals(sigset_t *before) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, before);
}

void uly__products_release_signals(const sigset_t *before) {
  pthread_sigmask(SIG_SETMASK, before, NULL);
}

/* The meaning of an instruction set's number depends on the kind of CPU. oneDNN's header names
 * those of x86-64; on aarch64 the same numbers stand for others, which no header names. */
#if defined(__x86_64__)

static bool uses(dnnl_cpu_isa_t isa) {
  int needed = (int)isa;
  return ((int)dnnl_get_effective_cpu_isa() & needed) == needed;
}

bool uly__products_multiply_bf16(void) { return uses(dnnl_cpu_isa_avx512_core_bf16); }

const char *uly__products_isa(void) {
  const char *name = dnnl_cpu_isa2str(dnnl_get_effective_cpu_isa());
  return strncmp(name, "cpu_isa_", 8) == 0 ? name + 8 : name;
}

const char *uly__products_unused(void) {
  static const struct {
    uly__cpu_set set;
    dnnl_cpu_isa_t isa;
    const char *name;
  } sets[] = {{ULY_CPU_AMX, dnnl_cpu_isa_avx512_core_amx, "AMX"},
              {ULY_CPU_AVX512_BF16, dnnl_cpu_isa_avx512_core_bf16, "AVX512-BF16"},
              {ULY_CPU_AVX512, dnnl_cpu_isa_avx512_core, "AVX512"},
              {ULY_CPU_AVX2, dnnl_cpu_isa_avx2, "AVX2"}};
  for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
    if (uly__cpu_has(sets[i].set) && !uses(sets[i].isa)) return sets[i].name;
  return "";
}

#else

bool uly__products_multiply_bf16(void) { return false; }

const char *uly__products_isa(void) {
#if defined(__aarch64__)
  static const struct {
    int isa;
    const char *name;
  } sets[] = {{0x27, "sve_512"}, {0x1f, "sve_512"}, {0xf, "sve_384"},
              {0x7, "sve_256"},  {0x3, "sve_128"},  {0x1, "asimd"}};
  int used = (int)dnnl_get_effective_cpu_isa();
  for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
    if (used == sets[i].isa) return sets[i].name;
#endif
  return "default";
}

const char *uly__products_unused(void) { return ""; }

#endif
