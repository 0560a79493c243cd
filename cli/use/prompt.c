/* Reads the prompt: text, whose bytes are the tokens, or token numbers. */
#include "use/prompt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/input.h"
#include "common/try.h"
#include "use/trained.h"

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

static uly_status take_numbers(const char *text, prompt *out) {
  int64_t room = 1;
  for (const char *c = text; *c; c++) room += *c == ',';
  TRY(make_room(out, room));
  for (const char *at = text;; at++) {
    char *end;
    errno = 0;
    long long number = strtoll(at, &end, 10);
    bool is_number = *at >= '0' && *at <= '9' && errno == 0 && number <= INT32_MAX;
    if (!is_number || (*end != ',' && *end != '\0'))
      return uly_fail(ULY_ERR_CONFIG,
                      "--prompt-tokens: number %lld of the list is not a token: expected numbers "
                      "separated by commas, as in 12,5,7",
                      (long long)out->count + 1);
    out->tokens[out->count++] = (int32_t)number;
    at = end;
    if (*end == '\0') return ULY_OK;
  }
}

static uly_status read_file(const char *path, prompt *out) {
  char *bytes;
  size_t count;
  TRY(input_load("--prompt-file", path, MAX_TOKENS, &bytes, &count));
  uly_status status =
      count > 0 ? take_bytes(bytes, (int64_t)count, out)
                : uly_fail(ULY_ERR_DATA,
                           "--prompt-file '%.200s' is empty: there is nothing to continue", path);
  free(bytes);
  return status;
}

uly_status prompt_read(const generate_options *o, int64_t vocab, prompt *out) {
  int num_given = (o->prompt != NULL) + (o->prompt_file != NULL) + (o->prompt_tokens != NULL);
  *out = (prompt){.tokens = NULL};
  if (num_given != 1)
    return uly_fail(ULY_ERR_CONFIG,
                    "expected one of --prompt, --prompt-file and --prompt-tokens: there are %d",
                    num_given);
  if (o->prompt_tokens) return take_numbers(o->prompt_tokens, out);
  if (vocab != BYTE_VOCAB)
    return uly_fail(ULY_ERR_CONFIG,
                    "the vocabulary of this model has %lld tokens, which are not those of bytes "
                    "(%d): give the prompt as numbers, with --prompt-tokens",
                    (long long)vocab, BYTE_VOCAB);
  if (o->prompt_file) return read_file(o->prompt_file, out);
  return take_bytes(o->prompt, (int64_t)strlen(o->prompt), out);
}
