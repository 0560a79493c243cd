/* Where memory lives. There is one device now, the CPU; everything above allocates through here. */
#ifndef ULY_DEVICE_H
#define ULY_DEVICE_H

#include "base/status.h"

/* Returns zeroed memory on 64-byte boundaries; NULL if the system has none, or for 0 bytes. */
void *uly__device_alloc(int64_t bytes);
void uly__device_free(void *memory, int64_t bytes);

/* Returns ULY_ERR_MEMORY, saying what the memory was for, if an allocation returned NULL. */
uly_status uly__check_memory(const void *memory, const char *what);

/* Returns the peak resident set of this process in bytes, 0 if the system does not tell. */
int64_t uly__device_resident_bytes(void);

/* Returns the bytes that processes may still allocate on this machine: what the kernel calls
 * available, or what is left to the control groups of this process, if that is less (limits.h). 0
 * if the system does not tell. */
int64_t uly__device_available_bytes(void);

/* Returns the number of OpenMP threads to use: requested; or what OMP_NUM_THREADS says; or the
 * cores that this process may run on divided by the ranks_on_node processes, at least 1. */
int uly__device_threads(int requested, int ranks_on_node);

#endif
