/* A queue of reads and writes, and the thread that does them: see disk.h. */
#include "device/disk.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/spans.h"

/* The most requests that wait at a time. */
enum { QUEUE = 8 };

typedef struct request {
  bool writes;
  int64_t index, offset, bytes;
  void *memory;
} request;

struct uly__disk {
  uly__stream *stream;
  int fd;
  char *path; /* for messages: the file has no name once it is open */
  pthread_t thread;
  bool started; /* the thread is running */
  pthread_mutex_t lock;
  pthread_cond_t changed;
  /* The lock protects the members from here on. */
  request queue[QUEUE]; /* request number n at (n - 1) % QUEUE */
  int64_t num_asked, num_done;
  bool closing;
  uly_status status; /* first failure not yet reported */
  char message[1024];
};

static uly_status serve(const uly__disk *disk, const request *r) {
  double begin = uly__now();
  uly__stream *s = disk->stream;
  uly_status status =
      r->writes ? uly__device_write(s, disk->fd, disk->path, r->offset, r->memory, r->bytes)
                : uly__device_read(s, disk->fd, disk->path, r->offset, r->memory, r->bytes);
  uly__span_end(r->writes ? "write" : "read", r->index, ULY_LANE_DISK, begin);
  return status;
}

static void *work(void *argument) {
  uly__disk *disk = argument;
  pthread_mutex_lock(&disk->lock);
  for (;;) {
    while (!disk->closing && disk->num_done == disk->num_asked)
      pthread_cond_wait(&disk->changed, &disk->lock);
    if (disk->closing) break;
    request next = disk->queue[disk->num_done % QUEUE];
    pthread_mutex_unlock(&disk->lock);
    uly_status status = serve(disk, &next);
    pthread_mutex_lock(&disk->lock);
    if (status != ULY_OK && disk->status == ULY_OK) {
      disk->status = status;
      snprintf(disk->message, sizeof disk->message, "%s", uly_last_error());
    }
    disk->num_done++;
    pthread_cond_broadcast(&disk->changed);
  }
  pthread_mutex_unlock(&disk->lock);
  return NULL;
}

static uly_status start(uly__disk *disk, const char *path, int64_t bytes) {
  disk->path = strdup(path);
  ULY_TRY(uly__check_memory(disk->path, "a path"));
  ULY_TRY(uly__file_scratch(path, bytes, &disk->fd));
  int error = pthread_create(&disk->thread, NULL, work, disk);
  if (error)
    ULY_FAIL(ULY_ERR_INTERNAL, "cannot start a thread for '%s': %s", path, strerror(error));
  disk->started = true;
  return ULY_OK;
}

uly_status uly__disk_open(uly__stream *stream, const char *path, int64_t bytes, uly__disk **out) {
  *out = NULL;
  uly__disk *disk = calloc(1, sizeof *disk);
  if (!disk) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a queue of reads and writes");
  disk->stream = stream;
  disk->fd = -1;
  pthread_mutex_init(&disk->lock, NULL);
  pthread_cond_init(&disk->changed, NULL);
  uly_status status = start(disk, path, bytes);
  if (status != ULY_OK)
    uly__disk_close(disk);
  else
    *out = disk;
  return status;
}

void uly__disk_close(uly__disk *disk) {
  if (!disk) return;
  pthread_mutex_lock(&disk->lock);
  disk->closing = true;
  pthread_cond_broadcast(&disk->changed);
  pthread_mutex_unlock(&disk->lock);
  if (disk->started) pthread_join(disk->thread, NULL);
  if (disk->fd >= 0) close(disk->fd);
  pthread_cond_destroy(&disk->changed);
  pthread_mutex_destroy(&disk->lock);
  free(disk->path);
  free(disk);
}

static int64_t ask(uly__disk *disk, request r) {
  pthread_mutex_lock(&disk->lock);
  while (disk->num_asked - disk->num_done == QUEUE) pthread_cond_wait(&disk->changed, &disk->lock);
  disk->queue[disk->num_asked % QUEUE] = r;
  int64_t number = ++disk->num_asked;
  pthread_cond_broadcast(&disk->changed);
  pthread_mutex_unlock(&disk->lock);
  return number;
}

int64_t uly__disk_write(uly__disk *disk, int64_t index, int64_t offset, void *memory,
                        int64_t bytes) {
  return ask(disk, (request){true, index, offset, bytes, memory});
}

int64_t uly__disk_read(uly__disk *disk, int64_t index, int64_t offset, void *memory,
                       int64_t bytes) {
  return ask(disk, (request){false, index, offset, bytes, memory});
}

uly_status uly__disk_wait(uly__disk *disk, int64_t number) {
  pthread_mutex_lock(&disk->lock);
  while (disk->num_done < number) pthread_cond_wait(&disk->changed, &disk->lock);
  uly_status status = disk->status;
  if (status != ULY_OK) uly__set_last_error(disk->message);
  disk->status = ULY_OK;
  pthread_mutex_unlock(&disk->lock);
  return status;
}
