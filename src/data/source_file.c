/* See source_file.h. */
#include "data/source_file.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/file.h"

uly_status uly__source_open(const char *path, const char *what, uly__source_file *out) {
  int fd;
  *out = (uly__source_file){.path = path, .what = what};
  uly_status status = uly__file_open_input(path, what, &fd, &out->size);
  if (fd >= 0) close(fd);
  return status;
}

static uly_status fail_changed(const uly__source_file *file, int64_t size) {
  ULY_FAIL(ULY_ERR_DATA,
           "%s '%s' was changed while in use: it had %lld bytes, and has %lld now; files must stay "
           "as they are until the run has ended",
           file->what, file->path, (long long)file->size, (long long)size);
}

uly_status uly__source_begin(const uly__source_file *file, int *fd) {
  int64_t size = 0;
  ULY_TRY(uly__file_open_input(file->path, file->what, fd, &size));
  if (size == file->size) return ULY_OK;
  close(*fd);
  *fd = -1;
  return fail_changed(file, size);
}

uly_status uly__source_read_part(const uly__source_file *file, int fd, int64_t begin, int64_t count,
                                 void *out) {
  uly_status status = uly__file_read(fd, file->path, begin, out, count);
  if (status == ULY_OK) return ULY_OK;
  /* The file may have been cut after its size was checked: then that is what went wrong. */
  struct stat info;
  if (fstat(fd, &info) == 0 && info.st_size != file->size) return fail_changed(file, info.st_size);
  return status;
}

uly_status uly__source_read(const uly__source_file *file, int64_t begin, int64_t count, void *out) {
  int fd;
  if (count == 0) return ULY_OK;
  ULY_TRY(uly__source_begin(file, &fd));
  uly_status status = uly__source_read_part(file, fd, begin, count, out);
  close(fd);
  return status;
}

/* Pieces of a hash: NUM_PIECES of a long file are read, together as much as is read of a short
 * one. */
enum { PIECE = 1 << 16, NUM_PIECES = ULY_HASHED_WHOLE / PIECE };

static int64_t place_piece(int64_t size, int64_t i) {
  if (size <= ULY_HASHED_WHOLE) return i * PIECE;
  int64_t last = size - PIECE, step = last / (NUM_PIECES - 1), rest = last % (NUM_PIECES - 1);
  return i * step + i * rest / (NUM_PIECES - 1);
}

static uly_status hash_pieces(const uly__source_file *file, int fd, char *piece, uint64_t *hash) {
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  XXH3_64bits_update(&state, &file->size, sizeof file->size);
  for (int64_t i = 0; i < NUM_PIECES && place_piece(file->size, i) < file->size; i++) {
    int64_t begin = place_piece(file->size, i), left = file->size - begin;
    int64_t count = left < PIECE ? left : PIECE;
    ULY_TRY(uly__source_read_part(file, fd, begin, count, piece));
    XXH3_64bits_update(&state, piece, (size_t)count);
  }
  *hash = XXH3_64bits_digest(&state);
  return ULY_OK;
}

uly_status uly__source_hash(const uly__source_file *file, uint64_t *hash) {
  int fd;
  ULY_TRY(uly__source_begin(file, &fd));
  char *piece = malloc(PIECE);
  uly_status status = piece ? hash_pieces(file, fd, piece, hash)
                            : uly_fail(ULY_ERR_MEMORY, "no memory to read '%s'", file->path);
  free(piece);
  close(fd);
  return status;
}
