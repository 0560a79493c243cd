/* Warns of tokens that only the files beside a tokenizer name. AutoTokenizer of transformers
 * adds them to the tokenizer; Ulysses, as most programs that serve models, takes the tokenizer's
 * own file alone. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/printable.h"
#include "tokenizer/tokenizer_json.h"
#include "tokenizer/tokenizer_readers.h"

/* What a file gives other ids, or ids at all, than the tokenizer. */
typedef struct finding {
  const char *file;
  uly__printable name; /* of the first one */
  long long id;
  int64_t own; /* its id in the tokenizer, or -1 */
  int64_t num;
} finding;

static void look_at(const uly_tokenizer *t, const char *name, long long id, const char *file,
                    finding *f) {
  int64_t own = -1;
  if (!name || !name[0]) return;
  (void)uly_tokenizer_find(t, name, (int64_t)strlen(name), &own);
  if (own == id || f->num++ > 0) return;
  f->file = file;
  f->name = uly__make_printable(name);
  f->id = id;
  f->own = own;
}

/* {"<name>": 7} */
static void look_at_names(const uly_tokenizer *t, json_t *names, finding *f) {
  const char *name;
  json_t *id;
  json_object_foreach(names, name, id) {
    if (json_is_integer(id)) look_at(t, name, json_integer_value(id), "added_tokens.json", f);
  }
}

/* {"7": {"content": "<name>"}} */
static void look_at_ids(const uly_tokenizer *t, json_t *ids, finding *f) {
  const char *key;
  json_t *token;
  json_object_foreach(ids, key, token) {
    const char *name = json_string_value(json_object_get(token, "content"));
    look_at(t, name, strtoll(key, NULL, 10), "tokenizer_config.json", f);
  }
}

void uly__tokenizer_warn_of_elsewhere(const char *folder, const uly_tokenizer *t) {
  finding f = {.num = 0};
  char own[64] = "has no such token";
  json_t *config = uly__tokenizer_load_beside(folder, "tokenizer_config.json");
  json_t *names = uly__tokenizer_load_beside(folder, "added_tokens.json");
  look_at_ids(t, json_object_get(config, "added_tokens_decoder"), &f);
  look_at_names(t, names, &f);
  json_decref(config);
  json_decref(names);
  if (f.num == 0) return;
  if (f.own >= 0) snprintf(own, sizeof own, "has it as token %lld", (long long)f.own);
  uly__warn(
      "'%.400s/%s' has the token '%s' as %lld, but the tokenizer %s, and it is the tokenizer "
      "that counts (%lld such tokens)",
      folder, f.file, f.name.text, f.id, own, (long long)f.num);
}
