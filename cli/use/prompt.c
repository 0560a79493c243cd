/* Reads the prompt: text, whose tokens are those of a tokenizer or its bytes, or token numbers. */
#include "use/prompt.h"

#include <stdlib.h>
#include <string.h>

#include "common/input.h"
#include "common/token_list.h"
#include "common/try.h"
#include "common/utf8.h"

static uly_status make_room(prompt *out, int64_t count) {
  out->tokens = malloc((size_t)count * sizeof *out->tokens + 1);
  return out->tokens ? ULY_OK : uly_fail(ULY_ERR_MEMORY, "no memory for the prompt");
}

static uly_status take_bytes(const char *bytes, int64_t count, prompt *out) {
  TRY(make_room(out, count));
  for (int64_t i = 0; i < count; i++) out->tokens[i] = (unsigned char)bytes[i];
  out->count = count;
  return ULY_OK;
}

static uly_status take_list(const uly_token_list *list, prompt *out) {
  if (list->num == 0)
    return uly_fail(ULY_ERR_DATA, "the prompt has no tokens: there is nothing to continue");
  TRY(make_room(out, list->num));
  memcpy(out->tokens, list->tokens, (size_t)list->num * sizeof *out->tokens);
  out->count = list->num;
  return ULY_OK;
}

/* Takes a text, whose place begins the message if a tokenizer cannot read it. */
static uly_status take_text(const generate_options *o, const vocabulary *v, const char *place,
                            const char *text, int64_t count, prompt *out) {
  unsigned flags =
      (o->parse_special ? ULY_TOKENIZE_SPECIAL : 0U) | (o->add_special ? ULY_TOKENIZE_AROUND : 0U);
  uly_token_list list = {.size = sizeof list};
  if (!v->tokenizer) return take_bytes(text, count, out);
  TRY(utf8_check(o->prompt ? ULY_ERR_CONFIG : ULY_ERR_DATA, place, text, count));
  uly_status status = uly_tokenizer_encode(v->tokenizer, text, count, flags, &list);
  if (status == ULY_OK) status = take_list(&list, out);
  uly_token_list_free(&list);
  return status;
}

static uly_status take_numbers(const char *text, prompt *out) {
  token_list list;
  TRY(token_list_read("--prompt-tokens", text, &list));
  out->tokens = list.tokens;
  out->count = list.count;
  return ULY_OK;
}

static uly_status read_file(const generate_options *o, const vocabulary *v, prompt *out) {
  char *bytes, place[512];
  size_t count;
  snprintf(place, sizeof place, "--prompt-file '%.400s'", o->prompt_file);
  TRY(input_load("--prompt-file", o->prompt_file, MAX_TOKENS, &bytes, &count));
  uly_status status =
      count > 0
          ? take_text(o, v, place, bytes, (int64_t)count, out)
          : uly_fail(ULY_ERR_DATA, "--prompt-file '%.200s' is empty: there is nothing to continue",
                     o->prompt_file);
  free(bytes);
  return status;
}

uly_status prompt_check(const generate_options *o) {
  int num_given = (o->prompt != NULL) + (o->prompt_file != NULL) + (o->prompt_tokens != NULL);
  if (num_given == 1) return ULY_OK;
  return uly_fail(ULY_ERR_CONFIG,
                  "expected one of --prompt, --prompt-file and --prompt-tokens: there are %d",
                  num_given);
}

uly_status prompt_read(const generate_options *o, const vocabulary *v, prompt *out) {
  *out = (prompt){.tokens = NULL};
  if (o->prompt_tokens) return take_numbers(o->prompt_tokens, out);
  if (!v->tokenizer && !v->is_bytes)
    return uly_fail(ULY_ERR_CONFIG,
                    "the vocabulary of this model has %lld tokens, which are not those of bytes "
                    "(%d), and there is no tokenizer in '%.400s': give the prompt as numbers, with "
                    "--prompt-tokens, or name a tokenizer with --tokenizer",
                    (long long)v->size, BYTE_VOCAB, v->folder);
  if (o->prompt_file) return read_file(o, v, out);
  return take_text(o, v, "--prompt", o->prompt, (int64_t)strlen(o->prompt), out);
}
