/* Finds which tokens begin and end a text, which the file of a tokenizer itself does not say. */
#include <limits.h>
#include <string.h>

#include "base/file.h"
#include "base/folder.h"
#include "tokenizer/tokenizer_json.h"
#include "tokenizer/tokenizer_readers.h"

/* Returns the id of a name, or -1. */
static int64_t find(const uly_tokenizer *t, const char *name) {
  int64_t id = -1;
  if (name) (void)uly_tokenizer_find(t, name, (int64_t)strlen(name), &id);
  return id;
}

/* Returns the id of a token that tokenizer_config.json names: "</s>", or {"content": "</s>"}. */
static int64_t find_member(const uly_tokenizer *t, const json_t *root, const char *key) {
  const json_t *member = json_object_get(root, key);
  if (json_is_object(member)) member = json_object_get(member, "content");
  return find(t, json_string_value(member));
}

static int64_t find_usual(const uly_tokenizer *t, const char *const *names, int num) {
  for (int i = 0; i < num; i++) {
    int64_t id = find(t, names[i]);
    if (id >= 0) return id;
  }
  return -1;
}

json_t *uly__tokenizer_load_beside(const char *folder, const char *name) {
  char path[PATH_MAX], *bytes = NULL;
  int64_t n;
  if (uly__path_join(path, sizeof path, folder, name) != ULY_OK) return NULL;
  if (uly__file_load(path, "tokenizer configuration", ULY__MOST_TOKENIZER_BYTES, &bytes, &n) !=
      ULY_OK)
    return NULL;
  json_t *root = json_loadb(bytes, (size_t)n, 0, NULL);
  free(bytes);
  return root;
}

void uly__tokenizer_find_ends(const char *folder, uly_tokenizer *t) {
  static const char *const begins[] = {"<s>", "<|begin_of_text|>", "<｜begin▁of▁sentence｜>",
                                       "<bos>", "<|startoftext|>"};
  static const char *const ends[] = {"</s>",  "<|end_of_text|>", "<｜end▁of▁sentence｜>",
                                     "<eos>", "<|endoftext|>",   "<|im_end|>"};
  json_t *root = uly__tokenizer_load_beside(folder, "tokenizer_config.json");
  if (root) {
    int64_t bos = find_member(t, root, "bos_token"), eos = find_member(t, root, "eos_token");
    if (bos >= 0) t->info.bos = bos;
    if (eos >= 0) t->info.eos = eos;
    json_decref(root);
  }
  if (t->info.bos < 0 && !root)
    t->info.bos = find_usual(t, begins, (int)(sizeof begins / sizeof *begins));
  if (t->info.eos < 0) t->info.eos = find_usual(t, ends, (int)(sizeof ends / sizeof *ends));
}
