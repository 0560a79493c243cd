/* Uses an attention plan in a program that starts MPI itself and has its own attention kernel.
 *
 * The program starts MPI and passes a communicator to the library. A callback runs between the two
 * exchanges: plain softmax attention that knows nothing about ranks. Its outputs and gradients are
 * compared with those of the library's kernels. 02_attention_mpi.md explains the program. */
#include <math.h>
#include <mpi.h>
#include <stdlib.h>
#include <ulysses.h>

enum { N = 500, HQ = 6, HKV = 2, D = 16, SIZE = N * HQ * D };

/* Ends the program after a failure. All ranks get the same failure from a collective call. */
static void check(uly_status status) {
  if (status == ULY_OK) return;
  fprintf(stderr, "%s\n", uly_last_error());
  MPI_Abort(MPI_COMM_WORLD, uly_status_exit_code(status));
}

static float dot(const float *x, const float *y) {
  float sum = 0;
  for (int i = 0; i < D; i++) sum += x[i] * y[i];
  return sum;
}

static void add(float *x, float factor, const float *y) {
  for (int i = 0; i < D; i++) x[i] += factor * y[i];
}

/* Returns row `token` of a head, in rows that are `stride` elements apart. */
static float *row(const void *x, int64_t stride, int64_t token, int head) {
  return (float *)x + token * stride + head * D;
}

/* Computes O = softmax(scale Q K^T) V with a causal mask, on all tokens of my heads, and the
 * logarithm of each row's sum of exponentials. */
static uly_status my_forward(void *user, const uly_local_attention *a) {
  float p[N];
  for (int h = 0; h < a->num_q_heads; h++)
    for (int64_t i = 0; i < a->num_tokens; i++) {
      int kv = (h + a->group_offset) / a->group_size; /* query heads share key/value heads */
      float *q = row(a->q, a->qkv_stride, i, h), *o = row(a->o, a->o_stride, i, h), sum = 0;
      for (int64_t j = 0; j <= i; j++)
        sum += p[j] = expf(a->scale * dot(q, row(a->k, a->qkv_stride, j, kv)));
      for (int k = 0; k < D; k++) o[k] = 0;
      for (int64_t j = 0; j <= i; j++) add(o, p[j] / sum, row(a->v, a->qkv_stride, j, kv));
      a->lse[h * a->num_tokens + i] = logf(sum);
    }
  ++*(int *)user;
  return ULY_OK;
}

/* Computes dS = P o (dO V^T - row sums of dO o O), and with it dQ = scale dS K, dK = scale dS^T Q
 * and dV = P^T dO. */
static uly_status my_backward(void *user, const uly_local_attention *a) {
  int64_t stride = a->qkv_stride;
  for (int64_t i = 0; i < a->num_tokens; i++) {
    for (int k = 0; k < a->num_q_heads * D; k++) row(a->d_q, stride, i, 0)[k] = 0;
    for (int k = 0; k < a->num_kv_heads * D; k++)
      row(a->d_k, stride, i, 0)[k] = row(a->d_v, stride, i, 0)[k] = 0;
  }
  for (int h = 0; h < a->num_q_heads; h++)
    for (int64_t i = 0; i < a->num_tokens; i++) {
      int kv = (h + a->group_offset) / a->group_size;
      float *q = row(a->q, stride, i, h), *d_o = row(a->d_o, a->o_stride, i, h);
      float delta = dot(d_o, row(a->o, a->o_stride, i, h));
      for (int64_t j = 0; j <= i; j++) {
        float *k = row(a->k, stride, j, kv);
        float p = expf(a->scale * dot(q, k) - a->lse[h * a->num_tokens + i]);
        float d_s = p * (dot(d_o, row(a->v, stride, j, kv)) - delta);
        add(row(a->d_q, stride, i, h), a->scale * d_s, k);
        add(row(a->d_k, stride, j, kv), a->scale * d_s, q);
        add(row(a->d_v, stride, j, kv), p, d_o);
      }
    }
  ++*(int *)user;
  return ULY_OK;
}

/* Returns the largest difference over all ranks; every rank gets the same result. */
static float difference(const float *x, const float *y, int64_t count, MPI_Comm comm) {
  float most = 0;
  for (int64_t i = 0; i < count; i++) most = fmaxf(most, fabsf(x[i] - y[i]));
  MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_FLOAT, MPI_MAX, comm);
  return most;
}

/* Fills x with numbers for my tokens, from `first` on. Each number is a function of token, head and
 * element. */
static void fill(float *x, int64_t first, int64_t count, int heads, double frequency) {
  for (int64_t i = 0; i < count * heads * D; i++)
    x[i] = (float)sin(frequency * (double)(first * heads * D + i));
}

static float q[SIZE], k[SIZE], v[SIZE], d_o[SIZE]; /* [T, heads, D], T <= N */
static float o[2][SIZE], d_q[2][SIZE], d_k[2][SIZE], d_v[2][SIZE];

int main(int argc, char **argv) {
  MPI_Comm comm; /* any communicator will do */
  MPI_Init(&argc, &argv);
  MPI_Comm_split(MPI_COMM_WORLD, 0, 0, &comm);

  int calls = 0;
  uly_mesh *mesh = NULL;
  uly_attention *plan[2] = {NULL, NULL}; /* with the library's kernels, and with mine */
  uly_mask mask = {.size = sizeof mask, .kind = ULY_MASK_CAUSAL};
  uly_attention_desc desc = {.size = sizeof desc,
                             .num_tokens = N,
                             .num_q_heads = HQ,
                             .num_kv_heads = HKV,
                             .head_dim = D,
                             .dtype = ULY_F32,
                             .masks = &mask};
  check(uly_mesh_create_mpi(comm, NULL, &mesh));
  check(uly_attention_create(mesh, &desc, &plan[0]));
  desc.callback = (uly_attention_callback){my_forward, my_backward, &calls};
  check(uly_attention_create(mesh, &desc, &plan[1]));

  const uly_token_run *tokens = uly_attention_tokens(plan[0], NULL);
  int64_t first = tokens->begin, count = tokens->count;
  fill(q, first, count, HQ, 1.0);
  fill(k, first, count, HKV, 1.3);
  fill(v, first, count, HKV, 1.1);
  fill(d_o, first, count, HQ, 0.7);
  for (int i = 0; i < 2; i++) {
    check(uly_attention_forward(plan[i], q, k, v, o[i]));
    check(uly_attention_backward(plan[i], d_o, d_q[i], d_k[i], d_v[i]));
  }
  float forward = difference(o[0], o[1], count * HQ * D, comm);
  float backward = fmaxf(difference(d_q[0], d_q[1], count * HQ * D, comm),
                         fmaxf(difference(d_k[0], d_k[1], count * HKV * D, comm),
                               difference(d_v[0], d_v[1], count * HKV * D, comm)));
  if (uly_mesh_rank(mesh) == 0) {
    printf("%d tokens, %d query heads, %d key/value heads of %d elements\n", N, HQ, HKV, D);
    printf("calls of my functions per rank: %d\n", calls);
    printf("outputs agree with the library's kernels to 1e-5: %s\n",
           forward < 1e-5f ? "yes" : "no");
    printf("gradients agree with the library's kernels to 1e-5: %s\n",
           backward < 1e-5f ? "yes" : "no");
  }
  uly_attention_destroy(plan[0]);
  uly_attention_destroy(plan[1]);
  uly_mesh_destroy(mesh);
  MPI_Comm_free(&comm);
  MPI_Finalize();
  return forward < 1e-5f && backward < 1e-5f ? 0 : 1;
}
