/* ulysses bench exchange: the all-to-all of Q, K and V, and that of O, against a bare MPI_Alltoall
 * of the same bytes. Rates are of the bytes that one rank sends to the others; where ranks have
 * unlike shares (tokens or heads that they do not divide), of the largest share, for both. */
#include <stdlib.h>

#include "bench/bench.h"
#include "measure/bench_mpi.h"

typedef struct exchange_case {
  uly_attention *plan;
  void *from, *to; /* token side and head side, either way */
} exchange_case;

static uly_status exchange_qkv(void *context) {
  const exchange_case *c = context;
  return uly_attention_qkv_to_heads(c->plan, ULY_TRAFFIC_ATTENTION_FORWARD, c->from, c->to);
}

static uly_status exchange_o(void *context) {
  const exchange_case *c = context;
  return uly_attention_o_to_tokens(c->plan, ULY_TRAFFIC_ATTENTION_FORWARD, c->from, c->to);
}

/* Measures one exchange. `bytes` are those of the larger side on this rank. */
static uly_status measure(const bench *b, uly_attention *plan, bool is_qkv, int64_t bytes) {
  bench_result result;
  int64_t ranks = uly_world_size();
  int64_t most = (int64_t)bench_largest((double)bytes), block = (most + ranks - 1) / ranks;
  exchange_case c = {.plan = plan,
                     .from = bench_random(block * ranks, ULY_F32, 1),
                     .to = bench_random(block * ranks, ULY_F32, 2)};
  uly_status status = uly_mesh_agree(b->world, c.from && c.to ? ULY_OK : ULY_ERR_MEMORY);
  double sent = (double)(block * (ranks - 1));
  bench_alltoall a = {.send = c.from, .receive = c.to, .block = block};
  bench_work work = {.run = is_qkv ? exchange_qkv : exchange_o, .context = &c, .amount = sent};
  bench_work ceiling = {.run = bench_run_alltoall, .context = &a, .amount = sent};
  if (status == ULY_OK) status = bench_compare(b, &work, &ceiling, &result);
  if (status == ULY_OK) {
    bench_print(b, is_qkv ? "qkv" : "o", "GB/s", &result,
                json_pack("{s:I}", "sent_bytes", (json_int_t)sent));
  }
  free(c.from);
  free(c.to);
  return status;
}

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

uly_status bench_exchange(bench *b) {
  const options *o = &b->options;
  if (uly_world_size() < 2) {
    return uly_fail(ULY_ERR_CONFIG,
                    "bench exchange: one rank has nothing to exchange: start it with mpirun -n 2");
  }
  bench_use_threads(b);
  bench_choose_heads(b);
  uly_attention_desc desc = {.size = sizeof desc,
                             .num_tokens = o->config.seq_len,
                             .num_q_heads = o->desc.num_q_heads,
                             .num_kv_heads = o->desc.num_kv_heads,
                             .head_dim = o->desc.head_dim,
                             .dtype = o->config.dtype};
  uly_attention *plan = NULL;
  uly_status status = uly_attention_create(b->world, &desc, &plan);
  if (status == ULY_OK) {
    uly_attention_bytes bytes = {.size = sizeof bytes};
    status = uly_attention_get_bytes(plan, &bytes);
    if (status == ULY_OK)
      status = measure(b, plan, true, larger(bytes.qkv_tokens, bytes.qkv_heads));
    if (status == ULY_OK) {
      status = measure(b, plan, false, larger(bytes.o_tokens, bytes.o_heads));
    }
  }
  uly_attention_destroy(plan);
  return status;
}
