/* ulysses bench step: whole training steps on made-up data, against the matrix products of the same
 * storage type, which all ranks compute at the same time with as many threads. FLOPs are those of
 * the model: recomputation does not count again, and a causal pair counts once. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/bench.h"
#include "common/try.h"
#include "measure/ceiling.h"
#include "measure/measure_mpi.h"

typedef struct step_case {
  uly_mesh *mesh;
  uly_trainer *trainer;
  uly_step_report report; /* of the latest step */
  gemm *product;          /* the ceiling; NULL: none */
  char data[PATH_MAX];    /* path of the data */
  bool owns_data;         /* this rank wrote it */
} step_case;

/* --------------------------------------------------------------------- the data */

static bool write_all(int fd, const void *bytes, size_t count) {
  const char *at = bytes;
  while (count > 0) {
    ssize_t written = write(fd, at, count);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    at += written;
    count -= (size_t)written;
  }
  return true;
}

/* Writes a token shard that models of any vocabulary can read: letters and blanks, the same on all
 * ranks. */
static bool write_shard(int fd, int64_t count) {
  const int32_t header[256] = {20240520, 1, (int32_t)count};
  uint16_t tokens[4096];
  uint32_t state = 1;
  bool ok = write_all(fd, header, sizeof header);
  while (ok && count > 0) {
    int64_t part = count < 4096 ? count : 4096;
    for (int64_t i = 0; i < part; i++) {
      state = state * 1664525 + 1013904223;
      tokens[i] = (uint16_t) "abcdefghijklmnopqrstuvwxyz \n    "[state >> 27];
    }
    ok = write_all(fd, tokens, (size_t)part * sizeof *tokens);
    count -= part;
  }
  return ok;
}

/* Writes the file unless another rank of this machine has done so. */
static uly_status make_data(const char *path, int64_t count, bool *is_mine) {
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0 && errno == EEXIST) return ULY_OK;
  *is_mine = fd >= 0;
  bool ok = fd >= 0 && write_shard(fd, count);
  int error = errno;
  if (fd >= 0 && close(fd) != 0 && ok) {
    ok = false;
    error = errno;
  }
  if (ok) return ULY_OK;
  return uly_fail(ULY_ERR_IO, "the data to measure with cannot be written to '%.200s': %s", path,
                  strerror(error));
}

/* Names the data file. All ranks, including those on other machines, need the same name, so it
 * holds the time of one of them in microseconds. */
static void name_data(const bench *b, char path[PATH_MAX]) {
  const char *folder = getenv("TMPDIR");
  struct timespec time = {0};
  if (b->is_first) clock_gettime(CLOCK_REALTIME, &time);
  long long name = (long long)measure_sum(1e6 * (double)time.tv_sec + 1e-3 * (double)time.tv_nsec);
  snprintf(path, PATH_MAX, "%.3000s/ulysses-bench-%lld.bin", folder && *folder ? folder : "/tmp",
           name);
}

/* Creates a trainer on one sequence of data, which each machine keeps in a temporary file. */
static uly_status create_trainer(const bench *b, step_case *c) {
  uly_train_config config = b->options.run.config;
  name_data(b, c->data);
  if (config.seq_len >= INT32_MAX)
    return uly_fail(
        ULY_ERR_CONFIG,
        "config.seq_len is %lld, but a step can only be measured with fewer than 2^31 tokens",
        (long long)config.seq_len);
  TRY(uly_mesh_agree(b->world, make_data(c->data, config.seq_len + 1, &c->owns_data)));
  config.data = c->data;
  config.eval_data = NULL;
  config.steps = 1 + b->options.repeats;
  return uly_trainer_create(c->mesh, &config, &c->trainer);
}

/* -------------------------------------------------------------------- the steps */

static uly_status step(void *context) {
  step_case *c = context;
  return uly_trainer_step(c->trainer, &c->report);
}

static json_t *sent_json(const int64_t *bytes) {
  json_t *json = json_object();
  for (int i = 0; i < ULY_NUM_TRAFFIC; i++)
    json_object_set_new(json, uly_traffic_name((uly_traffic)i), json_integer(bytes[i]));
  return json;
}

static void print(const bench *b, const step_case *c, const measure_result *result) {
  const uly_step_report *r = &c->report;
  bench_print(b, "step", "GFLOP/s", result,
              json_pack("{s:f, s:I, s:f, s:I, s:o, s:I}", "flops", r->flops, "tokens",
                        (json_int_t)r->tokens, "tokens_per_s", (double)r->tokens / result->seconds,
                        "num_params", (json_int_t)uly_trainer_num_params(c->trainer), "sent_bytes",
                        sent_json(r->sent_bytes), "peak_bytes", (json_int_t)r->peak_bytes));
}

static uly_status measure(const bench *b, step_case *c) {
  measure_result result;
  uly_plan_report plan = {.size = sizeof plan};
  TRY(uly_mesh_agree(b->world, uly_plan(c->mesh, &b->options.run.config, &plan)));
  measure_work work = {.run = step, .context = c, .amount = plan.flops};
  measure_work ceiling = gemm_work(c->product);
  TRY(measure_compare(b->world, (int)b->options.repeats, &work, c->product ? &ceiling : NULL,
                      &result));
  print(b, c, &result);
  return ULY_OK;
}

static uly_status run(bench *b, step_case *c) {
  uly_train_config *config = &b->options.run.config;
  uly_mesh_desc *mesh = &b->options.run.mesh;
  const char *trace = b->options.trace;
  measure_use_threads(&config->threads);
  TRY(uly_mesh_create(mesh, &c->mesh));
  mesh->sp = uly_mesh_sp(c->mesh);
  if (config->batch == 0) config->batch = mesh->dp;
  TRY(create_trainer(b, c));
  TRY(gemm_create_for_run(b->world, config->dtype, &c->product));
  if (trace) TRY(uly_trainer_trace(c->trainer));
  TRY(measure(b, c));
  return trace ? uly_trainer_trace_write(c->trainer, trace) : ULY_OK;
}

uly_status bench_step(bench *b) {
  step_case c = {.report = {.size = sizeof c.report}};
  uly_status status = run(b, &c);
  gemm_destroy(c.product);
  uly_trainer_destroy(c.trainer);
  uly_mesh_destroy(c.mesh);
  measure_barrier(); /* other ranks may still read it */
  if (c.owns_data) unlink(c.data);
  return status;
}
