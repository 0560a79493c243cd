/* ulysses bench exchange: the all-to-all of Q, K and V, and that of O, against a bare MPI_Alltoall
 * of the same bytes. Rates count the bytes that one rank sends to the others; if the ranks cannot
 * share the tokens or heads equally, both rates count the largest share. */
#include <stdlib.h>

#include "bench/bench.h"
#include "common/try.h"
#include "measure/measure_mpi.h"

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

/* Measures one exchange between two sides. This rank holds the given number of bytes of each. */
static uly_status measure(const bench *b, uly_attention *plan, bool is_qkv, int64_t one_side,
                          int64_t other_side) {
  int64_t ranks = uly_world_size(), larger = one_side > other_side ? one_side : other_side;
  int64_t most = (int64_t)measure_largest((double)larger), block = (most + ranks - 1) / ranks;
  int64_t sent = block * (ranks - 1);
  exchange_case c = {.plan = plan,
                     .from = measure_random(block * ranks, ULY_F32, 1),
                     .to = measure_random(block * ranks, ULY_F32, 2)};
  measure_alltoall_args a = {.send = c.from, .receive = c.to, .block = block};
  measure_work work = {
      .run = is_qkv ? exchange_qkv : exchange_o, .context = &c, .amount = (double)sent};
  measure_work ceiling = {.run = measure_run_alltoall, .context = &a, .amount = (double)sent};
  uly_status status = uly_mesh_agree(b->world, c.from && c.to ? ULY_OK : ULY_ERR_MEMORY);
  if (status == ULY_OK)
    status = bench_report(b, is_qkv ? "qkv" : "o", "GB/s", &work, &ceiling,
                          json_pack("{s:I}", "sent_bytes", (json_int_t)sent));
  free(c.from);
  free(c.to);
  return status;
}

static uly_status measure_both(const bench *b, uly_attention *plan) {
  uly_attention_bytes bytes = {.size = sizeof bytes};
  TRY(uly_attention_get_bytes(plan, &bytes));
  TRY(measure(b, plan, true, bytes.qkv_tokens, bytes.qkv_heads));
  return measure(b, plan, false, bytes.o_tokens, bytes.o_heads);
}

uly_status bench_exchange(bench *b) {
  uly_attention *plan = NULL;
  if (uly_world_size() < 2)
    return uly_fail(
        ULY_ERR_CONFIG,
        "bench exchange: a single rank has nothing to exchange: start it with mpirun -n 2");
  measure_use_threads(&b->options.run.config.threads);
  uly_attention_desc desc = bench_describe_heads(b);
  TRY(uly_attention_create(b->world, &desc, &plan));
  uly_status status = measure_both(b, plan);
  uly_attention_destroy(plan);
  return status;
}
