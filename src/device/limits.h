/* What the system lets processes have: memory, and the limits that a container or a batch system sets by control
 * groups, version 2 and 1 (cgroups(7)). */
#ifndef ULY_LIMITS_H
#define ULY_LIMITS_H

#include <stdint.h>

/* -1: the system does not tell, or sets no limit. */
typedef struct uly__limits {
  int64_t memory;       /* bytes of the machine */
  int64_t available;    /* bytes that may still be taken: of the machine, and of the groups */
  int64_t memory_limit; /* bytes of the groups */
  int64_t cpu_quota;    /* of the groups, in thousandths of a hardware thread */
} uly__limits;

/* root: the folder that has proc and sys, "" but in tests. */
uly__limits uly__limits_read(const char *root);

#endif
