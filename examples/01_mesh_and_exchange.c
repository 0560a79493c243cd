/* Shows the mesh and one exchange: which tokens and heads each rank holds before and after it.
 *
 * Every rank fills its slice of Q, K and V with numbers that say where they belong, sends them to
 * the owners of the heads, checks what has arrived, and sends it back. 01_mesh_and_exchange.md
 * explains the output. */
#include <stdlib.h>
#include <string.h>
#include <ulysses.h>

enum { NUM_TOKENS = 6, NUM_HEADS = 4, QUERY = 0, KEY = 1, VALUE = 2 };

/* Returns a number that identifies a head of a token and is exact in f32. In this program, heads
 * have one element. */
static float encoded(int kind, int64_t token, int head) {
  return (float)(1000 * kind + 10 * token + head);
}

static void check(uly_status status) {
  if (status == ULY_OK) return;
  fprintf(stderr, "%s\n", uly_last_error());
  uly_abort(uly_status_exit_code(status));
}

/* A function that is called for the number at (kind, token, head). */
typedef void visitor(float *number, int kind, int64_t token, int head);

/* Calls visit for each number in some rows of a group. The rows are [count][w], where the w
 * elements are the group's query heads, then its key heads, then its value heads. */
static void visit_rows(float *rows, uly_attention_block group, int64_t first_token, int64_t count,
                       visitor *visit) {
  for (int64_t t = 0; t < count; t++) {
    float *number = rows + t * group.qkv_stride;
    for (int i = 0; i < group.q_count; i++)
      visit(number++, QUERY, first_token + t, group.q_begin + i);
    for (int kind = KEY; kind <= VALUE; kind++)
      for (int i = 0; i < group.kv_count; i++)
        visit(number++, kind, first_token + t, group.kv_begin + i);
  }
}

static void fill(float *number, int kind, int64_t token, int head) {
  *number = encoded(kind, token, head);
}

static int num_wrong = 0;

static void compare(float *number, int kind, int64_t token, int head) {
  num_wrong += *number != encoded(kind, token, head);
}

/* A line of the output: "token.head" for every query, according to its number. */
static char line[1000];

static void print(float *number, int kind, int64_t token, int head) {
  (void)token, (void)head;
  if (kind != QUERY) return;
  size_t used = strlen(line);
  snprintf(line + used, sizeof line - used, " %d.%d", (int)*number / 10, (int)*number % 10);
}

int main(int argc, char **argv) {
  uly_mesh *mesh = NULL;
  uly_attention *plan = NULL;
  check(uly_init(&argc, &argv));
  check(uly_mesh_create(NULL, &mesh)); /* all ranks share one sequence */
  int rank = uly_mesh_rank(mesh), num_ranks = uly_mesh_sp(mesh);

  uly_attention_desc desc = {.size = sizeof desc,
                             .num_tokens = NUM_TOKENS,
                             .num_q_heads = NUM_HEADS,
                             .num_kv_heads = NUM_HEADS,
                             .head_dim = 1};
  check(uly_attention_create(mesh, &desc, &plan));
  uly_attention_bytes bytes = {.size = sizeof bytes};
  check(uly_attention_get_bytes(plan, &bytes));
  float *mine = malloc(bytes.qkv_tokens), *back = malloc(bytes.qkv_tokens);
  float *heads = malloc(bytes.qkv_heads);
  check(uly_mesh_agree(
      mesh, mine && back && heads ? ULY_OK : uly_fail(ULY_ERR_MEMORY, "no memory left")));

  /* Before the exchange: all heads of my tokens, in one part for each rank. */
  const uly_token_run *tokens = uly_attention_tokens(plan, NULL);
  int64_t first = tokens->begin, count = tokens->count;
  for (int p = 0; p < num_ranks; p++) {
    uly_attention_block group = {.size = sizeof group};
    check(uly_attention_get_block(plan, p, &group));
    visit_rows(mine + group.qkv_offset, group, first, count, fill);
    visit_rows(mine + group.qkv_offset, group, first, count, print);
  }
  printf("rank %d before: tokens %d-%d, heads 0-%d:%s\n", rank, (int)first,
         (int)(first + count - 1), NUM_HEADS - 1, line);

  /* After the exchange: all tokens of my heads. */
  uly_attention_block group = {.size = sizeof group};
  check(uly_attention_get_block(plan, rank, &group));
  check(uly_attention_qkv_to_heads(plan, ULY_TRAFFIC_ATTENTION_FORWARD, mine, heads));
  line[0] = '\0';
  visit_rows(heads, group, 0, NUM_TOKENS, print);
  visit_rows(heads, group, 0, NUM_TOKENS, compare);
  printf("rank %d holds:  tokens 0-%d, heads %d-%d:%s\n", rank, NUM_TOKENS - 1, group.q_begin,
         group.q_begin + group.q_count - 1, line);

  /* Exchange them back. */
  check(uly_attention_qkv_to_tokens(plan, ULY_TRAFFIC_ATTENTION_BACKWARD, heads, back));
  printf("rank %d then:   %d of %d numbers wrong; what came back is %s\n", rank, num_wrong,
         (int)(NUM_TOKENS * group.qkv_stride),
         memcmp(mine, back, bytes.qkv_tokens) == 0 ? "what was sent" : "something else");

  free(mine);
  free(back);
  free(heads);
  uly_attention_destroy(plan);
  uly_mesh_destroy(mesh);
  uly_finalize();
  return num_wrong != 0;
}
