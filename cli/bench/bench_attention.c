/* ulysses bench attention: attention on the heads of each rank, between the exchanges, against the
 * matrix products of the same storage type with as many threads. Each pair of a query and a key
 * that sees it counts once: forward counts two products (Q K^T, P V), backward five (arXiv
 * 2307.08691, section 3.1), whatever the kernel repeats. */
#include <stdlib.h>

#include "bench/bench.h"
#include "measure/ceiling.h"

typedef struct attention_case {
  uly_attention *plan;
  void *qkv, *d_qkv; /* [N, w] */
  void *o, *d_o;     /* [N, v] */
  void *softmax;     /* [query heads, N] */
  void *workspace;
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

static uly_status create_plan(const bench *b, attention_case *c) {
  const options *o = &b->options;
  uly_block_layout *blocks = NULL;
  uly_mask mask = o->mask;
  uly_attention_desc desc = {.size = sizeof desc,
                             .num_tokens = o->config.seq_len,
                             .num_q_heads = o->desc.num_q_heads,
                             .num_kv_heads = o->desc.num_kv_heads,
                             .head_dim = o->desc.head_dim,
                             .dtype = o->config.dtype,
                             .masks = &mask};
  if (o->config.sparse.pattern != ULY_SPARSE_NONE) {
    uly_status status =
        uly_block_layout_create(&o->config.sparse, o->mask.kind, desc.num_tokens, 1, &blocks);
    status = uly_mesh_agree(b->world, status);
    if (status != ULY_OK) return status;
  }
  mask.window = o->config.window > 0 ? o->config.window : 0; /* the model sets no window */
  mask.blocks = blocks;
  uly_status status = uly_attention_create(b->world, &desc, &c->plan);
  uly_block_layout_destroy(blocks);
  return status;
}

static uly_status create(const bench *b, attention_case *c) {
  uly_dtype dtype = b->options.config.dtype;
  uly_status status = create_plan(b, c);
  if (status != ULY_OK) return status;
  uly_attention_bytes bytes = {.size = sizeof bytes};
  status = uly_attention_get_bytes(c->plan, &bytes);
  if (status != ULY_OK) return status;
  uint64_t seed = (uint64_t)uly_world_rank() << 8;
  c->qkv = bench_random(bytes.qkv_heads, dtype, seed + 1);
  c->d_qkv = bench_random(bytes.qkv_heads, dtype, seed + 2);
  c->o = bench_random(bytes.o_heads, dtype, seed + 3);
  c->d_o = bench_random(bytes.o_heads, dtype, seed + 4);
  c->softmax = bench_random(bytes.softmax, ULY_F32, seed + 5);
  c->workspace = bench_random(bytes.workspace, ULY_F32, seed + 6);
  bool ok = c->qkv && c->d_qkv && c->o && c->d_o && c->softmax && c->workspace;
  return uly_mesh_agree(b->world, ok ? ULY_OK : ULY_ERR_MEMORY);
}

static void destroy(attention_case *c) {
  free(c->qkv);
  free(c->d_qkv);
  free(c->o);
  free(c->d_o);
  free(c->softmax);
  free(c->workspace);
  uly_attention_destroy(c->plan);
}

static uly_status measure(const bench *b, attention_case *c, gemm *product, bool is_forward) {
  bench_result result;
  const options *o = &b->options;
  double pairs = uly_attention_pairs(c->plan, 0);
  bench_work work = {.run = is_forward ? forward : backward,
                     .context = c,
                     .amount = (is_forward ? 2 : 5) * 2.0 * o->desc.head_dim * pairs};
  bench_work ceiling = product ? gemm_work(product) : (bench_work){0};
  uly_status status = bench_compare(b, &work, product ? &ceiling : NULL, &result);
  if (status != ULY_OK) return status;
  bench_print(b, is_forward ? "forward" : "backward", "GFLOP/s", &result,
              json_pack("{s:f, s:f}", "flops", work.amount, "pairs", pairs));
  return ULY_OK;
}

uly_status bench_attention(bench *b) {
  attention_case c = {0};
  gemm *product = NULL;
  bench_use_threads(b);
  bench_choose_heads(b);
  uly_status status = create(b, &c);
  if (status == ULY_OK) status = gemm_create_for_run(b, b->options.config.dtype, &product);
  /* Forward runs first, since backward needs its outputs. */
  if (status == ULY_OK) status = measure(b, &c, product, true);
  if (status == ULY_OK) status = measure(b, &c, product, false);
  gemm_destroy(product);
  destroy(&c);
  return status;
}
