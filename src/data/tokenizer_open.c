/* Opens tokenizers: finds out which file to read, and of which kind it is. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/sized.h"
#include "data/folder.h"
#include "data/tokenizer_read.h"

/* The files that a folder may hold, in order of preference. */
static const char *const names[] = {"tokenizer.json"};

/* Writes the path of the file to read into path[PATH_MAX], and that of its folder into folder. */
static uly_status find_file(const char *given, char *path, char *folder) {
  struct stat info;
  if (strlen(given) >= PATH_MAX) ULY_FAIL(ULY_ERR_CONFIG, "the path of a tokenizer is too long");
  strcpy(path, given);
  strcpy(folder, given);
  if (stat(given, &info) != 0) return uly__file_failed("open the tokenizer", given);
  if (!S_ISDIR(info.st_mode)) {
    char *slash = strrchr(folder, '/');
    if (slash)
      slash[slash == folder] = '\0';
    else
      strcpy(folder, ".");
    return ULY_OK;
  }
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    ULY_TRY(uly__path_join(path, PATH_MAX, given, names[i]));
    if (access(path, F_OK) == 0) return ULY_OK;
  }
  ULY_FAIL(ULY_ERR_DATA, "the folder '%s' has no tokenizer: there is no tokenizer.json in it",
           given);
}

static uly_status read_file(const char *bytes, int64_t n, uly_tokenizer *t) {
  return uly__tokenizer_read_json(bytes, n, t);
}

static uly_status open_path(const char *given, uly_tokenizer *t) {
  char path[PATH_MAX], folder[PATH_MAX], *bytes;
  int64_t n;
  ULY_TRY(find_file(given, path, folder));
  ULY_TRY(uly__file_load(path, "tokenizer", ULY__MOST_TOKENIZER_BYTES, &bytes, &n));
  uly_status status = read_file(bytes, n, t);
  free(bytes);
  if (status != ULY_OK) {
    char why[1024];
    snprintf(why, sizeof why, "%s", uly_last_error());
    return uly_fail(status, "'%s': %s", path, why);
  }
  uly__tokenizer_find_ends(folder, t);
  uly__tokenizer_hash(t);
  return ULY_OK;
}

uly_status uly_tokenizer_open(const char *path, const uly_tokenizer_config *config,
                              uly_tokenizer **out) {
  uly_tokenizer_config known = {.size = sizeof known};
  ULY_NOT_NULL(out);
  *out = NULL;
  ULY_NOT_NULL(path);
  if (config) ULY_TRY(uly__sized_read(config, "uly_tokenizer_config", &known, sizeof known));
  uly_tokenizer *t = calloc(1, sizeof *t);
  if (!t) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a tokenizer");
  (void)pthread_mutex_init(&t->lock, NULL);
  t->info.bos = t->info.eos = t->info.unk = -1;
  uly_status status = open_path(path, t);
  if (status == ULY_OK)
    *out = t;
  else
    uly_tokenizer_close(t);
  return status;
}

void uly_tokenizer_close(uly_tokenizer *t) {
  if (!t) return;
  for (uly__encoder *next; t->encoders; t->encoders = next) {
    next = uly__encoder_next(t->encoders);
    uly__encoder_free(t->encoders);
  }
  (void)pthread_mutex_destroy(&t->lock);
  for (int set = 0; set < 2; set++) uly__added_free(&t->added[set]);
  uly__vocab_free(&t->names);
  uly__vocab_free(&t->joining.bytes);
  uly__vocab_free(&t->joining.first_bytes);
  uly__normalizer_free(&t->normalizer);
  uly__pieces_free(&t->pieces);
  uly__bpe_free(&t->bpe);
  free(t->special);
  free(t->before);
  free(t->after);
  free(t);
}

uly_status uly_tokenizer_get_info(const uly_tokenizer *tokenizer, uly_tokenizer_info *info) {
  ULY_NOT_NULL(tokenizer);
  ULY_TRY(uly__sized_check(info, "uly_tokenizer_info"));
  uly__sized_write(info, &tokenizer->info, sizeof tokenizer->info);
  return ULY_OK;
}
