/* Tests keeping checkpoints: against a plain model of which ones stay, on random sets of steps;
 * with a process that ends before every single change of the disk; with failures; and with other
 * files beside them. */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testing.h"

enum { MAX_STEP = 60, NUM_FILES = 4, PATH_SIZE = 600 };

static char out_dir[256];
static const char *const files[NUM_FILES] = {"model.safetensors", "optimizer.safetensors",
                                             "config.json", "trainer.json"};

/* The linker gives these calls to the functions below (-Wl,--wrap): the process ends, or the call
 * fails, at the one that is asked for. */
static int changes_left = -1; /* until that call; -1: never */
static int change_error;      /* errno; 0: the process ends */

static int change(void) {
  if (changes_left < 0 || changes_left-- > 0) return 0;
  if (change_error == 0) _exit(9);
  errno = change_error;
  return -1;
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __real_unlinkat(int folder, const char *name, int flags);
int __wrap_unlinkat(int folder, const char *name, int flags);
int __real_rmdir(const char *path);
int __wrap_rmdir(const char *path);
int __wrap_fsync(int fd);

int __wrap_rename(const char *from, const char *to) {
  return change() ? -1 : __real_rename(from, to);
}
int __wrap_unlinkat(int folder, const char *name, int flags) {
  return change() ? -1 : __real_unlinkat(folder, name, flags);
}
int __wrap_rmdir(const char *path) { return change() ? -1 : __real_rmdir(path); }
int __wrap_fsync(int fd) {
  (void)fd; /* nothing here outlives the system: the disk need not be waited for */
  return change();
}

static void clean(void) {
  char command[PATH_SIZE];
  snprintf(command, sizeof command, "rm -rf '%s' && mkdir '%s'", out_dir, out_dir);
  assert_int_equal(system(command), 0);
}

static void make_path(char path[PATH_SIZE], const char *name) {
  snprintf(path, PATH_SIZE, "%s/%s", out_dir, name);
}

static void write_file(const char *name) {
  char path[PATH_SIZE];
  make_path(path, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(name, file);
  assert_int_equal(fclose(file), 0);
}

static void make_folder(const char *name) {
  char path[PATH_SIZE];
  make_path(path, name);
  assert_int_equal(mkdir(path, 0777), 0);
}

static bool exists(const char *name) {
  char path[PATH_SIZE];
  make_path(path, name);
  return access(path, F_OK) == 0;
}

static void make_checkpoint(int step) {
  char name[200];
  snprintf(name, sizeof name, "step-%010d", step);
  make_folder(name);
  for (int i = 0; i < NUM_FILES; i++) {
    snprintf(name, sizeof name, "step-%010d/%s", step, files[i]);
    write_file(name);
  }
}

/* How many of its files a checkpoint has; -1: there is no folder of its name. */
static int count_files(int step) {
  char name[200];
  snprintf(name, sizeof name, "step-%010d", step);
  if (!exists(name)) return -1;
  int num = 0;
  for (int i = 0; i < NUM_FILES; i++) {
    snprintf(name, sizeof name, "step-%010d/%s", step, files[i]);
    num += exists(name);
  }
  return num;
}

/* The plain model: whether a step stays. there: [MAX_STEP]. */
static bool stays(const bool *there, int step, int keep_last, int keep_every) {
  int newer = 0;
  for (int other = step + 1; other < MAX_STEP; other++) newer += there[other];
  if (keep_last == 0 || newer < keep_last) return true;
  return keep_every > 0 && step % keep_every == 0;
}

static void draw(bool *there, int keep_last) {
  int num = 0;
  while (num <= keep_last + 2) { /* some have to go */
    num = 0;
    for (int step = 0; step < MAX_STEP; step++) num += there[step] = rand() % 6 == 0;
  }
  for (int step = 0; step < MAX_STEP; step++)
    if (there[step]) make_checkpoint(step);
}

/* finished: all that may go has gone. Otherwise each is whole or gone. */
static void check(const bool *there, int keep_last, int keep_every, bool finished) {
  for (int step = 0; step < MAX_STEP; step++) {
    int found = count_files(step);
    bool must_stay = there[step] && stays(there, step, keep_last, keep_every);
    bool may_stay = must_stay || (there[step] && !finished);
    if (found != NUM_FILES && found != -1) fail_msg("step %d has %d files", step, found);
    if (must_stay && found < 0) fail_msg("step %d is gone", step);
    if (!may_stay && found > 0) fail_msg("step %d is still there", step);
  }
}

/* Hidden folders of the run. */
static int count_hidden(void) {
  int num = 0;
  DIR *folder = opendir(out_dir);
  assert_non_null(folder);
  for (struct dirent *entry; (entry = readdir(folder));)
    num += strncmp(entry->d_name, ".step-", 6) == 0;
  closedir(folder);
  return num;
}

static void test_model(void **state) {
  (void)state;
  srand(7);
  for (int round = 0; round < 60; round++) {
    bool there[MAX_STEP];
    int keep_last = rand() % 5, keep_every = rand() % 3 ? rand() % 9 : 0;
    clean();
    draw(there, keep_last);
    assert_ok(uly_checkpoint_prune(out_dir, keep_last, keep_every));
    check(there, keep_last, keep_every, true);
    assert_int_equal(count_hidden(), 0);
    /* Once more: nothing is left to do. */
    assert_ok(uly_checkpoint_prune(out_dir, keep_last, keep_every));
    check(there, keep_last, keep_every, true);
  }
}

/* The process ends before its n-th change, for each n until it gets through. */
static void test_killed(void **state) {
  (void)state;
  srand(8);
  bool there[MAX_STEP];
  int keep_last = 2, keep_every = 7, num_killed = 0;
  for (int n = 0;; n++) {
    clean();
    srand(9);
    draw(there, keep_last);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
      changes_left = n;
      _exit(uly_checkpoint_prune(out_dir, keep_last, keep_every) == ULY_OK ? 0 : 1);
    }
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how));
    if (WEXITSTATUS(how) == 0) break;
    assert_int_equal(WEXITSTATUS(how), 9);
    num_killed++;
    check(there, keep_last, keep_every, false);
    /* What the next run does. */
    assert_ok(uly_checkpoint_remove_remains(out_dir));
    assert_int_equal(count_hidden(), 0);
    assert_ok(uly_checkpoint_prune(out_dir, keep_last, keep_every));
    check(there, keep_last, keep_every, true);
  }
  check(there, keep_last, keep_every, true);
  assert_true(num_killed > 4 * (NUM_FILES + 2)); /* several checkpoints, in every state */
}

