/* Tests saves of a checkpoint onto a disk that fails: the step is not lost, what was saved before
 * stays good, nothing half-written is picked up, and all ranks say what one of them met. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "checkpoint_testing.h"

/* The linker gives calls of pwrite and fsync to these (-Wl,--wrap): a disk that fails when it is
 * told to. Only the thread that saves writes while a step runs. */
static atomic_int writes_left = -1; /* until the next one fails; -1: none fails */
static int write_error, sync_error; /* errno; write_error 0: short writes */
static pthread_t main_thread;

ssize_t __real_pwrite(int fd, const void *bytes, size_t count, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t count, off_t offset);
int __real_fsync(int fd);
int __wrap_fsync(int fd);

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t count, off_t offset) {
  if (writes_left > 0) writes_left--;
  if (writes_left != 0) return __real_pwrite(fd, bytes, count, offset);
  if (write_error == 0) return __real_pwrite(fd, bytes, count > 1000 ? 1000 : count, offset);
  errno = write_error;
  return -1;
}

/* Of the thread that saves: rank 0 syncs headers before it starts. */
int __wrap_fsync(int fd) {
  if (sync_error == 0 || pthread_equal(pthread_self(), main_thread)) return __real_fsync(fd);
  errno = sync_error;
  return -1;
}

/* A save that fails leaves the last one good; what is half-written is not picked up. */
static void test_failed_save(void **state) {
  (void)state;
  uly_train_config config = base_config(ULY_F32);
  uly_trainer *trainer = make(mesh, &config);
  assert_ok(uly_trainer_save(trainer, out_dir));
  char path[512], inside[600], command[1024];
  latest(path);
  snprintf(inside, sizeof inside, "%s/config.json/below", path); /* a file stands in the way */
  assert_fails(uly_trainer_save(trainer, inside), ULY_ERR_IO, "config.json");
  assert_ok(uly_trainer_load(trainer, path));
  steps(trainer, 1);
  snprintf(command, sizeof command,
           "mkdir '%s/.step-0000000009.tmp' '%s/step-12' '%s/step-000000000x'", out_dir, out_dir,
           out_dir);
  if (rank == 0) assert_int_equal(system(command), 0);
  latest(path);
  assert_non_null(strstr(path, "step-0000000000"));
  assert_ok(uly_checkpoint_latest("/nowhere/at/all", path, sizeof path));
  assert_string_equal(path, "");
  uly_trainer_destroy(trainer);
  remove_scratch_folder(out_dir);
}

/* A save that fails beside a step: the step is not lost, the checkpoints before it are good. */
static void test_failed_save_beside_training(void **state) {
  (void)state;
  uly_train_config config = base_config(ULY_F32);
  uly_trainer *trainer = make(mesh, &config);
  assert_ok(uly_trainer_save(trainer, out_dir));
  steps(trainer, 1);
  assert_ok(uly_trainer_save_start(trainer, out_dir));
  char command[1024], path[512];
  /* A folder that cannot be renamed over: as a full disk would, it fails at the end. */
  snprintf(command, sizeof command, "touch '%s/step-0000000001'", out_dir);
  if (rank == 0) assert_int_equal(system(command), 0);
  barrier();
  steps(trainer, 1);
  assert_fails(uly_trainer_save_finish(trainer), ULY_ERR_IO, "step-0000000001");
  assert_ok(uly_trainer_save_finish(trainer)); /* told once */
  assert_int_equal(uly_trainer_steps_done(trainer), 2);
  snprintf(path, sizeof path, "%s/step-0000000000", out_dir);
  uly_checkpoint_info info = {.size = sizeof info};
  assert_ok(uly_checkpoint_verify(path, &info));
  uly_trainer_destroy(trainer);
  remove_scratch_folder(out_dir);
}

