/* A scratch file on local disk, with a thread that reads it into the device's memory and writes it
 * from there while others compute. Requests are done in the order in which they were made, so a
 * read sees earlier writes. The memory of a request belongs to the thread until uly__disk_wait has
 * returned. A failure is reported once, by the next wait, and the file stays usable. Only one
 * thread makes requests and waits. */
#ifndef ULY_DISK_H
#define ULY_DISK_H

#include "device/device.h"

typedef struct uly__disk uly__disk;

/* Creates the file and reserves room for `bytes` at once; when the call returns, the file no longer
 * has a name. Work on the memory of requests runs on `stream`. `path` is copied, since messages
 * name it. */
uly_status uly__disk_open(uly__stream *stream, const char *path, int64_t bytes, uly__disk **out);
/* Closes the file. Requests that are still waiting are not done. */
void uly__disk_close(uly__disk *disk);

/* Request a transfer of `bytes` from memory to the file at an offset, or back; `index` is for the
 * span. They return a number to wait for. If the queue is full, they wait for room. */
int64_t uly__disk_write(uly__disk *disk, int64_t index, int64_t offset, void *memory,
                        int64_t bytes);
int64_t uly__disk_read(uly__disk *disk, int64_t index, int64_t offset, void *memory, int64_t bytes);

/* Waits until the request with this number, and all before it, are done. Returns the first failure
 * since the last wait. */
uly_status uly__disk_wait(uly__disk *disk, int64_t number);

#endif
