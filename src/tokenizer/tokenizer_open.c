/* Opens tokenizers: finds out which file to read, and of which kind it is. */
#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/folder.h"
#include "base/sized.h"
#include "tokenizer/text_cuts.h"
#include "tokenizer/tokenizer_readers.h"

/* The files that a folder may hold, in order of preference. */
static const char *const names[] = {"tokenizer.json", "tokenizer.model", ".tiktoken", "vocab.json"};

/* --------------------------------------------------------------------------- finding */

/* Returns the part of a path after the last slash. */
static const char *file_of(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

static bool ends_with(const char *text, const char *end) {
  size_t n = strlen(text), num = strlen(end);
  return n >= num && strcmp(text + n - num, end) == 0;
}

/* Looks for a file whose name is, or ends with, `name`; of several, the first in byte order. */
static uly_status look_for(const char *folder, const char *name, char *path) {
  char best[NAME_MAX + 1] = "";
  DIR *entries = opendir(folder);
  if (!entries) return uly__file_failed("read the folder", folder);
  for (struct dirent *entry; (entry = readdir(entries));) {
    bool is_named = name[0] == '.' ? ends_with(entry->d_name, name) && entry->d_name[0] != '.'
                                   : strcmp(entry->d_name, name) == 0;
    if (is_named && (!best[0] || strcmp(entry->d_name, best) < 0))
      snprintf(best, sizeof best, "%s", entry->d_name);
  }
  closedir(entries);
  path[0] = '\0';
  return best[0] ? uly__path_join(path, PATH_MAX, folder, best) : ULY_OK;
}

/* Finds the file of a folder; path[0] is 0 if it has none. */
static uly_status find_in(const char *folder, char *path) {
  path[0] = '\0';
  for (size_t i = 0; i < sizeof names / sizeof *names && !path[0]; i++)
    ULY_TRY(look_for(folder, names[i], path));
  return ULY_OK;
}

int uly_tokenizer_is_in(const char *folder) {
  char path[PATH_MAX];
  return folder && find_in(folder, path) == ULY_OK && path[0];
}

/* Writes the path of the file to read into path[PATH_MAX], and that of its folder into folder. */
static uly_status find_file(const char *given, char *path, char *folder) {
  struct stat info;
  if (strlen(given) >= PATH_MAX) ULY_FAIL(ULY_ERR_CONFIG, "the path of a tokenizer is too long");
  snprintf(path, PATH_MAX, "%s", given);
  snprintf(folder, PATH_MAX, "%s", given);
  if (stat(given, &info) != 0) return uly__file_failed("open the tokenizer", given);
  if (!S_ISDIR(info.st_mode)) {
    char *slash = strrchr(folder, '/');
    if (slash)
      slash[slash == folder] = '\0';
    else
      snprintf(folder, PATH_MAX, ".");
    return ULY_OK;
  }
  ULY_TRY(find_in(given, path));
  if (path[0]) return ULY_OK;
  ULY_FAIL(ULY_ERR_DATA,
           "the folder '%s' has no tokenizer: there is no tokenizer.json, tokenizer.model, "
           "*.tiktoken or vocab.json in it",
           given);
}

/* --------------------------------------------------------------------------- reading */

static uly_status read_gpt2(const char *vocab, int64_t num_vocab, const char *folder,
                            uly_tokenizer *t) {
  char path[PATH_MAX], *merges;
  int64_t n;
  ULY_TRY(uly__path_join(path, sizeof path, folder, "merges.txt"));
  ULY_TRY(uly__file_load(path, "list of merges", ULY__MOST_TOKENIZER_BYTES, &merges, &n));
  uly_status status = uly__tokenizer_read_gpt2(vocab, num_vocab, merges, n, t);
  free(merges);
  return status;
}

/* Returns whether a file begins with a line of base64, a space and a number. */
static bool is_ranks(const char *bytes, int64_t n) {
  int64_t at = 0;
  while (at < n && at < 4096 && (isalnum((unsigned char)bytes[at]) || strchr("+/=", bytes[at])) &&
         bytes[at])
    at++;
  return at > 0 && at + 1 < n && bytes[at] == ' ' && isdigit((unsigned char)bytes[at + 1]);
}

/* Reads a file, whose kind its content tells: a tokenizer.model may be one of ranks, too. */
static uly_status read_file(const char *bytes, int64_t n, const char *path, const char *folder,
                            const uly_tokenizer_config *config, uly_tokenizer *t) {
  bool has_ranks = is_ranks(bytes, n);
  if (config->pattern && !has_ranks)
    ULY_FAIL(ULY_ERR_CONFIG, "a pattern is given, but the file is not one of ranks of tiktoken");
  if (has_ranks) return uly__tokenizer_read_tiktoken(bytes, n, file_of(path), config, t);
  if (strcmp(file_of(path), "vocab.json") == 0) return read_gpt2(bytes, n, folder, t);
  int64_t at = 0;
  while (at < n && isspace((unsigned char)bytes[at])) at++;
  if (at < n && bytes[at] == '{') return uly__tokenizer_read_json(bytes, n, t);
  return uly__tokenizer_read_sentencepiece(bytes, n, t);
}

/* Opens a tokenizer, and writes the path of its folder into folder[PATH_MAX]. */
static uly_status open_path(const char *given, const uly_tokenizer_config *config, char *folder,
                            uly_tokenizer *t) {
  char path[PATH_MAX], *bytes;
  int64_t n;
  ULY_TRY(find_file(given, path, folder));
  ULY_TRY(uly__file_load(path, "tokenizer", ULY__MOST_TOKENIZER_BYTES, &bytes, &n));
  uly_status status = read_file(bytes, n, path, folder, config, t);
  free(bytes);
  if (status != ULY_OK) {
    char why[1024];
    snprintf(why, sizeof why, "%s", uly_last_error());
    return uly_fail(status, "'%s': %s", path, why);
  }
  t->info.num_tokens = t->joining.bytes.num;
  t->info.vocab = t->joining.bytes.end;
  uly__tokenizer_find_ends(folder, t);
  uly__tokenizer_hash(t);
  uly__tokenizer_find_cuts(t);
  return ULY_OK;
}

/* Opens a tokenizer as uly_tokenizer_open does, and writes the path of its folder into
 * folder[PATH_MAX]. */
static uly_status open_in(const char *path, const uly_tokenizer_config *config, char *folder,
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
  uly_status status = open_path(path, &known, folder, t);
  if (status == ULY_OK)
    *out = t;
  else
    uly_tokenizer_close(t);
  return status;
}

uly_status uly__tokenizer_open_silently(const char *path, uly_tokenizer **out) {
  char folder[PATH_MAX];
  return open_in(path, NULL, folder, out);
}

uly_status uly_tokenizer_open(const char *path, const uly_tokenizer_config *config,
                              uly_tokenizer **out) {
  char folder[PATH_MAX];
  ULY_TRY(open_in(path, config, folder, out));
  uly__tokenizer_warn_of_elsewhere(folder, *out);
  return ULY_OK;
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
  uly__vocab_free(&t->changed_names);
  uly__vocab_free(&t->joining.bytes);
  uly__vocab_free(&t->joining.first_bytes);
  uly__normalizer_free(&t->normalizer);
  uly__pre_tokenizer_free(&t->pre_tokenizer);
  uly__bpe_free(&t->bpe);
  uly__sentencepiece_free(t->sentencepiece);
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