/* The disk of one rank fails in the middle of a save beside a step. */
static void check_failing_disk(int failing, int after, int error, int error_of_sync) {
  uly_train_config config = base_config(ULY_F32);
  uly_trainer *trainer = make(mesh, &config);
  assert_ok(uly_trainer_save(trainer, out_dir));
  steps(trainer, 1);
  if (rank == failing) {
    write_error = error;
    writes_left = error ? after : -1;
    sync_error = error_of_sync;
  }
  /* Headers are written before the thread starts: rank 0 has more writes. */
  uly_status status = uly_trainer_save_start(trainer, out_dir);
  double loss = steps(trainer, 1);
  if (status == ULY_OK) status = uly_trainer_save_finish(trainer);
  writes_left = -1;
  write_error = sync_error = 0;
  char where[32], path[512], hidden[512];
  snprintf(where, sizeof where, uly_mesh_size(mesh) > 1 ? "rank %d: cannot" : "cannot", failing);
  assert_fails(status, ULY_ERR_IO, where);
  assert_fails(status, ULY_ERR_IO, error == ENOSPC ? "No space left" : "Input/output error");
  assert_true(loss > 0 && uly_trainer_steps_done(trainer) == 2);
  latest(path);
  assert_non_null(strstr(path, "step-0000000000"));
  uly_checkpoint_info info = {.size = sizeof info};
  assert_ok(uly_checkpoint_verify(path, &info));
  snprintf(hidden, sizeof hidden, "%s/.step-0000000001.tmp", out_dir);
  assert_int_not_equal(access(hidden, F_OK), 0);
  assert_ok(uly_trainer_save(trainer, out_dir)); /* the disk works again */
  latest(path);
  assert_non_null(strstr(path, "step-0000000002"));
  assert_ok(uly_checkpoint_verify(path, &info));
  uly_trainer_destroy(trainer);
  remove_scratch_folder(out_dir);
}

static void test_failing_disk(void **state) {
  (void)state;
  for (int failing = 0; failing < uly_mesh_size(mesh); failing++) {
    check_failing_disk(failing, 5, ENOSPC, 0);
    check_failing_disk(failing, 12, EIO, 0);
    check_failing_disk(failing, 0, 0, EIO);
  }
}

/* An update that fails on one rank leaves states that belong to no step: they cannot be saved over
 * good ones. */
static void test_failing_update(void **state) {
  (void)state;
  uly_train_config config = base_config(ULY_F32);
  config.offload = offload_dir;
  uly_trainer *trainer = make(mesh, &config);
  steps(trainer, 1);
  assert_ok(uly_trainer_save(trainer, out_dir));
  char path[512];
  latest(path);
  if (rank == uly_mesh_size(mesh) - 1) {
    writes_left = 3;
    write_error = EIO;
  }
  uly_step_report report = {.size = sizeof report};
  assert_fails(uly_trainer_step(trainer, &report), ULY_ERR_IO, "Input/output error");
  writes_left = -1;
  write_error = 0;
  assert_fails(uly_trainer_save(trainer, out_dir), ULY_ERR_CONFIG, "halfway");
  assert_fails(uly_trainer_step(trainer, &report), ULY_ERR_CONFIG, "halfway");
  assert_ok(uly_trainer_load(trainer, path));
  steps(trainer, 1);
  uly_trainer_destroy(trainer);
  remove_scratch_folder(out_dir);
}

/* Writes that take a part of what they are given are gone on with. */
static void test_short_writes(void **state) {
  (void)state;
  uly_train_config config = base_config(ULY_F32);
  uly_trainer *trainer = make(mesh, &config);
  writes_left = 0;
  assert_ok(uly_trainer_save(trainer, out_dir));
  writes_left = -1;
  char path[512];
  latest(path);
  uly_checkpoint_info info = {.size = sizeof info};
  assert_ok(uly_checkpoint_verify(path, &info));
  assert_ok(uly_trainer_load(trainer, path));
  uly_trainer_destroy(trainer);
  remove_scratch_folder(out_dir);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_failed_save),  cmocka_unit_test(test_failed_save_beside_training),
      cmocka_unit_test(test_failing_disk), cmocka_unit_test(test_failing_update),
      cmocka_unit_test(test_short_writes),
  };
  begin_checkpoints(&argc, &argv);
  main_thread = pthread_self();
  return end_checkpoints(cmocka_run_group_tests(tests, NULL, NULL));
}
