/* A scratch file on local disk, with a thread that reads and writes it while others compute.
 *
 * What is asked for is done in this order, so a read sees the writes that were asked for before it. Memory that
 * is under way belongs to the thread until uly__disk_wait has returned. A failure is told by the next wait, once;
 * the file stays usable. One thread asks and waits. */
#ifndef ULY_DISK_H
#define ULY_DISK_H

#include "base/status.h"

typedef struct uly__disk uly__disk;

/* Creates the file and gives it room for `bytes` at once; it has lost its name when the call returns. path is
 * copied: messages name it. */
uly_status uly__disk_open(const char *path, int64_t bytes, uly__disk **out);
/* What is still asked for is not done. */
void uly__disk_close(uly__disk *disk);

/* Ask for `bytes` from memory to the file at an offset, or back. index: of the span. Return a number to
 * wait for; where the queue is full, they wait for room. */
int64_t uly__disk_write(uly__disk *disk, int64_t index, int64_t offset, void *memory,
                        int64_t bytes);
int64_t uly__disk_read(uly__disk *disk, int64_t index, int64_t offset, void *memory, int64_t bytes);

/* Until the request with this number, and all before it, are done. The first failure since the last wait. */
uly_status uly__disk_wait(uly__disk *disk, int64_t number);

#endif
