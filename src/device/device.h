/* Says where memory lives and how work on it is ordered. There is one device now, the CPU;
 * everything above allocates, copies and fills memory through here. */
#ifndef ULY_DEVICE_H
#define ULY_DEVICE_H

#include "device/device_table.h"

/* Runs work in the order in which it was given. On the CPU, work is done when the call returns. */
typedef struct uly__stream uly__stream;

struct uly__stream {
  const uly__device *device;
};

/* Returns the stream of the device that runs compute on: the CPU, until a program sets another
 * one. */
uly__stream *uly__stream_get(void);

/* Copies bytes; the two places do not overlap. */
void uly__copy(uly__stream *stream, void *to, const void *from, int64_t bytes);
/* Copies rows of row_bytes between places with different distances of rows. */
void uly__copy_rows(uly__stream *stream, int64_t rows, int64_t row_bytes, void *to,
                    int64_t to_stride, const void *from, int64_t from_stride);
/* Sets bytes to 0. */
void uly__clear(uly__stream *stream, void *memory, int64_t bytes);

/* Read bytes of a file into the device's memory, or write them from there, as uly__file_read and
 * uly__file_write do with the host's. The calls return when the bytes have been moved; any thread
 * may make them. */
uly_status uly__device_read(uly__stream *stream, int fd, const char *path, int64_t offset,
                            void *memory, int64_t bytes);
uly_status uly__device_write(uly__stream *stream, int fd, const char *path, int64_t offset,
                             const void *memory, int64_t bytes);
/* Reads like uly__device_read, but with all threads of the caller, when nothing else computes. */
uly_status uly__device_load(uly__stream *stream, int fd, const char *path, int64_t offset,
                            void *memory, int64_t bytes);

/* --- Between host and device. The host makes some data that ops read, such as tokens; ops make
 * some that the host reads, such as losses. If the device has memory of its own, these data are
 * copied to a room on the other side. If its memory is the host's, there is no room: the other side
 * reads them where they are. */

/* Returns the size of the room for `bytes` bytes: the same number, or 0 if there is no room. */
int64_t uly__room_bytes(const uly__stream *stream, int64_t bytes);
/* Uploads what the host has at `host`, and returns where ops read it. room is in the device's
 * memory. */
const void *uly__upload(uly__stream *stream, void *room, const void *host, int64_t bytes);
/* Returns where the host writes what it then uploads to `device`: at that place itself, or in room,
 * which is in the host's memory. */
void *uly__host_place(const uly__stream *stream, void *room, void *device);
/* Downloads what ops make at `device`, once they have made it, and returns where the host reads it.
 * room is in the host's memory. */
const void *uly__download(uly__stream *stream, void *room, const void *device, int64_t bytes);

/* Return zeroed memory on 64-byte boundaries, or NULL if the system has none or bytes is 0. */
void *uly__device_alloc(int64_t bytes);
void uly__device_free(void *memory, int64_t bytes);
void *uly__host_alloc(int64_t bytes);
void uly__host_free(void *memory, int64_t bytes);

/* Returns ULY_ERR_MEMORY, saying what the memory was for, if an allocation returned NULL. */
uly_status uly__check_memory(const void *memory, const char *what);

#endif
