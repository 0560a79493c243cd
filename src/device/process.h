/* Tells what this process uses, and may use, of its machine. */
#ifndef ULY_PROCESS_H
#define ULY_PROCESS_H

#include <stdint.h>

/* Returns the peak resident set of this process in bytes, or 0 if the system does not tell. */
int64_t uly__device_resident_bytes(void);

/* Returns the bytes that processes may still allocate on this machine: what the kernel calls
 * available, or what is left to the control groups of this process, if that is less (limits.h).
 * Returns 0 if the system does not tell. */
int64_t uly__device_available_bytes(void);

/* Returns the number of OpenMP threads to use: `requested`, or else what OMP_NUM_THREADS says, or
 * else the cores that this process may run on divided by the ranks_on_node processes, but at least
 * 1. */
int uly__device_threads(int requested, int ranks_on_node);

/* Sets the number of OpenMP threads that will compute from now on. */
void uly__device_use_threads(int threads);

#endif
