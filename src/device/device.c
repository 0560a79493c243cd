/* Hands calls on to the device. */
#include "device/device.h"

#include "device/device_cpu.h"

uly__stream *uly__stream_get(void) {
  static uly__stream stream;
  if (!stream.device) stream.device = uly__device_cpu();
  return &stream;
}

void uly__copy(uly__stream *stream, void *to, const void *from, int64_t bytes) {
  stream->device->copy(to, from, bytes);
}

void uly__copy_rows(uly__stream *stream, int64_t rows, int64_t row_bytes, void *to,
                    int64_t to_stride, const void *from, int64_t from_stride) {
  stream->device->copy_rows(rows, row_bytes, to, to_stride, from, from_stride);
}

void uly__clear(uly__stream *stream, void *memory, int64_t bytes) {
  stream->device->clear(memory, bytes);
}

uly_status uly__device_read(uly__stream *stream, int fd, const char *path, int64_t offset,
                            void *memory, int64_t bytes) {
  return stream->device->read(fd, path, offset, memory, bytes);
}

uly_status uly__device_load(uly__stream *stream, int fd, const char *path, int64_t offset,
                            void *memory, int64_t bytes) {
  return stream->device->load(fd, path, offset, memory, bytes);
}

uly_status uly__device_write(uly__stream *stream, int fd, const char *path, int64_t offset,
                             const void *memory, int64_t bytes) {
  return stream->device->write(fd, path, offset, memory, bytes);
}

int64_t uly__room_bytes(const uly__stream *stream, int64_t bytes) {
  return stream->device->is_host ? 0 : bytes;
}

/* Returns where the other side reads what is at `from`. */
static const void *pass_over(uly__stream *stream, void *room, const void *from, int64_t bytes) {
  if (stream->device->is_host) return from;
  uly__copy(stream, room, from, bytes);
  return room;
}

const void *uly__upload(uly__stream *stream, void *room, const void *host, int64_t bytes) {
  return pass_over(stream, room, host, bytes);
}

void *uly__host_place(const uly__stream *stream, void *room, void *device) {
  return stream->device->is_host ? device : room;
}

const void *uly__download(uly__stream *stream, void *room, const void *device, int64_t bytes) {
  return pass_over(stream, room, device, bytes);
}

void *uly__device_alloc(int64_t bytes) { return uly__stream_get()->device->alloc(bytes); }

void uly__device_free(void *memory, int64_t bytes) {
  uly__stream_get()->device->free(memory, bytes);
}

void *uly__host_alloc(int64_t bytes) { return uly__device_cpu()->alloc(bytes); }

void uly__host_free(void *memory, int64_t bytes) { uly__device_cpu()->free(memory, bytes); }

uly_status uly__check_memory(const void *memory, const char *what) {
  if (!memory) ULY_FAIL(ULY_ERR_MEMORY, "no memory for %s", what);
  return ULY_OK;
}
