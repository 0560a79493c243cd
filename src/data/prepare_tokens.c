/* See prepare_tokens.h. */
#include "data/prepare_tokens.h"

#include <stdlib.h>

#include "data/tokenizer_files.h"

struct uly__prepare_tokens {
  uly_tokenizer *tokenizer;
  uly__companions files;
  uly__batches *batches;
  uly__shard_tokens shard_tokens;
};

static uly_status find_end(const uly_prepare_config *config, const uly_tokenizer_info *info,
                           int32_t *end) {
  int64_t found = config->doc_end >= 0 ? config->doc_end : info->eos;
  if (found < 0)
    ULY_FAIL(ULY_ERR_CONFIG,
             "the tokenizer '%s' does not say which token ends a text: give the one that is to end "
             "documents as prepare.doc_end",
             config->tokenizer);
  if (found >= info->vocab)
    ULY_FAIL(ULY_ERR_CONFIG, "prepare.doc_end is %lld, but the largest token of '%s' is %lld",
             (long long)found, config->tokenizer, (long long)info->vocab - 1);
  *end = (int32_t)found;
  return ULY_OK;
}

static uly_status open_all(const uly_prepare_config *config, const uly__batches_sink *sink,
                           uly__prepare_tokens *t) {
  uly_tokenizer_info info = {.size = sizeof info};
  ULY_TRY(uly_tokenizer_open(config->tokenizer, NULL, &t->tokenizer));
  ULY_TRY(uly_tokenizer_get_info(t->tokenizer, &info));
  t->shard_tokens = (uly__shard_tokens){.vocab = info.vocab, .tokenizer = info.hash};
  ULY_TRY(find_end(config, &info, &t->shard_tokens.end));
  ULY_TRY(uly__tokenizer_files_read(config->tokenizer, info.kind, &t->files));
  ULY_TRY(uly__tokenizer_files_check(&t->files, config->out));
  return uly__batches_create(t->tokenizer, config->threads,
                             config->any_bytes ? ULY_TOKENIZE_REPLACE : 0, sink, &t->batches);
}

uly_status uly__prepare_tokens_open(const uly_prepare_config *config, const uly__batches_sink *sink,
                                    uly__prepare_tokens **out) {
  *out = NULL;
  uly__prepare_tokens *t = calloc(1, sizeof *t);
  if (!t) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a tokenizer");
  uly_status status = open_all(config, sink, t);
  if (status == ULY_OK)
    *out = t;
  else
    uly__prepare_tokens_close(t);
  return status;
}

void uly__prepare_tokens_close(uly__prepare_tokens *t) {
  if (!t) return;
  uly__batches_destroy(t->batches);
  uly__companions_free(&t->files);
  uly_tokenizer_close(t->tokenizer);
  free(t);
}

const uly__shard_tokens *uly__prepare_tokens_of(const uly__prepare_tokens *t) {
  return &t->shard_tokens;
}

uly_status uly__prepare_tokens_add(uly__prepare_tokens *t, const char *path, int part,
                                   const char *bytes, int64_t count, int64_t place) {
  return uly__batches_add(t->batches, path, part, bytes, count, place);
}

uly_status uly__prepare_tokens_end_document(uly__prepare_tokens *t) {
  return uly__batches_end_document(t->batches);
}

uly_status uly__prepare_tokens_finish(uly__prepare_tokens *t) {
  return uly__batches_finish(t->batches);
}

uly_status uly__prepare_tokens_keep(const uly__prepare_tokens *t, const char *folder) {
  return uly__tokenizer_files_write(&t->files, folder);
}
