/* ulysses plan: what a training run holds and sends, computed by the code that the run uses. */
#include "plan/plan.h"

#include <stdlib.h>

#include "common/format.h"
#include "common/try.h"
#include "options/run_command.h"
#include "plan/plan_options.h"

/* A stage: its layers, and the most that any of its ranks holds and sends. */
typedef struct stage_result {
  int num_layers;
  int64_t in_flight, held, sent; /* micro-batches, bytes */
} stage_result;

/* The ranks that need most. The numbers of the run are the same on all ranks. */
typedef struct plan_result {
  int largest, busiest;   /* ranks */
  uly_plan_report memory; /* of the rank that holds most */
  uly_plan_report sent;   /* of the rank that sends most */
  stage_result *stages;   /* [pp] */
  int num_stages;
} plan_result;

/* Adds the plan of a rank. */
static void add_rank(plan_result *result, const uly_mesh *mesh, const uly_plan_report *report) {
  int rank = uly_mesh_rank(mesh);
  int64_t held = sum_bytes(report->arena_bytes, ULY_NUM_ARENAS);
  int64_t sent = sum_bytes(report->sent_bytes, ULY_NUM_TRAFFIC);
  bool is_first = rank == 0;
  if (is_first || held > sum_bytes(result->memory.arena_bytes, ULY_NUM_ARENAS)) {
    result->memory = *report;
    result->largest = rank;
  }
  if (is_first || sent > sum_bytes(result->sent.sent_bytes, ULY_NUM_TRAFFIC)) {
    result->sent = *report;
    result->busiest = rank;
  }
  stage_result *stage = &result->stages[uly_mesh_pp_index(mesh)];
  stage->num_layers = report->num_layers;
  stage->in_flight = report->in_flight;
  if (held > stage->held) stage->held = held;
  if (sent > stage->sent) stage->sent = sent;
}

/* Plans a rank. Each data-parallel group is like the first, so with many ranks one group is
 * enough. */
static uly_status plan_rank(const uly_train_config *config, const uly_mesh *mesh,
                            plan_result *result) {
  uly_plan_report report = {.size = sizeof report};
  if (uly_mesh_size(mesh) > 256 && uly_mesh_dp_index(mesh) > 0) return ULY_OK;
  TRY(uly_plan(mesh, config, &report));
  add_rank(result, mesh, &report);
  return ULY_OK;
}

static uly_status make_plan(const uly_train_config *config, const uly_mesh *mesh,
                            plan_result *result) {
  uly_mesh_desc ranks = {.size = sizeof ranks,
                         .dp = uly_mesh_dp(mesh),
                         .ulysses = uly_mesh_ulysses(mesh),
                         .ring = uly_mesh_ring(mesh),
                         .tp = uly_mesh_tp(mesh),
                         .pp = uly_mesh_pp(mesh),
                         .gather = uly_mesh_gather(mesh)};
  *result = (plan_result){.num_stages = ranks.pp};
  result->stages = calloc((size_t)ranks.pp, sizeof *result->stages);
  if (!result->stages)
    return uly_fail(ULY_ERR_MEMORY, "no memory for a plan of %d stages", ranks.pp);
  for (int rank = 0; rank < uly_mesh_size(mesh); rank++) {
    uly_mesh *of_rank;
    TRY(uly_mesh_create_offline(&ranks, rank, &of_rank));
    uly_status status = plan_rank(config, of_rank, result);
    uly_mesh_destroy(of_rank);
    TRY(status);
  }
  return ULY_OK;
}

/* Prints a line for each stage, and the time in which stages wait for each other. */
static void print_stages(const plan_result *plan) {
  char held[FORMAT_BYTES], sent[FORMAT_BYTES];
  if (plan->num_stages == 1) return;
  printf("\nstages of the pipeline, with the most bytes that any rank of each holds and sends\n");
  for (int s = 0; s < plan->num_stages; s++) {
    const stage_result *of = &plan->stages[s];
    printf("  stage %-3d %4d layers, %3lld micro-batches in flight, %10s held, %10s sent\n", s,
           of->num_layers, (long long)of->in_flight, format_bytes(of->held, held),
           format_bytes(of->sent, sent));
  }
  printf("  bubble    stages wait or idle for %.1f%% of the time of the passes\n",
         100 * plan->memory.bubble);
}

