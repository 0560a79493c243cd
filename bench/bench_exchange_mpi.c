/* The exchange of Q, K and V against a bare MPI_Alltoall of the same bytes, alternating in one run.
 * One line of JSON for each size; bytes are what a rank sends to others.
 *
 *   mpirun -n P bench_exchange */
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#include "ulysses.h"

enum { REPEATS = 15 };

/* Ends the program unless ok. */
static void check(int ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "bench_exchange: %s: %s\n", what, uly_last_error());
  uly_abort(1);
  abort(); /* not reached: tells analyzers that check does not return */
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

/* Median over repeats of the slowest rank's seconds. */
static double median(double *seconds) {
  MPI_Allreduce(MPI_IN_PLACE, seconds, REPEATS, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  qsort(seconds, REPEATS, sizeof *seconds, by_size);
  return seconds[REPEATS / 2];
}

static void bench(uly_mesh *mesh, int64_t tokens) {
  int size = uly_mesh_size(mesh);
  uly_attention_desc desc = {.num_tokens = tokens,
                             .num_q_heads = 4 * size,
                             .num_kv_heads = 2 * size,
                             .head_dim = 64,
                             .dtype = ULY_BF16};
  uly_attention *plan = NULL;
  check(!uly_attention_create(mesh, &desc, &plan), "plan");
  uly_attention_bytes bytes = uly_attention_get_bytes(plan);
  char *send = malloc((size_t)bytes.qkv_tokens), *receive = malloc((size_t)bytes.qkv_heads);
  check(send && receive && bytes.qkv_tokens == bytes.qkv_heads, "buffers");
  memset(send, 1, (size_t)bytes.qkv_tokens);
  memset(receive, 2, (size_t)bytes.qkv_heads);
  int block = (int)(bytes.qkv_tokens / size);
  double exchange[REPEATS], bare[REPEATS];
  for (int i = -2; i < REPEATS; i++) {
    MPI_Barrier(MPI_COMM_WORLD);
    double start = MPI_Wtime();
    check(!uly_attention_qkv_to_heads(plan, ULY_TRAFFIC_ATTENTION_FORWARD, send, receive), "send");
    double middle = MPI_Wtime();
    MPI_Barrier(MPI_COMM_WORLD);
    double restart = MPI_Wtime();
    MPI_Alltoall(send, block, MPI_BYTE, receive, block, MPI_BYTE, MPI_COMM_WORLD);
    double end = MPI_Wtime();
    if (i < 0) continue;
    exchange[i] = middle - start;
    bare[i] = end - restart;
  }
  double sent = (double)block * (size - 1), ours = median(exchange), mpi = median(bare);
  if (uly_mesh_rank(mesh) == 0)
    printf(
        "{\"bench\": \"exchange\", \"ranks\": %d, \"tokens\": %lld, \"sent_bytes\": %.0f, "
        "\"gb_per_s\": %.2f, \"alltoall_gb_per_s\": %.2f, \"ratio\": %.3f}\n",
        size, (long long)tokens, sent, sent / ours * 1e-9, sent / mpi * 1e-9, mpi / ours);
  free(send);
  free(receive);
  uly_attention_destroy(plan);
}

int main(int argc, char **argv) {
  uly_mesh *mesh = NULL;
  check(!uly_init(&argc, &argv) && !uly_mesh_create(NULL, (uly_mesh_desc){0}, &mesh), "mesh");
  int64_t size = uly_mesh_size(mesh);
  for (int64_t tokens = 1024; tokens <= 65536; tokens *= 4) bench(mesh, tokens * size);
  uly_mesh_destroy(mesh);
  uly_finalize();
  return 0;
}
