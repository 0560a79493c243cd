/* ulysses plan: what a training run holds and sends, computed by the code that the run uses. */
#include "plan/plan.h"

#include "common/format.h"
#include "common/try.h"
#include "options/run_command.h"
#include "plan/plan_options.h"

/* The ranks that need most. The numbers of the run are the same on all ranks. */
typedef struct plan_result {
  int largest, busiest;   /* ranks */
  uly_plan_report memory; /* of the rank that holds most */
  uly_plan_report sent;   /* of the rank that sends most */
} plan_result;

static uly_status plan_rank(const uly_train_config *config, const uly_mesh_desc *ranks, int rank,
                            uly_plan_report *report) {
  uly_mesh *mesh = NULL;
  TRY(uly_mesh_create_offline(ranks, rank, &mesh));
  uly_status status = uly_plan(mesh, config, report);
  uly_mesh_destroy(mesh);
  return status;
}

/* Finds the number of ranks to plan: each data-parallel group is like the first, so with many ranks
 * one group is enough. */
static uly_status find_num_planned(const uly_mesh_desc *ranks, int *num) {
  uly_mesh_desc group = *ranks;
  uly_mesh *mesh = NULL;
  if (*num <= 256) return ULY_OK;
  group.dp = 1;
  TRY(uly_mesh_create_offline(&group, 0, &mesh));
  *num = uly_mesh_size(mesh);
  uly_mesh_destroy(mesh);
  return ULY_OK;
}

static uly_status make_plan(const uly_train_config *config, const uly_mesh *mesh,
                            plan_result *result) {
  uly_mesh_desc ranks = {.size = sizeof ranks,
                         .dp = uly_mesh_dp(mesh),
                         .ulysses = uly_mesh_ulysses(mesh),
                         .ring = uly_mesh_ring(mesh),
                         .tp = uly_mesh_tp(mesh),
                         .gather = uly_mesh_gather(mesh)};
  int64_t most_held = -1, most_sent = -1;
  int num = uly_mesh_size(mesh);
  *result = (plan_result){0};
  TRY(find_num_planned(&ranks, &num));
  for (int rank = 0; rank < num; rank++) {
    uly_plan_report report = {.size = sizeof report};
    TRY(plan_rank(config, &ranks, rank, &report));
    int64_t held = sum_bytes(report.arena_bytes, ULY_NUM_ARENAS);
    int64_t sent = sum_bytes(report.sent_bytes, ULY_NUM_TRAFFIC);
    if (held > most_held) {
      most_held = held;
      result->memory = report;
      result->largest = rank;
    }
    if (sent > most_sent) {
      most_sent = sent;
      result->sent = report;
      result->busiest = rank;
    }
  }
  return ULY_OK;
}

static void print_text(const uly_train_config *config, const uly_mesh *mesh,
                       const plan_result *plan) {
  printf("model       %s, %lld parameters\n", config->model, (long long)plan->memory.num_params);
  print_ranks(config, mesh);
  print_step_size(config, uly_mesh_dp(mesh));
  print_mask(config);
  printf("flops       %.4g per step, over all ranks\n", plan->memory.flops);
  printf("\nmemory in bytes of the rank that holds most: rank %d, %lld tokens of each sequence\n",
         plan->largest, (long long)plan->memory.tokens);
  print_arena_bytes(plan->memory.arena_bytes);
  if (config->stash) print_stash_bytes(plan->memory.stash_bytes);
  printf("\nbytes sent per step by the rank that sends most: rank %d\n", plan->busiest);
  print_traffic_bytes(plan->sent.sent_bytes);
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
      "\"tp\": %d, \"num_params\": %lld, \"tokens\": %lld, \"flops\": %.17g, \"arena_bytes\": ",
      uly_mesh_size(mesh), uly_mesh_dp(mesh), uly_mesh_sp(mesh), uly_mesh_ulysses(mesh),
      uly_mesh_ring(mesh), uly_mesh_gather(mesh), uly_mesh_tp(mesh), (long long)memory->num_params,
      (long long)memory->tokens, memory->flops);
  print_bytes(arena_name, memory->arena_bytes, ULY_NUM_ARENAS);
  printf(", \"peak_bytes\": %lld, \"stash_bytes\": %lld, \"sent_bytes\": ",
         (long long)sum_bytes(memory->arena_bytes, ULY_NUM_ARENAS), (long long)memory->stash_bytes);
  print_bytes(traffic_name, plan->sent.sent_bytes, ULY_NUM_TRAFFIC);
  puts("}");
}

uly_status plan_print(const uly_train_config *config, const uly_mesh *mesh) {
  plan_result plan;
  TRY(make_plan(config, mesh, &plan));
  print_text(config, mesh, &plan);
  return ULY_OK;
}

static uly_status print_for_mesh(const plan_options *o, const uly_mesh *mesh) {
  plan_result plan;
  TRY(make_plan(&o->run.config, mesh, &plan));
  if (o->json)
    print_json(mesh, &plan);
  else
    print_text(&o->run.config, mesh, &plan);
  return ULY_OK;
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