static void print_text(const uly_train_config *config, const uly_mesh *mesh,
                       const plan_result *plan) {
  printf("model       %s, %lld parameters\n", config->model, (long long)plan->memory.num_params);
  print_ranks(config, mesh);
  print_step_size(config, uly_mesh_dp(mesh));
  print_attention(config);
  printf("flops       %.4g per step, over all ranks\n", plan->memory.flops);
  printf("\nmemory in bytes of the rank that holds most: rank %d, %lld tokens of each sequence\n",
         plan->largest, (long long)plan->memory.tokens);
  print_arena_bytes(plan->memory.arena_bytes);
  if (config->stash) print_stash_bytes(plan->memory.stash_bytes);
  printf("\nbytes sent per step by the rank that sends most: rank %d\n", plan->busiest);
  print_traffic_bytes(plan->sent.sent_bytes);
  print_stages(plan);
}

static const char *arena_name(int i) { return uly_arena_name((uly_arena)i); }
static const char *traffic_name(int i) { return uly_traffic_name((uly_traffic)i); }

/* Prints {"name": bytes, ...}. */
static void print_bytes(const char *(*name_of)(int), const int64_t *bytes, int num) {
  for (int i = 0; i < num; i++)
    printf("%s\"%s\": %lld", i ? ", " : "{", name_of(i), (long long)bytes[i]);
  putchar('}');
}

static void print_json(const uly_mesh *mesh, const plan_result *plan) {
  const uly_plan_report *memory = &plan->memory;
  printf(
      "{\"ranks\": %d, \"dp\": %d, \"sp\": %d, \"ulysses\": %d, \"ring\": %d, \"gather\": %d, "
      "\"tp\": %d, \"pp\": %d, \"num_params\": %lld, \"tokens\": %lld, \"flops\": %.17g, "
      "\"arena_bytes\": ",
      uly_mesh_size(mesh), uly_mesh_dp(mesh), uly_mesh_sp(mesh), uly_mesh_ulysses(mesh),
      uly_mesh_ring(mesh), uly_mesh_gather(mesh), uly_mesh_tp(mesh), uly_mesh_pp(mesh),
      (long long)memory->num_params, (long long)memory->tokens, memory->flops);
  print_bytes(arena_name, memory->arena_bytes, ULY_NUM_ARENAS);
  printf(", \"peak_bytes\": %lld, \"stash_bytes\": %lld, \"sent_bytes\": ",
         (long long)sum_bytes(memory->arena_bytes, ULY_NUM_ARENAS), (long long)memory->stash_bytes);
  print_bytes(traffic_name, plan->sent.sent_bytes, ULY_NUM_TRAFFIC);
  printf(", \"bubble\": %.17g, \"stages\": [", memory->bubble);
  for (int s = 0; s < plan->num_stages; s++) {
    const stage_result *of = &plan->stages[s];
    printf("%s{\"layers\": %d, \"in_flight\": %lld, \"peak_bytes\": %lld, \"sent_bytes\": %lld}",
           s ? ", " : "", of->num_layers, (long long)of->in_flight, (long long)of->held,
           (long long)of->sent);
  }
  puts("]}");
}

uly_status plan_print(const uly_train_config *config, const uly_mesh *mesh) {
  plan_result plan;
  uly_status status = make_plan(config, mesh, &plan);
  if (status == ULY_OK) print_text(config, mesh, &plan);
  free(plan.stages);
  return status;
}

static uly_status print_for_mesh(const plan_options *o, const uly_mesh *mesh) {
  plan_result plan;
  if (!o->json) return plan_print(&o->run.config, mesh);
  uly_status status = make_plan(&o->run.config, mesh, &plan);
  if (status == ULY_OK) print_json(mesh, &plan);
  free(plan.stages);
  return status;
}

static uly_status print_plan(options *base) {
  const plan_options *o = (const plan_options *)base;
  uly_mesh *mesh;
  if (base->print_config) return options_write_yaml(base, stdout);
  TRY(uly_mesh_create_offline(&o->run.mesh, 0, &mesh));
  uly_status status = print_for_mesh(o, mesh);
  uly_mesh_destroy(mesh);
  return status;
}

int command_plan(int argc, char *const *argv) {
  plan_options o;
  return run_alone(&o.base, PLAN, argc, argv, print_plan);
}