/* A disk that fails once: what stays is whole, the failure is named, and a later call removes the
 * rest. */
static void test_failing(void **state) {
  (void)state;
  bool there[MAX_STEP];
  for (int n = 0;; n++) {
    clean();
    srand(10);
    draw(there, 1);
    changes_left = n;
    change_error = EIO;
    uly_status status = uly_checkpoint_prune(out_dir, 1, 0);
    bool got_through = changes_left >= 0;
    changes_left = -1;
    change_error = 0;
    if (got_through) {
      assert_int_equal(status, ULY_OK);
      break;
    }
    assert_int_equal(status, ULY_ERR_IO);
    assert_non_null(strstr(uly_last_error(), "Input/output error"));
    check(there, 1, 0, false);
    assert_ok(uly_checkpoint_remove_remains(out_dir));
    assert_ok(uly_checkpoint_prune(out_dir, 1, 0));
    check(there, 1, 0, true);
  }
}

/* What is no checkpoint is neither counted nor touched. */
static void test_foreign(void **state) {
  (void)state;
  static const char *const folders[] = {"step-0000000099", "step-1", "step-00000000010", "steps",
                                        "old-step-0000000001"};
  clean();
  for (int step = 1; step <= 4; step++) make_checkpoint(step);
  for (int i = 0; i < 5; i++) make_folder(folders[i]);
  write_file("metrics.jsonl");
  write_file("step-0000000098"); /* a file */
  char path[PATH_SIZE];
  make_path(path, "step-0000000097");
  assert_int_equal(symlink("step-0000000001", path), 0);
  make_checkpoint(0);
  make_folder("step-0000000003/mine");
  write_file("step-0000000003/mine/notes.txt");

  assert_fails(uly_checkpoint_prune(out_dir, 1, 0), ULY_ERR_IO, "'mine'");
  assert_int_equal(count_files(4), NUM_FILES);
  assert_int_equal(count_files(3), NUM_FILES);
  assert_true(exists("step-0000000003/mine/notes.txt"));
  for (int step = 0; step < 3; step++) assert_int_equal(count_files(step), -1);
  for (int i = 0; i < 5; i++) assert_true(exists(folders[i]));
  assert_true(exists("metrics.jsonl"));
  assert_true(exists("step-0000000098"));
  struct stat info;
  assert_int_equal(lstat(path, &info), 0);
  assert_int_equal(count_hidden(), 0);
}

/* A save of the same step was cut off before. */
static void test_remains(void **state) {
  (void)state;
  clean();
  make_checkpoint(1);
  make_checkpoint(2);
  make_folder(".step-0000000001.tmp");
  write_file(".step-0000000001.tmp/model.safetensors");
  assert_ok(uly_checkpoint_prune(out_dir, 1, 0));
  assert_int_equal(count_files(1), -1);
  assert_int_equal(count_files(2), NUM_FILES);
  assert_int_equal(count_hidden(), 0);
}

/* Before a run: what cut-off saves left goes, and nothing else; least of all what a link points
 * to. */
