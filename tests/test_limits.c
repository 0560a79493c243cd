/* Tests limits of memory and time that control groups set, in folders that stand in for /proc and
 * /sys: version 2, version 1 and both, groups within groups, containers, and what each version
 * writes if there is no limit. */
#include "device/limits.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "testing.h"

static const int64_t GIB = (int64_t)1 << 30;
static char root[] = "/tmp/ulysses-limits-XXXXXX";

/* Writes a file below the root, in folders that are made for it. */
static void put(const char *name, const char *text) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", root, name);
  for (char *at = strchr(path + strlen(root) + 1, '/'); at; at = strchr(at + 1, '/')) {
    *at = '\0';
    (void)mkdir(path, 0700);
    *at = '/';
  }
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  assert_int_equal(fclose(file), 0);
}

/* A machine of 64 GiB, of which 32 are free. */
static void make(const char *groups) {
  char command[PATH_MAX];
  snprintf(command, sizeof command, "rm -rf '%s'/*", root);
  assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a folder of the test's own */
  put("proc/meminfo",
      "MemTotal:       67108864 kB\nMemFree:        1 kB\n"
      "MemAvailable:   33554432 kB\n");
  if (groups) put("proc/self/cgroup", groups);
}

#define EXPECT(available_, limit_, quota_)        \
  do {                                            \
    uly__limits got_ = uly__limits_read(root);    \
    assert_int_equal(got_.memory, 64 * GIB);      \
    assert_int_equal(got_.available, available_); \
    assert_int_equal(got_.memory_limit, limit_);  \
    assert_int_equal(got_.cpu_quota, quota_);     \
  } while (0)

static void test_version_2(void **state) {
  (void)state;
  make("0::/job/step\n");
  put("sys/fs/cgroup/job/step/memory.max", "max\n");
  put("sys/fs/cgroup/job/step/memory.current", "5368709120\n");
  put("sys/fs/cgroup/job/step/cpu.max", "max 100000\n");
  EXPECT(32 * GIB, -1, -1);
  /* The group above sets the limit; pages of files that are not in use count as free. */
  put("sys/fs/cgroup/job/memory.max", "8589934592\n");
  put("sys/fs/cgroup/job/memory.current", "6442450944\n");
  put("sys/fs/cgroup/job/memory.stat", "anon 1\nfile 2\ninactive_file 1073741824\nactive_file 7\n");
  put("sys/fs/cgroup/job/cpu.max", "150000 100000\n");
  EXPECT(3 * GIB, 8 * GIB, 1500);
  /* The inner one is tighter. */
  put("sys/fs/cgroup/job/step/memory.max", "6442450944\n");
  put("sys/fs/cgroup/job/step/cpu.max", "50000 100000\n");
  EXPECT(1 * GIB, 6 * GIB, 500);
  /* More than the limit is used for a moment. */
  put("sys/fs/cgroup/job/step/memory.current", "7516192768\n");
  EXPECT(0, 6 * GIB, 500);
  /* A limit that the machine does not reach is none. */
  make("0::/\n");
  put("sys/fs/cgroup/memory.max", "99999999999999\n");
  put("sys/fs/cgroup/memory.current", "1\n");
  EXPECT(32 * GIB, -1, -1);
}

static void test_version_1(void **state) {
  (void)state;
  make("12:pids:/slurm\n4:memory:/slurm/job_1/step_0\n3:cpu,cpuacct:/slurm\n1:name=systemd:/x\n");
  put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  put("sys/fs/cgroup/memory/memory.usage_in_bytes", "34359738368\n");
  put("sys/fs/cgroup/memory/slurm/job_1/step_0/memory.limit_in_bytes", "9223372036854771712\n");
  put("sys/fs/cgroup/cpu/slurm/cpu.cfs_quota_us", "-1\n");
  put("sys/fs/cgroup/cpu/slurm/cpu.cfs_period_us", "100000\n");
  EXPECT(32 * GIB, -1, -1);
  put("sys/fs/cgroup/memory/slurm/job_1/memory.limit_in_bytes", "4294967296\n");
  put("sys/fs/cgroup/memory/slurm/job_1/memory.usage_in_bytes", "3221225472\n");
  put("sys/fs/cgroup/memory/slurm/job_1/memory.stat",
      "inactive_file 5\ntotal_inactive_file 1073741824\n");
  put("sys/fs/cgroup/cpu/slurm/cpu.cfs_quota_us", "250000\n");
  EXPECT(2 * GIB, 4 * GIB, 2500);
  /* A container: its group is the uppermost one that it sees, whatever the name. */
  make("4:memory:/docker/0123abcd\n");
  put("sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n");
  put("sys/fs/cgroup/memory/memory.usage_in_bytes", "1073741824\n");
  EXPECT(1 * GIB, 2 * GIB, -1);
}

/* Both mounted, memory with version 1: its line need not be the first. */
static void test_both_versions(void **state) {
  (void)state;
  make("9:memory:/a\n0::/b\n");
  put("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "2147483648\n");
  put("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "0\n");
  EXPECT(2 * GIB, 2 * GIB, -1);
}

static void test_nothing(void **state) {
  (void)state;
  make(NULL);
  EXPECT(32 * GIB, -1, -1);
  make("\nnonsense\n0:\n::\n0::\n0::a\n");
  EXPECT(32 * GIB, -1, -1);
  uly__limits none = uly__limits_read("/nowhere");
  assert_int_equal(none.memory, -1);
  assert_int_equal(none.available, -1);
}

/* A program that was built against an earlier header has room for less. */
static void test_machine(void **state) {
  (void)state;
  uly_mesh *mesh;
  uly_machine machine;
  assert_ok(uly_mesh_create_offline(NULL, 0, &mesh));
  memset(&machine, 0x55, sizeof machine);
  machine.size = offsetof(uly_machine, memory_limit);
  assert_ok(uly_machine_look(mesh, &machine));
  assert_true(machine.memory > 0 && machine.available > 0 && machine.available <= machine.memory);
  assert_int_equal(machine.size, offsetof(uly_machine, memory_limit));
  assert_int_equal(machine.memory_limit, 0x5555555555555555);
  machine.size = sizeof machine;
  assert_ok(uly_machine_look(mesh, &machine));
  assert_true(machine.allowed_threads > 0 && machine.allowed_threads <= machine.hardware_threads);
  assert_int_equal(machine.threads, uly_mesh_threads(mesh));
  uly_mesh_destroy(mesh);
}

static int begin(void **state) {
  (void)state;
  return mkdtemp(root) ? 0 : -1;
}

static int end(void **state) {
  (void)state;
  char command[PATH_MAX];
  snprintf(command, sizeof command, "rm -rf '%s'", root);
  return system(command); /* NOLINT(cert-env33-c): a folder of the test's own */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_version_2),     cmocka_unit_test(test_version_1),
      cmocka_unit_test(test_both_versions), cmocka_unit_test(test_nothing),
      cmocka_unit_test(test_machine),
  };
  return cmocka_run_group_tests(tests, begin, end);
}
