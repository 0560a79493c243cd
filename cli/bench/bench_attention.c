/* ulysses bench attention: attention on the heads of each rank, between the exchanges, against the
 * matrix products of the same storage type with as many threads. Each pair of a query and a key
 * that sees it counts once: forward counts two products (Q K^T, P V), backward five (arXiv
 * 2307.08691, section 3.1), whatever the kernel repeats. */
#include <stdlib.h>

#include "bench/bench.h"
#include "common/try.h"
#include "measure/ceiling.h"

typedef struct attention_case {
  uly_attention *plan;
  void *qkv, *d_qkv; /* [N, w] */
  void *o, *d_o;     /* [N, v] */
  void *softmax;     /* [query heads, N] */
  void *workspace;
  gemm *product; /* the ceiling; NULL: none */
} attention_case;

static uly_status forward(void *context) {
  const attention_case *c = context;
  return uly_attention_local_forward(c->plan, 0, c->qkv, c->o, c->softmax);
}

static uly_status backward(void *context) {
  const attention_case *c = context;
  return uly_attention_local_backward(c->plan, 0, c->qkv, c->o, c->softmax, c->d_o, c->d_qkv,
                                      c->workspace);
}

/* Makes the blocks that attention is limited to, and leaves *blocks NULL if it is not limited. */
static uly_status create_blocks(const bench *b, int64_t num_tokens, uly_block_layout **blocks) {
  const uly_sparse *sparse = &b->options.run.config.sparse;
  if (sparse->pattern == ULY_SPARSE_NONE) return ULY_OK;
  return uly_mesh_agree(
      b->world, uly_block_layout_create(sparse, b->options.mask.kind, num_tokens, 1, blocks));
}

static uly_status create_plan(bench *b, attention_case *c) {
  const bench_options *o = &b->options;
  int64_t window = o->run.config.window;
  uly_block_layout *blocks = NULL;
  uly_attention_desc desc = bench_describe_heads(b);
  TRY(create_blocks(b, desc.num_tokens, &blocks));
  uly_mask mask = {.size = sizeof mask,
                   .kind = o->mask.kind,
                   .window = window > 0 ? window : 0, /* the model sets no window */
                   .blocks = blocks};
  desc.masks = &mask;
  uly_status status = uly_attention_create(b->world, &desc, &c->plan);
  uly_block_layout_destroy(blocks);
  return status;
}

static uly_status create(bench *b, attention_case *c) {
  uly_dtype dtype = b->options.run.config.dtype;
  TRY(create_plan(b, c));
  uly_attention_bytes bytes = {.size = sizeof bytes};
  TRY(uly_attention_get_bytes(c->plan, &bytes));
  uint64_t seed = (uint64_t)uly_world_rank() << 8;
  c->qkv = measure_random(bytes.qkv_heads, dtype, seed + 1);
  c->d_qkv = measure_random(bytes.qkv_heads, dtype, seed + 2);
  c->o = measure_random(bytes.o_heads, dtype, seed + 3);
  c->d_o = measure_random(bytes.o_heads, dtype, seed + 4);
  c->softmax = measure_random(bytes.softmax, ULY_F32, seed + 5);
  c->workspace = measure_random(bytes.workspace, ULY_F32, seed + 6);
  bool ok = c->qkv && c->d_qkv && c->o && c->d_o && c->softmax && c->workspace;
  return uly_mesh_agree(b->world, ok ? ULY_OK : ULY_ERR_MEMORY);
}

static void destroy(attention_case *c) {
  gemm_destroy(c->product);
  free(c->qkv);
  free(c->d_qkv);
  free(c->o);
  free(c->d_o);
  free(c->softmax);
  free(c->workspace);
  uly_attention_destroy(c->plan);
}

static uly_status measure(const bench *b, attention_case *c, bool is_forward) {
  double pairs = uly_attention_pairs(c->plan, 0);
  measure_work work = {.run = is_forward ? forward : backward,
                       .context = c,
                       .amount = (is_forward ? 2 : 5) * 2.0 * b->options.desc.head_dim * pairs};
  measure_work ceiling = gemm_work(c->product);
  return bench_report(b, is_forward ? "forward" : "backward", "GFLOP/s", &work,
                      c->product ? &ceiling : NULL,
                      json_pack("{s:f, s:f}", "flops", work.amount, "pairs", pairs));
}

static uly_status measure_both(bench *b, attention_case *c) {
  measure_use_threads(&b->options.run.config.threads);
  TRY(create(b, c));
  TRY(gemm_create_for_run(b->world, b->options.run.config.dtype, &c->product));
  /* Forward runs first, since backward needs its outputs. */
  TRY(measure(b, c, true));
  return measure(b, c, false);
}

uly_status bench_attention(bench *b) {
  attention_case c = {0};
  uly_status status = measure_both(b, &c);
  destroy(&c);
  return status;
}
