/* Tests what is kept between forward and backward on disk: the bits are the same as in memory, for
 * every recompute policy, ZeRO stage, storage type and number of blocks, on a disk that is slow and
 * one that takes little at a time; memory is as planned, whatever the number of blocks; each block
 * is written and read once, by training alone; a disk that fails on one rank fails the step on all,
 * and the next step continues. */
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "testing.h"
#include "trainer_access.h"

enum { NUM_STEPS = 3, RING = 2 };

static uly_mesh *mesh;
static int size, rank;
static char text_path[256], config_path[256], folder[300];

/* The linker gives calls of pwrite, pread and posix_fallocate to these (-Wl,--wrap). Only the
 * thread of the stash makes the first two here. */
typedef struct file_calls {
  atomic_int left; /* until one fails; -1: none fails */
  atomic_llong bytes;
} file_calls;

static file_calls writes = {.left = -1}, reads = {.left = -1};
static bool is_full, ends_early, is_slow, takes_little;

ssize_t __real_pwrite(int fd, const void *bytes, size_t count, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t count, off_t offset);
ssize_t __real_pread(int fd, void *bytes, size_t count, off_t offset);
ssize_t __wrap_pread(int fd, void *bytes, size_t count, off_t offset);
int __real_posix_fallocate(int fd, off_t begin, off_t count);
int __wrap_posix_fallocate(int fd, off_t begin, off_t count);

static bool fails(file_calls *calls) {
  struct timespec pause = {.tv_nsec = 3000000};
  if (is_slow) nanosleep(&pause, NULL);
  if (calls->left >= 0 && calls->left-- == 0) return true;
  return false;
}

static ssize_t counted(file_calls *calls, ssize_t bytes) {
  if (bytes > 0) calls->bytes += bytes;
  return bytes;
}

static size_t part(size_t count) { return takes_little && count > 700 ? 700 : count; }

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t count, off_t offset) {
  errno = ENOSPC;
  return fails(&writes) ? -1 : counted(&writes, __real_pwrite(fd, bytes, part(count), offset));
}

/* The stash's file has no name; data are read from files that have one. */
static bool is_stash(int fd) {
  struct stat info;
  return fstat(fd, &info) == 0 && info.st_nlink == 0;
}

ssize_t __wrap_pread(int fd, void *bytes, size_t count, off_t offset) {
  if (!is_stash(fd)) return __real_pread(fd, bytes, count, offset);
  errno = EIO;
  if (fails(&reads)) return ends_early ? 0 : -1;
  return counted(&reads, __real_pread(fd, bytes, part(count), offset));
}

int __wrap_posix_fallocate(int fd, off_t begin, off_t count) {
  return is_full ? ENOSPC : __real_posix_fallocate(fd, begin, count);
}

/* ------------------------------------------------------------------------------- runs */

/* All ranks come here before the file changes. */
static void write_config(bool gpt2, int num_layers) {
  char text[512];
  if (gpt2)
    snprintf(text, sizeof text,
             "{\"model_type\":\"gpt2\",\"n_embd\":40,\"n_layer\":%d,\"n_head\":10,"
             "\"n_positions\":512,\"vocab_size\":257}",
             num_layers);
  else
    snprintf(text, sizeof text,
             "{\"model_type\":\"llama\",\"hidden_size\":36,\"intermediate_size\":50,"
             "\"num_hidden_layers\":%d,\"num_attention_heads\":9,\"num_key_value_heads\":3,"
             "\"head_dim\":6,\"vocab_size\":257,\"max_position_embeddings\":4096,"
             "\"tie_word_embeddings\":false}",
             num_layers);
  if (config_path[0]) remove_scratch_file(config_path);
  write_scratch_file(config_path, "stash.json", text, strlen(text));
}

static uly_train_config base_config(uly_recompute recompute) {
  uly_train_config config = default_config();
  config.model = config_path;
  config.data = config.eval_data = text_path;
  config.eval_windows = 2;
  config.seq_len = 101;
  config.steps = 20;
  config.warmup = 2;
  config.batch = 2;
  config.recompute = recompute;
  config.threads = 1;
  return config;
}

static uly_trainer *make(const uly_train_config *config) {
  uly_trainer *trainer;
  assert_ok(uly_trainer_create(mesh, config, &trainer));
  return trainer;
}

static void assert_same_weights(uly_trainer *a, uly_trainer *b) {
  for (int i = 0; i < a->run.model->params.num; i++) {
    size_t bytes = (size_t)a->run.model->params.list[i].count * 4;
    float *wa = malloc(bytes), *wb = malloc(bytes);
    get_state(a, ULY_STATE_MASTER, i, wa);
    get_state(b, ULY_STATE_MASTER, i, wb);
    if (memcmp(wa, wb, bytes) != 0) fail_msg("%s differs", a->run.model->params.list[i].name);
    free(wa);
    free(wb);
  }
}

/* Checks what a step has written and read: the file once for each micro-batch. In a pipeline, it
 * has room for several of them. */
