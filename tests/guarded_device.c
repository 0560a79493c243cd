/* Memory, copies and MPI of the guarded device: see guarded_device.h. */
#include "guarded_device.h"

#include <mpi.h>

#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device/device.h"
#include "device/device_cpu.h"

/* ----------------------------------------------------------------------------- pages */

enum { MAX_REGIONS = 256 };

typedef struct region {
  char *begin;
  size_t bytes;
} region;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static region regions[MAX_REGIONS]; /* in the order of their addresses */
static int num_regions;
static int num_inside;

static void fail(const char *what) {
  perror(what);
  abort();
}

static char *end_of(const region *r) { return r->begin + r->bytes; }

/* Protects all regions, with one system call for each run of neighbours: most of the time of a test
 * on this device goes by in these calls. */
static void protect(int protection) {
  for (int i = 0; i < num_regions;) {
    char *begin = regions[i].begin, *end = begin;
    while (i < num_regions && regions[i].begin == end) end = end_of(&regions[i++]);
    if (mprotect(begin, (size_t)(end - begin), protection) != 0) fail("guarded device: mprotect");
  }
}

/* Returns whether an address is in the device's memory. It takes no lock, since a handler of
 * signals calls it; memory is allocated and freed while no other thread uses the device. */
bool guard_has(const void *address) {
  const char *at = address;
  for (int i = 0; i < num_regions; i++)
    if (at >= regions[i].begin && at < end_of(&regions[i])) return true;
  return false;
}

/* Says who has touched the device's memory; then the process ends with the signal. */
static void report(int number, siginfo_t *info, void *context) {
  (void)context;
  static const char message[] =
      "guarded device: code outside of ops, copies and MPI touched its memory (addr2line -fe):\n";
  if (guard_has(info->si_addr)) {
    void *frames[32];
    int num = backtrace(frames, 32);
    if (write(STDERR_FILENO, message, sizeof message - 1) > 0)
      backtrace_symbols_fd(frames, num, STDERR_FILENO);
  }
  signal(number, SIG_DFL);
}

/* Takes the signal back from cmocka and MPI, which take it too. */
static void take_signal(void) {
  struct sigaction action = {.sa_sigaction = report, .sa_flags = SA_SIGINFO};
  if (sigaction(SIGSEGV, &action, NULL) != 0) fail("guarded device: sigaction");
}

void guard_enter(void) {
  pthread_mutex_lock(&lock);
  if (num_inside++ == 0) {
    take_signal();
    protect(PROT_READ | PROT_WRITE);
  }
  pthread_mutex_unlock(&lock);
}

void guard_leave(void) {
  pthread_mutex_lock(&lock);
  if (--num_inside == 0) protect(PROT_NONE);
  pthread_mutex_unlock(&lock);
}

/* ----------------------------------------------------------------------------- device */

/* Pages are huge, because it takes as long to protect 16 MiB of small ones as some ops take. Where
 * the system has none to give, everything is slower. */
enum { PAGE = 2 << 20 };

static size_t whole_pages(int64_t bytes) { return ((size_t)bytes + PAGE - 1) / PAGE * PAGE; }

/* The addresses of all regions, so that they lie side by side. Nothing else is mapped there. */
#define SPAN ((size_t)64 << 30)
static char *span;

/* Maps memory in the place of what is there. */
static void map(char *at, size_t size, int protection, int flags) {
  flags |= MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  if (mmap(at, size, protection, flags, -1, 0) == MAP_FAILED) fail("guarded device: mmap");
}

static void reserve(void) {
  char *memory =
      mmap(NULL, SPAN + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) fail("guarded device: mmap");
  span = memory + PAGE - (uintptr_t)memory % PAGE;
}

/* Returns zeroed memory in the first room that is large enough; NULL if none is. */
static void *allocate(int64_t bytes) {
  if (bytes <= 0) return NULL;
  size_t size = whole_pages(bytes);
  pthread_mutex_lock(&lock);
  if (!span) reserve();
  char *memory = span;
  int i = 0;
  while (i < num_regions && (size_t)(regions[i].begin - memory) < size)
    memory = end_of(&regions[i++]);
  if (num_regions == MAX_REGIONS) fail("guarded device: too many regions");
  if (size <= SPAN - (size_t)(memory - span)) {
    map(memory, size, num_inside ? PROT_READ | PROT_WRITE : PROT_NONE, 0);
#ifdef MADV_HUGEPAGE
    (void)madvise(memory, size, MADV_HUGEPAGE);
#endif
    memmove(regions + i + 1, regions + i, (size_t)(num_regions++ - i) * sizeof *regions);
    regions[i] = (region){memory, size};
  } else {
    memory = NULL;
  }
  pthread_mutex_unlock(&lock);
  return memory;
}

static void release(void *memory, int64_t bytes) {
  if (!memory) return;
  pthread_mutex_lock(&lock);
  int i = 0;
  while (i < num_regions && regions[i].begin != memory) i++;
  if (i == num_regions || regions[i].bytes != whole_pages(bytes))
    fail("guarded device: not a region");
  map(memory, regions[i].bytes, PROT_NONE, MAP_NORESERVE);
  memmove(regions + i, regions + i + 1, (size_t)(--num_regions - i) * sizeof *regions);
  pthread_mutex_unlock(&lock);
}

