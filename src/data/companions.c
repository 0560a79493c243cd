/* Reads and writes the files of tokenizers: see companions.h. */
#include "data/companions.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/folder.h"

static const char *const names[] = {"tokenizer.json",
                                    "tokenizer.model",
                                    "tokenizer_config.json",
                                    "special_tokens_map.json",
                                    "added_tokens.json",
                                    "vocab.json",
                                    "merges.txt",
                                    "generation_config.json",
                                    "chat_template.jinja",
                                    "tekken.json"};

bool uly__is_companion(const char *name) {
  static const char end[] = ".tiktoken";
  size_t length = strlen(name), tail = sizeof end - 1;
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (strcmp(name, names[i]) == 0) return true;
  return length > tail && name[0] != '.' && strcmp(name + length - tail, end) == 0;
}

static uly_status add(uly__companions *all, const char *dir, const char *name, int64_t *left) {
  char path[PATH_MAX];
  uly__companion *list = realloc(all->list, (size_t)(all->num + 1) * sizeof *list);
  if (!list) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the files of a tokenizer");
  all->list = list;
  uly__companion *file = &list[all->num++];
  *file = (uly__companion){.name = strdup(name)};
  if (!file->name) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the name of a file");
  ULY_TRY(uly__path_join(path, sizeof path, dir, name));
  ULY_TRY(uly__file_load(path, "file of a tokenizer", *left, &file->bytes, &file->count));
  *left -= file->count;
  return ULY_OK;
}

static uly_status add_all(uly__companions *all, const char *dir, DIR *folder) {
  int64_t left = ULY_COMPANION_BYTES;
  errno = 0;
  for (struct dirent *entry; (entry = readdir(folder)); errno = 0)
    if (uly__is_companion(entry->d_name)) ULY_TRY(add(all, dir, entry->d_name, &left));
  return errno ? uly__file_failed("list the folder", dir) : ULY_OK;
}

static int compare(const void *a, const void *b) {
  return strcmp(((const uly__companion *)a)->name, ((const uly__companion *)b)->name);
}

uly_status uly__companions_read(const char *dir, uly__companions *out) {
  *out = (uly__companions){0};
  DIR *folder = opendir(dir);
  if (!folder) return uly__file_failed("open the folder", dir);
  uly_status status = add_all(out, dir, folder);
  closedir(folder);
  if (status != ULY_OK)
    uly__companions_free(out);
  else if (out->num > 0)
    qsort(out->list, (size_t)out->num, sizeof *out->list, compare);
  return status;
}

uly_status uly__companions_write(const uly__companions *companions, const char *dir) {
  for (int i = 0; i < companions->num; i++) {
    const uly__companion *file = &companions->list[i];
    char path[PATH_MAX];
    ULY_TRY(uly__path_join(path, sizeof path, dir, file->name));
    ULY_TRY(uly__file_create(path, file->bytes, file->count, 0));
  }
  return ULY_OK;
}

void uly__companions_free(uly__companions *companions) {
  for (int i = 0; i < companions->num; i++) {
    free(companions->list[i].name);
    free(companions->list[i].bytes);
  }
  free(companions->list);
  *companions = (uly__companions){0};
}