static void check_transfers(const uly_trainer *on_disk, int64_t file_bytes) {
  if (uly_mesh_pp(mesh) > 1) {
    assert_int_equal(writes.bytes, reads.bytes);
    assert_true(file_bytes == 0 || writes.bytes > 0);
    return;
  }
  assert_int_equal(writes.bytes, on_disk->run.passes * file_bytes);
  assert_int_equal(reads.bytes, on_disk->run.passes * file_bytes);
}

/* The same run with what is kept in memory and on disk; an evaluation on the way, which writes
 * nothing. */
static void compare(uly_train_config config) {
  uly_trainer *in_memory = make(&config);
  config.stash = folder;
  uly_trainer *on_disk = make(&config);
  int64_t file_bytes = uly__stash_file_bytes(&on_disk->run.model->stash);
  for (int step = 0; step < NUM_STEPS; step++) {
    uly_step_report a = {.size = sizeof a}, b = {.size = sizeof b};
    assert_ok(uly_trainer_step(in_memory, &a));
    writes.bytes = reads.bytes = 0;
    assert_ok(uly_trainer_step(on_disk, &b));
    check_transfers(on_disk, file_bytes);
    if (a.loss != b.loss || a.grad_norm != b.grad_norm)
      fail_msg("policy %d, stage %d, step %d: loss %.17g and norm %.17g, in memory %.17g and %.17g",
               (int)config.recompute, config.zero_stage, step + 1, b.loss, b.grad_norm, a.loss,
               a.grad_norm);
    if (step != 1) continue;
    assert_true(eval_loss(in_memory) == eval_loss(on_disk));
    check_transfers(on_disk, file_bytes);
  }
  assert_same_weights(in_memory, on_disk);
  uly_trainer_destroy(in_memory);
  uly_trainer_destroy(on_disk);
}

static void test_same_bits(void **state) {
  (void)state;
  static const int layers[] = {5, 3, 2, 1, 4, 6};
  int turn = 0;
  for (int i = 0; i < 6; i += has_few_cases() ? 5 : 1) {
    write_config(i % 2, layers[i]);
    for (int recompute = 0; recompute < 3; recompute++, turn++) {
      uly_train_config config = base_config((uly_recompute)recompute);
      config.zero_stage = (turn + turn / 4) % 4;
      config.dtype = turn / 3 % 2 ? ULY_BF16 : ULY_F32;
      config.batch = 1 + turn % 2;
      config.reproducible = turn % 3 == 1 && (size & (size - 1)) == 0;
      compare(config);
    }
  }
}

/* The stages of a pipeline, whose micro-batches share the places in memory, on a disk of either
 * speed. */
static void test_stages(void **state) {
  (void)state;
  uly_mesh *whole = mesh;
  if (size == 1) return;
  assert_ok(uly_mesh_create(MESH(.pp = size == 4 ? 2 : size), &mesh));
  write_config(false, 8);
  for (int i = 0; i < 6; i++) {
    uly_train_config config = base_config((uly_recompute)(i % 3));
    is_slow = i / 3 == 1;
    config.zero_stage = i % 4;
    config.batch = 5 - i % 2;
    config.pp_chunks = 1 + i % 2;
    compare(config);
  }
  is_slow = false;
  uly_mesh_destroy(mesh);
  mesh = whole;
}

/* Memory is used only when it is there: waits that are missing show. */
static void test_slow_disk(void **state) {
  (void)state;
  write_config(false, 6);
  is_slow = true;
  for (int recompute = 0; recompute < 3; recompute++) {
    uly_train_config config = base_config((uly_recompute)recompute);
    config.zero_stage = recompute + 1;
    compare(config);
  }
  is_slow = false;
}

static void test_short_transfers(void **state) {
  (void)state;
  write_config(false, 4);
  takes_little = true;
  compare(base_config(ULY_RECOMPUTE_NONE));
  takes_little = false;
}

/* ----------------------------------------------------------------------------- memory */

/* Of a run: as planned. */
static uly_plan_report memory_of(uly_train_config config) {
  uly_mesh *offline;
  uly_plan_report plan = {.size = sizeof plan};
  assert_ok(uly_mesh_create_offline(MESH(.sp = size), rank, &offline));
  assert_ok(uly_plan(offline, &config, &plan));
  uly_mesh_destroy(offline);
  uly_trainer *trainer = make(&config);
  for (int i = 0; i < ULY_NUM_ARENAS; i++)
    assert_int_equal(uly__run_arena_bytes(&trainer->run, (uly_arena)i), plan.arena_bytes[i]);
  uly_trainer_destroy(trainer);
  return plan;
}

/* Activations in memory are those of two blocks however many there are; what memory does not hold
 * is the file. */