static void copy(void *to, const void *from, int64_t bytes) {
  guard_enter();
  uly__device_cpu()->copy(to, from, bytes);
  guard_leave();
}

static void copy_rows(int64_t rows, int64_t row_bytes, void *to, int64_t to_stride,
                      const void *from, int64_t from_stride) {
  guard_enter();
  uly__device_cpu()->copy_rows(rows, row_bytes, to, to_stride, from, from_stride);
  guard_leave();
}

static void clear(void *memory, int64_t bytes) {
  guard_enter();
  uly__device_cpu()->clear(memory, bytes);
  guard_leave();
}

static uly_status read_file(int fd, const char *path, int64_t offset, void *memory, int64_t bytes) {
  guard_enter();
  uly_status status = uly__device_cpu()->read(fd, path, offset, memory, bytes);
  guard_leave();
  return status;
}

static uly_status load_file(int fd, const char *path, int64_t offset, void *memory, int64_t bytes) {
  guard_enter();
  uly_status status = uly__device_cpu()->load(fd, path, offset, memory, bytes);
  guard_leave();
  return status;
}

static uly_status write_file(int fd, const char *path, int64_t offset, const void *memory,
                             int64_t bytes) {
  guard_enter();
  uly_status status = uly__device_cpu()->write(fd, path, offset, memory, bytes);
  guard_leave();
  return status;
}

__attribute__((constructor)) static void use(void) {
  static const uly__device device = {.name = "guarded",
                                     .alloc = allocate,
                                     .free = release,
                                     .copy = copy,
                                     .copy_rows = copy_rows,
                                     .clear = clear,
                                     .read = read_file,
                                     .load = load_file,
                                     .write = write_file};
  void *frame;
  (void)backtrace(&frame, 1); /* loads what it needs before a handler calls it */
  uly__stream_get()->device = &device;
}

/* -------------------------------------------------------------------------------- MPI
 *
 * MPI moves the data of calls that are under way inside any call that waits or looks for something,
 * so each of those that the library and the tests use opens the pages. See pmpi_count.c for how
 * they get here. */

#define MPI_CALL(name, parameters, ...) \
  int name parameters {                 \
    guard_enter();                      \
    int code = P##name(__VA_ARGS__);    \
    guard_leave();                      \
    return code;                        \
  }

MPI_CALL(MPI_Alltoallv,
         (const void *send, const int counts[], const int offsets[], MPI_Datatype type, void *recv,
          const int recv_counts[], const int recv_offsets[], MPI_Datatype recv_type, MPI_Comm comm),
         send, counts, offsets, type, recv, recv_counts, recv_offsets, recv_type, comm)
MPI_CALL(MPI_Ialltoallv,
         (const void *send, const int counts[], const int offsets[], MPI_Datatype type, void *recv,
          const int recv_counts[], const int recv_offsets[], MPI_Datatype recv_type, MPI_Comm comm,
          MPI_Request *request),
         send, counts, offsets, type, recv, recv_counts, recv_offsets, recv_type, comm, request)
MPI_CALL(MPI_Allgather,
         (const void *send, int count, MPI_Datatype type, void *recv, int recv_count,
          MPI_Datatype recv_type, MPI_Comm comm),
         send, count, type, recv, recv_count, recv_type, comm)
MPI_CALL(MPI_Iallgather,
         (const void *send, int count, MPI_Datatype type, void *recv, int recv_count,
          MPI_Datatype recv_type, MPI_Comm comm, MPI_Request *request),
         send, count, type, recv, recv_count, recv_type, comm, request)
MPI_CALL(MPI_Bcast, (void *buffer, int count, MPI_Datatype type, int root, MPI_Comm comm), buffer,
         count, type, root, comm)
MPI_CALL(MPI_Barrier, (MPI_Comm comm), comm)
MPI_CALL(MPI_Isend,
         (const void *buffer, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm,
          MPI_Request *request),
         buffer, count, type, to, tag, comm, request)
MPI_CALL(MPI_Irecv,
         (void *buffer, int count, MPI_Datatype type, int from, int tag, MPI_Comm comm,
          MPI_Request *request),
         buffer, count, type, from, tag, comm, request)
MPI_CALL(MPI_Testall, (int num, MPI_Request requests[], int *flag, MPI_Status statuses[]), num,
         requests, flag, statuses)
MPI_CALL(MPI_Waitall, (int num, MPI_Request requests[], MPI_Status statuses[]), num, requests,
         statuses)
MPI_CALL(MPI_Comm_dup, (MPI_Comm comm, MPI_Comm *out), comm, out)
MPI_CALL(MPI_Comm_split, (MPI_Comm comm, int color, int key, MPI_Comm *out), comm, color, key, out)
MPI_CALL(MPI_Comm_split_type, (MPI_Comm comm, int type, int key, MPI_Info info, MPI_Comm *out),
         comm, type, key, info, out)
MPI_CALL(MPI_Comm_free, (MPI_Comm * comm), comm)
MPI_CALL(MPI_Finalize, (void), )
