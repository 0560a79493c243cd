/* ulysses plan: what a training run holds and sends, computed by the code that the run uses. */
#include "plan/plan.h"
#include "options/messages.h"

#include "commands/commands.h"
#include "common/format.h"
#include "common/say.h"

/* The ranks that need most. The numbers of the run are the same on all ranks. */
typedef struct plan_result {
  int num_ranks, dp, sp;
  int largest, busiest;   /* ranks */
  uly_plan_report memory; /* of the rank that holds most */
  uly_plan_report sent;   /* of the rank that sends most */
} plan_result;

static uly_status plan_rank(const options *o, const uly_mesh_desc *ranks, int rank,
                            uly_plan_report *report, plan_result *result) {
  uly_mesh *mesh = NULL;
  uly_status status = uly_mesh_create_offline(ranks, rank, &mesh);
  if (status == ULY_OK) status = uly_plan(mesh, &o->config, report);
  result->num_ranks = uly_mesh_size(mesh);
  uly_mesh_destroy(mesh);
  return status;
}

/* Returns the number of ranks to plan: each data-parallel group is like the first, so with many ranks
 * one group is enough. */
static int find_num_planned(const plan_result *result) {
  return result->num_ranks <= 256 ? result->num_ranks : result->sp;
}

static uly_status make_plan(const options *o, int dp, int sp, plan_result *result) {
  uly_mesh_desc ranks = {.size = sizeof ranks, .dp = dp, .sp = sp};
  int64_t most_held = -1, most_sent = -1;
  *result = (plan_result){.num_ranks = 1, .dp = dp, .sp = sp};
  for (int rank = 0; rank < find_num_planned(result); rank++) {
    uly_plan_report report = {.size = sizeof report};
    uly_status status = plan_rank(o, &ranks, rank, &report, result);
    if (status != ULY_OK) return status;
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

static void print_text(const options *o, const plan_result *plan) {
  printf("model       %s, %lld parameters\n", o->config.model, (long long)plan->memory.num_params);
  print_ranks(&o->config, plan->num_ranks, plan->dp, plan->sp);
  print_step_size(&o->config, plan->dp);
  print_mask(&o->config);
  printf("flops       %.4g per step, over all ranks\n", plan->memory.flops);
  printf("\nmemory in bytes of the rank that holds most: rank %d, %lld tokens of each sequence\n",
         plan->largest, (long long)plan->memory.tokens);
  print_arena_bytes(plan->memory.arena_bytes);
  if (o->config.stash) print_stash_bytes(plan->memory.stash_bytes);
  printf("\nbytes sent per step by the rank that sends most: rank %d\n", plan->busiest);
  print_traffic_bytes(plan->sent.sent_bytes);
}

static void print_json(const plan_result *plan) {
  printf(
      "{\"ranks\": %d, \"dp\": %d, \"sp\": %d, \"num_params\": %lld, \"tokens\": %lld, "
      "\"flops\": %.17g, \"arena_bytes\": {",
      plan->num_ranks, plan->dp, plan->sp, (long long)plan->memory.num_params,
      (long long)plan->memory.tokens, plan->memory.flops);
  for (int i = 0; i < ULY_NUM_ARENAS; i++) {
    printf("%s\"%s\": %lld", i ? ", " : "", uly_arena_name((uly_arena)i),
           (long long)plan->memory.arena_bytes[i]);
  }
  printf("}, \"peak_bytes\": %lld, \"stash_bytes\": %lld, \"sent_bytes\": {",
         (long long)sum_bytes(plan->memory.arena_bytes, ULY_NUM_ARENAS),
         (long long)plan->memory.stash_bytes);
  for (int i = 0; i < ULY_NUM_TRAFFIC; i++) {
    printf("%s\"%s\": %lld", i ? ", " : "", uly_traffic_name((uly_traffic)i),
           (long long)plan->sent.sent_bytes[i]);
  }
  printf("}}\n");
}

uly_status plan_print(const options *o, int dp, int sp) {
  plan_result plan;
  uly_status status = make_plan(o, dp, sp, &plan);
  if (status == ULY_OK) print_text(o, &plan);
  return status;
}

int command_plan(int argc, char *const *argv) {
  options o;
  plan_result plan;
  uly_status status = options_init(&o);
  if (status == ULY_OK) status = options_parse(&o, PLAN, argc, argv);
  if (status == ULY_OK && o.print_config) status = options_write_yaml(&o, PLAN, stdout);
  if (status != ULY_OK) {
    print_failure(o.error);
  } else if (!o.print_config) {
    status = make_plan(&o, o.mesh.dp, o.mesh.sp ? o.mesh.sp : 1, &plan);
    if (status != ULY_OK) {
      print_failure(last_failure());
    } else if (o.json) {
      print_json(&plan);
    } else {
      print_text(&o, &plan);
    }
  }
  options_free(&o);
  return uly_status_exit_code(status);
}
