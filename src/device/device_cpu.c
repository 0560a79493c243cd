/* The CPU as a device. Memory comes from anonymous mappings: zero pages cost nothing until they
 * are touched, and large pages are asked for, since the arenas are large and long-lived. */
#include "device/device.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "device/limits.h"

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

int64_t uly__device_available_bytes(void) {
  int64_t available = uly__limits_read("").available;
  return available < 0 ? 0 : available > 0 ? available : 1;
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
