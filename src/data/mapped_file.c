/* Maps files to read (POSIX mmap). A private read-only mapping is shared with the page cache, so
 * ranks of one node that open the same file hold it in memory once. */
#include "data/mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static uly_status map_descriptor(int fd, const char *path, const char *what,
                                 uly__mapped_file *out) {
  struct stat info;
  if (fstat(fd, &info) != 0)
    ULY_FAIL(ULY_ERR_IO, "cannot examine %s '%s': %s", what, path, strerror(errno));
  if (S_ISDIR(info.st_mode))
    ULY_FAIL(ULY_ERR_DATA, "%s '%s' is a folder: give the path of a file", what, path);
  if (!S_ISREG(info.st_mode))
    ULY_FAIL(ULY_ERR_DATA,
             "%s '%s' is not a regular file and cannot be mapped: copy its contents to a file",
             what, path);
  if (info.st_size == 0) return ULY_OK;
  if ((uintmax_t)info.st_size > SIZE_MAX)
    ULY_FAIL(ULY_ERR_DATA, "%s '%s' is larger than this machine's address space: split it", what,
             path);
  void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (bytes == MAP_FAILED)
    ULY_FAIL(ULY_ERR_IO, "cannot map %s '%s' (%lld bytes): %s%s", what, path,
             (long long)info.st_size, strerror(errno),
             errno == ENOMEM ? "; with very many files, join them into fewer or raise "
                               "vm.max_map_count; otherwise see `ulimit -v`"
                             : "");
  *out = (uly__mapped_file){.bytes = bytes, .size = info.st_size};
  return ULY_OK;
}

uly_status uly__map_file(const char *path, const char *what, uly__mapped_file *out) {
  *out = (uly__mapped_file){0};
  /* O_NONBLOCK: opening a FIFO must not wait for a writer; it is refused above. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    ULY_FAIL(ULY_ERR_IO, "cannot open %s '%s': %s: check the path and its permissions", what, path,
             strerror(errno));
  uly_status status = map_descriptor(fd, path, what, out);
  close(fd);
  return status;
}

void uly__unmap_file(uly__mapped_file *file) {
  if (file->bytes) munmap((void *)(uintptr_t)file->bytes, (size_t)file->size);
  *file = (uly__mapped_file){0};
}