static void test_before_a_run(void **state) {
  (void)state;
  char path[PATH_SIZE], target[PATH_SIZE], file[64];
  static const char *const foreign[] = {".step-notes.tmp",       ".step-0000notes0.tmp",
                                        ".step-00000000071.tmp", ".step-0000000007.tm",
                                        "step-0000000007.tmp",   "elsewhere"};
  clean();
  make_checkpoint(3);
  make_folder(".step-0000000007.tmp");
  write_file(".step-0000000007.tmp/model.safetensors");
  for (int i = 0; i < 6; i++) {
    make_folder(foreign[i]);
    snprintf(file, sizeof file, "%s/file", foreign[i]);
    write_file(file);
  }
  assert_ok(uly_checkpoint_prepare(out_dir));
  assert_ok(uly_checkpoint_remove_remains(out_dir));
  assert_int_equal(count_files(3), NUM_FILES);
  make_path(path, ".step-0000000007.tmp");
  assert_int_not_equal(access(path, F_OK), 0);
  make_path(path, ".step-0000000008.tmp");
  make_path(target, "elsewhere");
  assert_int_equal(symlink(target, path), 0);
  assert_fails(uly_checkpoint_remove_remains(out_dir), ULY_ERR_IO, ".step-0000000008.tmp");
  for (int i = 0; i < 6; i++) {
    snprintf(file, sizeof file, "%s/file", foreign[i]);
    make_path(path, file);
    assert_int_equal(access(path, F_OK), 0);
  }
  make_path(path, "step-0000000003/config.json");
  assert_fails(uly_checkpoint_prepare(path), ULY_ERR_IO, "is not a folder");
}

static void assert_latest(const char *name) {
  char path[PATH_SIZE], expected[PATH_SIZE];
  make_path(expected, name);
  assert_ok(uly_checkpoint_latest(out_dir, path, sizeof path));
  assert_string_equal(path, expected);
}

/* A checkpoint that has lost files is the latest all the same, so that nobody goes on from an older
 * one unawares. */
static void test_latest(void **state) {
  (void)state;
  char path[PATH_SIZE];
  clean();
  make_checkpoint(3);
  make_checkpoint(9);
  make_folder("step-0000000011"); /* empty */
  make_folder("step-0000000012");
  write_file("step-0000000012/notes");
  write_file("step-0000000013");
  make_folder(".step-0000000014.tmp");
  write_file(".step-0000000014.tmp/trainer.json");
  assert_latest("step-0000000009");
  for (int i = 0; i + 1 < NUM_FILES; i++) {
    snprintf(path, sizeof path, "%s/step-0000000009/%s", out_dir, files[NUM_FILES - 1 - i]);
    assert_int_equal(unlink(path), 0);
    assert_latest("step-0000000009");
  }
  if (geteuid() == 0) return; /* may look everywhere */
  make_path(path, "step-0000000009");
  assert_int_equal(chmod(path, 0), 0);
  char latest[PATH_SIZE];
  assert_fails(uly_checkpoint_latest(out_dir, latest, sizeof latest), ULY_ERR_IO,
               "step-0000000009");
  assert_int_equal(chmod(path, 0755), 0);
}

static void test_arguments(void **state) {
  (void)state;
  char path[PATH_SIZE];
  clean();
  make_path(path, "nowhere");
  assert_ok(uly_checkpoint_prune(path, 1, 0));
  assert_ok(uly_checkpoint_prune(out_dir, 1, 0));
  make_checkpoint(3);
  make_checkpoint(9);
  assert_ok(uly_checkpoint_prune(out_dir, 0, 0));
  assert_ok(uly_checkpoint_prune(out_dir, 0, 2));
  assert_ok(uly_checkpoint_prune(out_dir, INT64_MAX, 2));
  assert_int_equal(count_files(3), NUM_FILES);
  assert_fails(uly_checkpoint_prune(out_dir, -1, 0), ULY_ERR_CONFIG, "negative");
  assert_fails(uly_checkpoint_prune(out_dir, 1, -1), ULY_ERR_CONFIG, "negative");
  make_path(path, "step-0000000003/config.json");
  assert_fails(uly_checkpoint_prune(path, 1, 0), ULY_ERR_IO, "config.json");
}

int main(void) {
  const char *folder = getenv("TMPDIR");
  snprintf(out_dir, sizeof out_dir, "%.200s/ulysses-prune-%ld", folder ? folder : "/tmp",
           (long)getpid());
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_model),   cmocka_unit_test(test_killed),
      cmocka_unit_test(test_failing), cmocka_unit_test(test_foreign),
      cmocka_unit_test(test_remains), cmocka_unit_test(test_before_a_run),
      cmocka_unit_test(test_latest),  cmocka_unit_test(test_arguments),
  };
  int failures = cmocka_run_group_tests(tests, NULL, NULL);
  char command[PATH_SIZE];
  snprintf(command, sizeof command, "rm -rf '%s'", out_dir);
  return system(command) != 0 || failures;
}
