/* What the system allows processes: memory, and the limits that a container or a batch system sets
 * by control groups, version 2 and 1 (cgroups(7)). */
#ifndef ULY_LIMITS_H
#define ULY_LIMITS_H

#include <stdint.h>

/* A member is -1 if the system does not tell, or sets no limit. */
typedef struct uly__limits {
  int64_t memory; /* bytes of the machine */
  /* Bytes that may still be allocated, within the limits of the machine and of the groups. */
  int64_t available;
  int64_t memory_limit; /* bytes of the groups */
  /* Quota of the groups, in thousandths of a hardware thread. */
  int64_t cpu_quota;
} uly__limits;

/* Reads the limits. `root` is the folder that holds proc and sys, and "" except in tests. */
uly__limits uly__limits_read(const char *root);

#endif
