/* See prepare_output.h. */
#include "data/prepare_output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/folder.h"

uly_status uly__prepare_output_name(uly__prepare_output *out, const char *folder, const char *name,
                                    uly_prepare_part *part) {
  char hidden[32];
  struct stat info;
  snprintf(hidden, sizeof hidden, ".%s.tmp", name);
  ULY_TRY(uly__path_join(out->final, PATH_MAX, folder, name));
  ULY_TRY(uly__path_join(out->hidden, PATH_MAX, folder, hidden));
  out->part = part;
  if (lstat(out->final, &info) == 0)
    ULY_FAIL(ULY_ERR_CONFIG,
             "'%s' exists already: give another folder as prepare.out, or remove it", out->final);
  return ULY_OK;
}

uly_status uly__prepare_output_open(uly__prepare_output *out, int64_t shard_tokens,
                                    const uly__shard_tokens *tokens) {
  ULY_TRY(uly__folder_make(out->hidden));
  return uly__shard_writer_open(out->hidden, shard_tokens, tokens, &out->writer);
}

uly_status uly__prepare_output_finish(uly__prepare_output *out) {
  ULY_TRY(uly__shard_writer_finish(out->writer, out->part));
  return uly__folder_sync(out->hidden);
}

uly_status uly__prepare_output_show(const uly__prepare_output *out) {
  if (rename(out->hidden, out->final) != 0) return uly__file_failed("rename to", out->final);
  return ULY_OK;
}

void uly__prepare_output_hide(const uly__prepare_output *out) {
  (void)rename(out->final, out->hidden);
}

uly_status uly__prepare_output_remove(const uly__prepare_output *out) {
  return uly__folder_remove(out->hidden);
}

uly_status uly__prepare_lock(const char *folder, int *fd) {
  *fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (*fd < 0) return uly__file_failed("open the folder", folder);
  if (flock(*fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return ULY_OK;
  close(*fd);
  ULY_FAIL(ULY_ERR_IO,
           "'%s' is being written to by another process: wait, or give another prepare.out",
           folder);
}
