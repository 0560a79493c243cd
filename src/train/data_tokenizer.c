/* See data_tokenizer.h. */
#include "train/data_tokenizer.h"

#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "base/folder.h"
#include "data/tokenizer_files.h"
#include "tokenizer/tokenizer.h"

/* Finds the hash of a folder's tokenizer; 0: it holds none. */
static uly_status find_hash(const char *dir, uint64_t *hash) {
  uly_tokenizer_info info = {.size = sizeof info};
  uly_tokenizer *tokenizer;
  *hash = 0;
  if (!uly_tokenizer_is_in(dir)) return ULY_OK;
  ULY_TRY(uly__tokenizer_open_silently(dir, &tokenizer));
  uly_status status = uly_tokenizer_get_info(tokenizer, &info);
  uly_tokenizer_close(tokenizer);
  *hash = info.hash;
  return status;
}

static uint64_t hash_of(const uly__tokens *tokens) {
  return tokens ? uly__tokens_tokenizer(tokens) : 0;
}

static uly_status check_same(const uly__tokens *tokens, const char *path, uint64_t hash,
                             const char *dir) {
  if (hash_of(tokens) == 0 || hash_of(tokens) == hash) return ULY_OK;
  ULY_FAIL(
      ULY_ERR_CONFIG,
      "'%s' was made with a different tokenizer than the one in '%s': prepare its text with that "
      "tokenizer, or give a model that belongs to the data",
      path, dir);
}

uly_status uly__check_tokenizer(const uly_trainer *trainer, const char *dir) {
  const uly_train_config *config = &trainer->run.config;
  uint64_t hash;
  if (trainer->mesh->rank != 0) return ULY_OK;
  if (hash_of(trainer->data) == 0 && hash_of(trainer->eval_data) == 0) return ULY_OK;
  ULY_TRY(find_hash(dir, &hash));
  if (hash == 0) return ULY_OK;
  ULY_TRY(check_same(trainer->data, config->data, hash, dir));
  return check_same(trainer->eval_data, config->eval_data, hash, dir);
}

/* ------------------------------------------------------------------------- companions */

/* Reads the files of a folder if its tokenizer made the data. */
static uly_status take_from(uly_trainer *trainer, const char *dir) {
  uint64_t hash;
  /* What is beside the data may belong to something else. */
  if (find_hash(dir, &hash) != ULY_OK || hash != uly__tokens_tokenizer(trainer->data))
    return ULY_OK;
  uly__companions_free(&trainer->companions);
  return uly__companions_read(dir, &trainer->companions);
}

/* Looks for the tokenizer of the data: it is where the folder with the shards is. */
static uly_status take_from_data(uly_trainer *trainer) {
  const char *path = trainer->run.config.data;
  char folder[PATH_MAX], parent[PATH_MAX];
  struct stat info;
  if (!trainer->data || uly__tokens_tokenizer(trainer->data) == 0) return ULY_OK;
  bool is_folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
  ULY_TRY(uly__path_join(folder, sizeof folder, path, ""));
  if (!is_folder) { /* a shard */
    const char *slash = strrchr(path, '/');
    if (!slash) strcpy(folder, "./");
    if (slash) folder[slash - path + 1] = '\0';
  }
  ULY_TRY(uly__path_join(parent, sizeof parent, folder, ".."));
  return take_from(trainer, parent);
}

uly_status uly__take_companions(uly_trainer *trainer, const char *dir) {
  if (trainer->mesh->rank != 0 || trainer->run.config.forward_only) return ULY_OK;
  uly__companions_free(&trainer->companions);
  if (dir) ULY_TRY(uly__companions_read(dir, &trainer->companions));
  return dir && uly_tokenizer_is_in(dir) ? ULY_OK : take_from_data(trainer);
}
