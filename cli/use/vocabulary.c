/* See vocabulary.h. */
#include "use/vocabulary.h"

#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/input.h"
#include "common/say.h"
#include "common/try.h"
#include "options/messages.h"

static void add_end(vocabulary *v, int64_t token) {
  if (token >= 0 && v->num_ends < MAX_ENDS) v->ends[v->num_ends++] = token;
}

/* ----------------------------------------------------------------- the model's settings */

/* Takes a token, or a list of tokens. */
static uly_status take_ends(const json_t *ends, const char *path, vocabulary *v) {
  size_t num = json_is_array(ends) ? json_array_size(ends) : 1;
  for (size_t i = 0; i < num; i++) {
    const json_t *end = json_is_array(ends) ? json_array_get(ends, i) : ends;
    if (!json_is_integer(end) || json_integer_value(end) < 0 || num > MAX_ENDS)
      return uly_fail(ULY_ERR_DATA,
                      "'%.400s': \"eos_token_id\" must be a token, or a list of at most %d tokens",
                      path, MAX_ENDS);
    add_end(v, json_integer_value(end));
  }
  return ULY_OK;
}

static uly_status parse_config(const char *bytes, size_t count, const char *path, vocabulary *v) {
  json_error_t error;
  json_t *root = json_loadb(bytes, count, JSON_REJECT_DUPLICATES, &error);
  if (!json_is_object(root)) {
    json_decref(root);
    return uly_fail(ULY_ERR_DATA, "'%.400s' is not a JSON object", path);
  }
  const json_t *ends = json_object_get(root, "eos_token_id");
  uly_status status = ends && !json_is_null(ends) ? take_ends(ends, path, v) : ULY_OK;
  json_decref(root);
  return status;
}

/* Takes the tokens that a file of the folder says end a text, if it is there. */
static uly_status read_config(const char *name, vocabulary *v) {
  char path[PATH_MAX], *bytes;
  size_t count;
  if (snprintf(path, sizeof path, "%s/%s", v->folder, name) >= (int)sizeof path ||
      access(path, F_OK) != 0)
    return ULY_OK;
  TRY(input_load("the model's", path, 1 << 24, &bytes, &count));
  uly_status status = parse_config(bytes, count, path, v);
  free(bytes);
  return status;
}

/* ------------------------------------------------------------------------- tokenizers */

static uly_status open_tokenizer(const char *path, vocabulary *v) {
  uly_tokenizer_info info = {.size = sizeof info};
  if (uly_world_rank() != 0) messages_pause();
  uly_status status = uly_tokenizer_open(path, NULL, &v->tokenizer);
  messages_begin();
  TRY(status);
  TRY(uly_tokenizer_get_info(v->tokenizer, &info));
  if (info.vocab > v->size)
    return uly_fail(ULY_ERR_CONFIG,
                    "the tokenizer '%.400s' has tokens up to %lld, but the vocabulary of the model "
                    "has only %lld tokens: name the tokenizer of the model with --tokenizer",
                    path, (long long)info.vocab - 1, (long long)v->size);
  if (v->num_ends == 0) add_end(v, info.eos);
  return ULY_OK;
}

/* Opens the tokenizer in the model's folder. A prompt of numbers can be continued without one. */
static uly_status open_own(const generate_options *o, vocabulary *v) {
  if (!uly_tokenizer_is_in(v->folder)) return ULY_OK;
  uly_status status = open_tokenizer(v->folder, v);
  if (status == ULY_OK || !o->prompt_tokens) return status;
  uly_tokenizer_close(v->tokenizer);
  v->tokenizer = NULL;
  if (uly_world_rank() == 0)
    print_message("warning: tokens are printed as numbers: %s", last_failure());
  return ULY_OK;
}

uly_status vocabulary_open(const generate_options *o, const trained *t, vocabulary *v) {
  const uly_train_config *config = &o->use.run.config;
  *v = (vocabulary){.size = t->vocab, .folder = t->checkpoint};
  TRY(read_config("generation_config.json", v));
  if (v->num_ends == 0) TRY(read_config("config.json", v));
  TRY(o->tokenizer ? open_tokenizer(o->tokenizer, v) : open_own(o, v));
  v->is_bytes = !v->tokenizer && t->vocab == BYTE_VOCAB;
  if (config->pack && config->doc_end >= 0)
    add_end(v, config->doc_end);
  else if (v->is_bytes)
    add_end(v, END_OF_DOCUMENT);
  return ULY_OK;
}

void vocabulary_close(vocabulary *v) { uly_tokenizer_close(v->tokenizer); }

bool vocabulary_is_end(const vocabulary *v, int64_t token) {
  int i = 0;
  while (i < v->num_ends && v->ends[i] != token) i++;
  return i < v->num_ends;
}
