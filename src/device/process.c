/* Finds out what this process uses, and may use, of its machine. */
#include "device/process.h"

#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "device/limits.h"

int64_t uly__device_resident_bytes(void) {
  struct rusage usage;
  return getrusage(RUSAGE_SELF, &usage) == 0 ? (int64_t)usage.ru_maxrss * 1024 : 0;
}

int64_t uly__device_available_bytes(void) {
  int64_t available = uly__limits_read("").available;
  return available < 0 ? 0 : available > 0 ? available : 1;
}

/* If mpirun binds ranks to cores, the cores that this process may run on are its own, and dividing
 * them again would leave most of them idle. So the cores of the node are divided, and the affinity
 * mask is the upper bound. */
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

void uly__device_use_threads(int threads) { omp_set_num_threads(threads); }
