/* The resolved configuration of a run: saved beside it, and printed for people. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/say.h"
#include "common/wrap.h"
#include "options/options_table.h"

/* Writes the text to a new file and syncs it. */
static uly_status write_file(const options *o, const char *path) {
  FILE *file = fopen(path, "w");
  if (!file) return uly_fail(ULY_ERR_IO, "'%.400s' cannot be written: %s", path, strerror(errno));
  uly_status status = options_write_yaml(o, file);
  bool is_written = fflush(file) == 0 && fsync(fileno(file)) == 0;
  is_written = fclose(file) == 0 && is_written;
  if (status != ULY_OK || is_written) return status;
  return uly_fail(ULY_ERR_IO, "'%.400s' cannot be written: %s", path, strerror(errno));
}

/* Syncs the folder, without which a new name may be lost. */
static bool sync_folder(const char *folder) {
  int fd = open(folder, O_RDONLY | O_DIRECTORY);
  bool ok = fd >= 0 && fsync(fd) == 0;
  if (fd >= 0) close(fd);
  return ok;
}

uly_status options_save(const options *o, const char *path) {
  char folder[PATH_MAX], hidden[PATH_MAX];
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
  int length = slash ? snprintf(folder, sizeof folder, "%.*s/", (int)(slash - path), path)
                     : snprintf(folder, sizeof folder, "./");
  int total = snprintf(hidden, sizeof hidden, "%s.%s", folder, name);
  if (length < 0 || length >= PATH_MAX || total < 0 || total >= PATH_MAX)
    return uly_fail(ULY_ERR_CONFIG, "the path '%.200s...' is too long", path);
  uly_status status = write_file(o, hidden);
  if (status == ULY_OK && (rename(hidden, path) != 0 || !sync_folder(folder)))
    status = uly_fail(ULY_ERR_IO, "'%.400s' cannot be written: %s", path, strerror(errno));
  if (status != ULY_OK) unlink(hidden);
  return status;
}

/* Returns "key value, key value" of the section, or NULL if there is no memory. The texts must be
 * freed. */
static char *join_section(const options *o, section_id section) {
  char *text = NULL, buffer[OPTION_BUFFER];
  size_t size = 0;
  FILE *stream = open_memstream(&text, &size);
  if (!stream) return NULL;
  const char *separator = "";
  for (option_id id = option_next(-1, o->command, section); id < num_options;
       id = option_next(id, o->command, section)) {
    const char *value = options_get(o, id, buffer);
    if (!value) continue;
    fprintf(stream, "%s%s %s", separator, option_table[id].key, value);
    separator = ", ";
  }
  fclose(stream);
  return text;
}

void options_print(FILE *file, const options *o) {
  fputs("options\n", file);
  for (section_id section = 0; section < NUM_FILE_SECTIONS; section++) {
    char *text = join_section(o, section);
    if (text) make_printable(text);
    if (text && *text) wrap_entry(file, section_table[section].key, text, WRAP_SHORT);
    free(text);
  }
}
