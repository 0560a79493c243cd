/* What the tests of collectives share: the mesh of all ranks, guarded memory, and gathers whose
 * results are known. */
#ifndef GROUP_TESTING_H
#define GROUP_TESTING_H

#include "comm/mesh.h"
#include "testing.h"

extern uly_mesh *mesh;
extern int size, rank;

static const uly_traffic counted = ULY_TRAFFIC_GRADIENTS;

/* Allocates a multiple of 64 bytes, and one byte after them, which free_guarded checks. */
void *guarded(int64_t bytes);
void free_guarded(void *memory, int64_t bytes);

void poll_some(uly__request *request);

/* Allocates [size][part_bytes] and fills this rank's part; starts to gather it too; checks what all
 * ranks have put there, and frees it. */
unsigned char *fill_gather(int64_t part_bytes);
unsigned char *start_gather(int64_t part_bytes, uly__request *request);
void check_gathered(unsigned char *data, int64_t part_bytes);

/* Makes calls that wait in the group of all ranks. */
void use_while_busy(uly__group *group);

#endif
