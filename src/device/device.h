/* Where memory lives. One device now, the CPU; everything above allocates through here. */
#ifndef ULY_DEVICE_H
#define ULY_DEVICE_H

#include "base/status.h"

/* Zeroed memory on 64-byte boundaries; NULL where the system has none. bytes 0 gives NULL too. */
void *uly__device_alloc(int64_t bytes);
void uly__device_free(void *memory, int64_t bytes);

/* ULY_ERR_MEMORY, saying what for, where an allocation gave NULL. */
uly_status uly__check_memory(const void *memory, const char *what);

/* Peak resident set of this process in bytes, 0 where the system does not tell. */
int64_t uly__device_resident_bytes(void);

/* Bytes that processes may still take on this machine: what the kernel calls available, or what is left to the
 * control groups of this process, if that is less (limits.h). 0 where the system does not tell. */
int64_t uly__device_available_bytes(void);

/* OpenMP threads to use: requested; or what OMP_NUM_THREADS says; or the cores this process may run on
 * divided among the ranks_on_node processes, at least 1. */
int uly__device_threads(int requested, int ranks_on_node);

#endif
