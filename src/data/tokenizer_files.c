/* See tokenizer_files.h. */
#include "data/tokenizer_files.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/folder.h"

/* Returns whether a companion holds the tokens themselves, rather than settings. */
static bool is_source(const char *name) {
  static const char *const settings[] = {"tokenizer_config.json", "special_tokens_map.json",
                                         "added_tokens.json", "generation_config.json",
                                         "chat_template.jinja"};
  for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
    if (strcmp(name, settings[i]) == 0) return false;
  return true;
}

static const uly__companion *find(const uly__companions *files, const char *name) {
  for (int i = 0; i < files->num; i++)
    if (strcmp(files->list[i].name, name) == 0) return &files->list[i];
  return NULL;
}

/* Returns the name under which a folder holds a tokenizer's file. */
static char *name_file(const char *base, const char *kind) {
  char name[NAME_MAX + 16];
  bool is_ranks = strcmp(kind, "tiktoken") == 0;
  const char *usual = strcmp(kind, "SentencePiece") == 0 ? "tokenizer.model" : "tokenizer.json";
  if (uly__is_companion(base))
    snprintf(name, sizeof name, "%s", base);
  else
    snprintf(name, sizeof name, "%s%s", is_ranks ? base : usual, is_ranks ? ".tiktoken" : "");
  return strdup(name);
}

/* Drops the sources of a folder, except the merges that belong to a vocab.json, and returns the
 * number of files that are left. */
static int drop_sources(uly__companions *files, bool keeps_merges) {
  int num = 0;
  for (int i = 0; i < files->num; i++) {
    uly__companion *file = &files->list[i];
    bool is_kept =
        !is_source(file->name) || (keeps_merges && strcmp(file->name, "merges.txt") == 0);
    if (is_kept) {
      files->list[num++] = *file;
    } else {
      free(file->name);
      free(file->bytes);
    }
  }
  return num;
}

static uly_status add_file(const char *path, const char *base, const char *kind,
                           uly__companions *files) {
  files->num = drop_sources(files, strcmp(base, "vocab.json") == 0);
  uly__companion *list = realloc(files->list, (size_t)(files->num + 1) * sizeof *list);
  if (!list) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the files of a tokenizer");
  files->list = list;
  uly__companion *file = &list[files->num++];
  *file = (uly__companion){.name = name_file(base, kind)};
  if (!file->name) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the name of a file");
  return uly__file_load(path, "tokenizer", ULY_COMPANION_BYTES, &file->bytes, &file->count);
}

uly_status uly__tokenizer_files_read(const char *path, const char *kind, uly__companions *out) {
  struct stat info;
  *out = (uly__companions){0};
  if (stat(path, &info) != 0) return uly__file_failed("open the tokenizer", path);
  if (S_ISDIR(info.st_mode)) return uly__companions_read(path, out);
  const char *slash = strrchr(path, '/');
  char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
  if (!folder) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a path");
  uly_status status = uly__companions_read(folder, out);
  free(folder);
  if (status == ULY_OK) status = add_file(path, slash ? slash + 1 : path, kind, out);
  if (status != ULY_OK) uly__companions_free(out);
  return status;
}

uly_status uly__tokenizer_files_check(const uly__companions *files, const char *folder) {
  uly__companions there;
  ULY_TRY(uly__companions_read(folder, &there));
  uly_status status = ULY_OK;
  for (int i = 0; i < there.num && status == ULY_OK; i++) {
    const uly__companion *old = &there.list[i], *own = find(files, old->name);
    bool is_same =
        own && own->count == old->count && memcmp(own->bytes, old->bytes, (size_t)old->count) == 0;
    if (!is_same && (own || is_source(old->name)))
      status = uly_fail(ULY_ERR_CONFIG,
                        "'%s/%s' belongs to a different tokenizer than the one of the shards: give "
                        "another folder, or remove it",
                        folder, old->name);
  }
  uly__companions_free(&there);
  return status;
}

uly_status uly__tokenizer_files_write(const uly__companions *files, const char *folder) {
  for (int i = 0; i < files->num; i++) {
    const uly__companion *file = &files->list[i];
    char path[PATH_MAX];
    ULY_TRY(uly__path_join(path, sizeof path, folder, file->name));
    if (access(path, F_OK) != 0) ULY_TRY(uly__file_create(path, file->bytes, file->count, 0));
  }
  return ULY_OK;
}