static void test_memory(void **state) {
  (void)state;
  static const int layers[] = {1, 2, 3, 6, 12};
  for (int recompute = 0; recompute < 3; recompute++) {
    int64_t of_two = 0, of_third = 0;
    for (int i = 0; i < 5; i++) {
      int L = layers[i];
      write_config(false, L);
      uly_train_config config = base_config((uly_recompute)recompute);
      uly_plan_report in_memory = memory_of(config);
      config.stash = folder;
      uly_plan_report on_disk = memory_of(config);
      int64_t kept = in_memory.arena_bytes[ULY_ARENA_ACTIVATIONS];
      int64_t held = on_disk.arena_bytes[ULY_ARENA_ACTIVATIONS];
      if (L == 2) of_two = kept;
      if (L == 3) of_third = kept - of_two;
      assert_int_equal(held, L > RING ? of_two : kept);
      assert_int_equal(in_memory.stash_bytes, 0);
      /* Buffers in memory begin at multiples of 64 bytes. */
      int64_t bytes = L > RING ? (L - RING) * of_third : 0;
      assert_true(on_disk.stash_bytes <= bytes && on_disk.stash_bytes >= bytes - 63 * (L - 1));
      for (int arena = 0; arena < ULY_NUM_ARENAS; arena++)
        if (arena != ULY_ARENA_ACTIVATIONS)
          assert_int_equal(in_memory.arena_bytes[arena], on_disk.arena_bytes[arena]);
    }
  }
}

/* --------------------------------------------------------------------------- failures */

static void expect_failure(uly_status status, int failing, const char *text) {
  char where[32], name[64];
  snprintf(where, sizeof where, "rank %d: ", failing);
  snprintf(name, sizeof name, "/ulysses-stash-%d-", failing);
  assert_fails(status, ULY_ERR_IO, text);
  assert_fails(status, ULY_ERR_IO, name);
  if (size > 1) assert_fails(status, ULY_ERR_IO, where);
}

/* The disk of one rank fails once: all leave the step with it, their weights as they were. */
static void check_failing_disk(int failing, file_calls *calls, int after, const char *text) {
  uly_train_config config = base_config(ULY_RECOMPUTE_KEEP_ATTENTION);
  config.zero_stage = failing % 4;
  uly_trainer *whole = make(&config);
  config.stash = folder;
  uly_trainer *failed = make(&config);
  uly_step_report a = {.size = sizeof a}, b = {.size = sizeof b};
  assert_ok(uly_trainer_step(whole, &a));
  assert_ok(uly_trainer_step(failed, &b));
  if (rank == failing) calls->left = after;
  expect_failure(uly_trainer_step(failed, &b), failing, text);
  if (rank == failing) assert_int_equal(calls->left, -1);
  for (int step = 0; step < 2; step++) {
    assert_ok(uly_trainer_step(whole, &a));
    assert_ok(uly_trainer_step(failed, &b));
    assert_true(a.loss == b.loss && a.grad_norm == b.grad_norm);
  }
  uly_trainer_destroy(whole);
  uly_trainer_destroy(failed);
}

static void test_failing_disk(void **state) {
  (void)state;
  write_config(false, 6);
  for (int failing = 0; failing < size; failing++) {
    /* 2 sequences of 4 blocks in 2 pieces */
    for (int after = failing; after < 16; after += 5) {
      check_failing_disk(failing, &writes, after, "No space left");
      check_failing_disk(failing, &reads, after, "Input/output error");
    }
    ends_early = true;
    check_failing_disk(failing, &reads, 3, "ends too early");
    ends_early = false;
  }
}

/* Room that is not there is told before the first step. */
static void test_full_disk(void **state) {
  (void)state;
  write_config(false, 4);
  uly_train_config config = base_config(ULY_RECOMPUTE_NONE);
  config.stash = folder;
  for (int failing = 0; failing < size; failing++) {
    uly_trainer *trainer;
    is_full = rank == failing;
    expect_failure(uly_trainer_create(mesh, &config, &trainer), failing, "No space left");
    assert_null(trainer);
  }
  is_full = false;
}

/* Folders may differ from rank to rank, but not whether there is one. */
static void test_different_settings(void **state) {
  (void)state;
  if (size < 2) return;
  uly_train_config config = base_config(ULY_RECOMPUTE_NONE);
  uly_trainer *trainer;
  char own[400];
  snprintf(own, sizeof own, "%s/deeper/%d", folder, rank);
  config.stash = rank == size - 1 ? own : NULL;
  assert_fails(uly_trainer_create(mesh, &config, &trainer), ULY_ERR_CONFIG,
               "a different config.stash");
  config.stash = own;
  uly_trainer_destroy(make(&config));
}

static void remove_folders(void) {
  char command[512];
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  assert_int_equal(system(command), 0);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_same_bits),          cmocka_unit_test(test_slow_disk),
      cmocka_unit_test(test_short_transfers),    cmocka_unit_test(test_memory),
      cmocka_unit_test(test_failing_disk),       cmocka_unit_test(test_full_disk),
      cmocka_unit_test(test_different_settings), cmocka_unit_test(test_stages),
  };
  begin_ranks(&argc, &argv, &mesh);
  size = uly_mesh_size(mesh);
  rank = uly_mesh_rank(mesh);
  write_scratch_text(text_path, "stash.txt", 3000);
  snprintf(folder, sizeof folder, "%s/ulysses-stash-%ld",
           getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (long)getpid());
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  remove_scratch_file(text_path);
  remove_scratch_file(config_path);
  remove_folders();
  return end_ranks(mesh, failed);
}
