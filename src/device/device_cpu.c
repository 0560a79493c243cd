/* The CPU as a device. Memory comes from anonymous mappings: zero pages cost nothing until they
 * are touched, and large pages are asked for, since the arenas are large and long-lived. */
#include "device/device.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

void *uly__device_alloc(int64_t bytes) {
  if (bytes <= 0) return NULL;
  void *memory =
      mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return NULL;
#ifdef MADV_HUGEPAGE
  /* Advice only: without it everything works, slower. Small arenas would be rounded up. */
  if (bytes >= (int64_t)64 << 20) (void)madvise(memory, (size_t)bytes, MADV_HUGEPAGE);
#endif
  return memory;
}

void uly__device_free(void *memory, int64_t bytes) {
  if (memory) (void)munmap(memory, (size_t)bytes);
}

uly_status uly__check_memory(const void *memory, const char *what) {
  if (!memory) ULY_FAIL(ULY_ERR_MEMORY, "no memory for %s", what);
  return ULY_OK;
}

int64_t uly__device_resident_bytes(void) {
  struct rusage usage;
  return getrusage(RUSAGE_SELF, &usage) == 0 ? (int64_t)usage.ru_maxrss * 1024 : 0;
}

/* The number behind a word at the beginning of a line; -1: there is no such file, line or number. */
static int64_t read_number(const char *path, const char *word) {
  FILE *file = fopen(path, "r");
  char line[256];
  int64_t number = -1;
  while (file && number < 0 && fgets(line, sizeof line, file)) {
    size_t length = strlen(word);
    const char *at = line + length + strspn(line + length, " ");
    if (strncmp(line, word, length) == 0 && *at >= '0' && *at <= '9')
      number = strtoll(at, NULL, 10);
  }
  if (file) fclose(file);
  return number;
}

/* What is left to the control group at `path` below /sys/fs/cgroup; INT64_MAX where it has no limit. Pages of files
 * that nobody uses are given back when memory is wanted. */
static int64_t left_to_group(const char *path) {
  char file[512];
  snprintf(file, sizeof file, "/sys/fs/cgroup%.400s/memory.max", path);
  int64_t limit = read_number(file, "");
  snprintf(file, sizeof file, "/sys/fs/cgroup%.400s/memory.current", path);
  int64_t used = read_number(file, "");
  snprintf(file, sizeof file, "/sys/fs/cgroup%.400s/memory.stat", path);
  int64_t unused_files = read_number(file, "inactive_file ");
  if (limit < 0 || used < 0) return INT64_MAX;
  used -= unused_files > 0 ? unused_files : 0;
  return limit > used ? limit - used : 1;
}

/* Of this process's group and those above it, the least. */
static int64_t left_to_groups(void) {
  char line[400];
  int64_t least = INT64_MAX;
  FILE *file = fopen("/proc/self/cgroup", "r");
  bool is_read = file && fgets(line, sizeof line, file) && strncmp(line, "0::", 3) == 0;
  if (file) fclose(file);
  if (!is_read) return least;
  char *path = line + 3;
  path[strcspn(path, "\n")] = '\0';
  for (;;) {
    int64_t left = left_to_group(strcmp(path, "/") == 0 ? "" : path);
    if (left < least) least = left;
    char *slash = strrchr(path, '/');
    if (!slash) return least;
    *slash = '\0';
  }
}

int64_t uly__device_available_bytes(void) {
  int64_t kib = read_number("/proc/meminfo", "MemAvailable:"), left = left_to_groups();
  int64_t free_bytes = kib > 0 ? kib * 1024 : INT64_MAX;
  if (left < free_bytes) free_bytes = left;
  return free_bytes == INT64_MAX ? 0 : free_bytes;
}

/* mpirun binds ranks to cores: then the cores that this process may run on are its own, and
 * dividing them again would leave most idle. So the cores of the node are divided, and the
 * affinity mask is the upper bound. */
int uly__device_threads(int requested, int ranks_on_node) {
  const char *wish = getenv("OMP_NUM_THREADS");
  long wished = wish ? strtol(wish, NULL, 10) : 0;
  if (requested > 0) return requested;
  if (wished > 0 && wished < 4096) return (int)wished;
  cpu_set_t allowed;
  int mine = 1;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) mine = CPU_COUNT(&allowed);
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  int share = (int)(online > 0 ? online : 1) / (ranks_on_node > 0 ? ranks_on_node : 1);
  int threads = share < mine ? share : mine;
  return threads > 0 ? threads : 1;
}
