/* A whole file mapped into memory, to read only. */
#ifndef ULY_MAPPED_FILE_H
#define ULY_MAPPED_FILE_H

#include "base/status.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "token shards and safetensors are little-endian and are used as they lie in the mapping"
#endif

typedef struct uly__mapped_file {
  const unsigned char *bytes; /* page-aligned; NULL where size is 0 */
  int64_t size;
} uly__mapped_file;

/* Maps a regular file (symbolic links are followed). `what` says in messages which kind of
 * file it is meant to be, as in "token file". ULY_ERR_IO where the operating system refuses,
 * ULY_ERR_DATA where it is no regular file. The descriptor is closed on return. The file must
 * not be cut short while it is mapped: reading what is gone ends the process (SIGBUS). */
uly_status uly__map_file(const char *path, const char *what, uly__mapped_file *out);

/* Accepts {NULL, 0}. */
void uly__unmap_file(uly__mapped_file *file);

#endif
