/* Files that are read a part at a time while a run goes on. Nothing is mapped and no file is held
 * open for long, so a file that is cut short meanwhile gives an error and not a signal, and a
 * folder may hold more files than a process may open. */
#ifndef ULY_SOURCE_FILE_H
#define ULY_SOURCE_FILE_H

#include "base/status.h"

typedef struct uly__source_file {
  /* Borrowed; what: "token file", for messages. */
  const char *path, *what;
  int64_t size; /* when it was opened */
} uly__source_file;

/* Checks that the file is regular and can be read. The message of ULY_ERR_IO or ULY_ERR_DATA names
 * it. */
uly_status uly__source_open(const char *path, const char *what, uly__source_file *out);

/* Reads bytes [begin, begin + count), which lie within size. Returns ULY_ERR_DATA if the file has a
 * different size by now, and ULY_ERR_IO if it cannot be read. Several threads may read at once. */
uly_status uly__source_read(const uly__source_file *file, int64_t begin, int64_t count, void *out);

/* Do the same in several parts: the first opens a descriptor, which the caller closes, and the
 * second reads through it. On failure *fd is -1. */
uly_status uly__source_begin(const uly__source_file *file, int *fd);
uly_status uly__source_read_part(const uly__source_file *file, int fd, int64_t begin, int64_t count,
                                 void *out);

/* Sets *hash to an XXH3 of the size and the content: of all bytes if there are at most
 * ULY_HASHED_WHOLE; otherwise of 64 pieces of 64 KiB, the first at the beginning, the last at the
 * end, and the others at equal distances between them. */
enum { ULY_HASHED_WHOLE = 4 << 20 };
uly_status uly__source_hash(const uly__source_file *file, uint64_t *hash);

#endif
