/* See output.h. */
#include "use/output.h"

#include <stdlib.h>

#include "common/try.h"
#include "common/utf8.h"

static uly_status decode(output *out, int32_t token) {
  const uly_tokenizer *tokenizer = out->vocabulary->tokenizer;
  const char *name;
  int64_t count;
  /* The vocabulary of a model may be larger than that of its tokenizer. */
  if (uly_tokenizer_name(tokenizer, token, &name, &count) != ULY_OK) return ULY_OK;
  return uly_tokenizer_decode(tokenizer, &token, 1,
                              out->skip_special ? ULY_DETOKENIZE_SKIP_SPECIAL : 0U, &out->text);
}

uly_status output_begin(output *out, const vocabulary *v, const prompt *before) {
  out->vocabulary = v;
  out->text.size = sizeof out->text;
  for (int64_t i = 0; i < before->count && v->tokenizer; i++) TRY(decode(out, before->tokens[i]));
  out->begin = out->num_printed = out->text.num;
  return ULY_OK;
}

static void print_text(output *out, bool is_end) {
  out->num_printed += utf8_print(stdout, out->text.bytes + out->num_printed,
                                 out->text.num - out->num_printed, is_end);
}

uly_status output_add(output *out, int32_t token) {
  const vocabulary *v = out->vocabulary;
  if (v->tokenizer) TRY(decode(out, token));
  if (out->is_printed) {
    if (v->tokenizer)
      print_text(out, false);
    else if (!v->is_bytes)
      printf("%s%d", out->num_tokens > 0 ? " " : "", (int)token);
    else if (token < END_OF_DOCUMENT)
      putchar(token);
    fflush(stdout);
  }
  out->num_tokens++;
  return ULY_OK;
}

void output_end(output *out) {
  if (out->is_printed && out->vocabulary->tokenizer) print_text(out, true);
}

static json_t *bytes_json(const int32_t *tokens, int64_t num) {
  char *bytes = malloc((size_t)num + 1);
  int64_t count = 0;
  if (!bytes) return NULL;
  for (int64_t i = 0; i < num; i++)
    if (tokens[i] < END_OF_DOCUMENT) bytes[count++] = (char)tokens[i];
  json_t *json = utf8_json(bytes, count);
  free(bytes);
  return json;
}

json_t *output_json(const output *out, const int32_t *tokens) {
  const vocabulary *v = out->vocabulary;
  if (v->is_bytes) return bytes_json(tokens, out->num_tokens);
  if (!v->tokenizer) return json_null();
  return utf8_json(out->text.bytes + out->begin, out->text.num - out->begin);
}

void output_free(output *out) { uly_text_free(&out->text); }
