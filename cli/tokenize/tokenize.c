/* ulysses tokenize: shows the tokens of a text, or the text of tokens. It runs as one process,
 * without MPI. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/input.h"
#include "common/print_json.h"
#include "common/token_list.h"
#include "common/try.h"
#include "common/utf8.h"
#include "job/starter.h"
#include "options/messages.h"
#include "options/run_command.h"
#include "tokenize/tokenize_options.h"

/* The most bytes of a text. */
#define MAX_TEXT ((int64_t)1 << 30)

typedef struct work {
  const tokenize_options *options;
  uly_tokenizer *tokenizer;
  uly_tokenizer_info info;
  /* The bytes that were read, which it owns; NULL if the text is the value of an option. */
  char *input;
  const char *text;
  int64_t num_bytes;
  uly_token_list tokens;
  token_list numbers;
  uly_text decoded;
} work;

/* ----------------------------------------------------------------------------- input */

static uly_status read_stdin(work *w) {
  size_t count = 0;
  uly_status status = input_read_stdin(MAX_TEXT, &w->input, &count);
  w->text = w->input;
  w->num_bytes = (int64_t)count;
  return status;
}

static uly_status read_file(work *w) {
  size_t count = 0;
  TRY(input_load("--file", w->options->file, MAX_TEXT, &w->input, &count));
  w->text = w->input;
  w->num_bytes = (int64_t)count;
  return ULY_OK;
}

/* Refuses flags that have no effect beside others. */
static uly_status check_flags(const tokenize_options *o) {
  const struct {
    bool is_given;
    const char *flag;
  } of_text[] = {{o->ids, "--ids"},
                 {!o->parse_special, "--no-parse-special"},
                 {!o->add_special, "--no-add-special"},
                 {o->any_bytes != 0, "--any-bytes"}};
  for (size_t i = 0; o->decode && i < sizeof of_text / sizeof *of_text; i++)
    if (of_text[i].is_given)
      return uly_fail(ULY_ERR_CONFIG,
                      "%s has no effect with --decode, which takes tokens, not text",
                      of_text[i].flag);
  if (!o->skip_special && !o->decode)
    return uly_fail(ULY_ERR_CONFIG,
                    "--no-skip-special needs --decode, without which it has no effect");
  if (o->ids && o->json)
    return uly_fail(ULY_ERR_CONFIG, "expected at most one of --ids and --json");
  return ULY_OK;
}

static uly_status read_input(work *w) {
  const tokenize_options *o = w->options;
  if (!o->tokenizer)
    return uly_fail(ULY_ERR_CONFIG,
                    "--tokenizer is missing: give a tokenizer's file, or a folder that holds one");
  if ((o->text != NULL) + (o->file != NULL) + (o->decode != NULL) > 1)
    return uly_fail(ULY_ERR_CONFIG, "expected at most one of --text, --file and --decode");
  TRY(check_flags(o));
  bool is_list = o->decode && strcmp(o->decode, "-") != 0;
  if (o->file) return read_file(w);
  if (!o->text && !is_list) return read_stdin(w);
  w->text = o->text ? o->text : o->decode;
  w->num_bytes = (int64_t)strlen(w->text);
  return ULY_OK;
}

/* --------------------------------------------------------------------- text to tokens */

/* Refuses a text that is not UTF-8, and says where it is from. */
static uly_status check_text(const work *w) {
  const tokenize_options *o = w->options;
  char place[512] = "--text";
  if (o->any_bytes) return ULY_OK;
  if (o->file) snprintf(place, sizeof place, "--file '%.400s'", o->file);
  if (!o->file && !o->text) snprintf(place, sizeof place, "standard input");
  return utf8_check(o->text ? ULY_ERR_CONFIG : ULY_ERR_DATA, place, w->text, w->num_bytes);
}

static uly_status encode(work *w) {
  const tokenize_options *o = w->options;
  unsigned flags = (o->parse_special ? ULY_TOKENIZE_SPECIAL : 0U) |
                   (o->add_special ? ULY_TOKENIZE_AROUND : 0U) |
                   (o->any_bytes ? ULY_TOKENIZE_REPLACE : 0U);
  w->tokens.size = sizeof w->tokens;
  TRY(check_text(w));
  return uly_tokenizer_encode(w->tokenizer, w->text, w->num_bytes, flags, &w->tokens);
}

static void print_ids(const work *w) {
  for (int64_t i = 0; i < w->tokens.num; i++)
    printf("%s%d", i > 0 ? "," : "", (int)w->tokens.tokens[i]);
  putchar('\n');
}

static double bytes_per_token(const work *w) {
  return w->tokens.num > 0 ? (double)w->num_bytes / (double)w->tokens.num : 0;
}

static uly_status print_tokens(const work *w) {
  for (int64_t i = 0; i < w->tokens.num; i++) {
    const char *name;
    int64_t count;
    TRY(uly_tokenizer_name(w->tokenizer, w->tokens.tokens[i], &name, &count));
    printf("%8d  ", (int)w->tokens.tokens[i]);
    utf8_print_visible(stdout, name, count);
    putchar('\n');
  }
  printf("tokenizer   %s, %lld tokens\n", w->info.kind, (long long)w->info.num_tokens);
  printf("text        %lld bytes, %lld tokens, %.2f bytes per token\n", (long long)w->num_bytes,
         (long long)w->tokens.num, bytes_per_token(w));
  return ULY_OK;
}

static uly_status print_tokens_json(const work *w) {
  json_t *tokens = json_array(), *names = json_array();
  char hash[24];
  for (int64_t i = 0; i < w->tokens.num; i++) {
    const char *name = "";
    int64_t count = 0;
    (void)uly_tokenizer_name(w->tokenizer, w->tokens.tokens[i], &name, &count);
    json_array_append_new(tokens, json_integer(w->tokens.tokens[i]));
    json_array_append_new(names, utf8_json_visible(name, count));
  }
  /* Numbers beyond 2^63 are not integers in JSON. */
  snprintf(hash, sizeof hash, "%016llx", (unsigned long long)w->info.hash);
  return print_json_line(json_pack("{s:s, s:I, s:s, s:I, s:I, s:f, s:o, s:o}", "kind", w->info.kind,
                                   "vocab", (json_int_t)w->info.vocab, "hash", hash, "num_bytes",
                                   (json_int_t)w->num_bytes, "num_tokens",
                                   (json_int_t)w->tokens.num, "bytes_per_token", bytes_per_token(w),
                                   "tokens", tokens, "names", names));
}

static uly_status show_tokens(work *w) {
  TRY(encode(w));
  if (w->options->json) return print_tokens_json(w);
  if (!w->options->ids) return print_tokens(w);
  print_ids(w);
  return ULY_OK;
}

/* --------------------------------------------------------------------- tokens to text */

/* Decodes the tokens. One that does not exist is a wrong value of --decode. */
static uly_status decode(work *w) {
  unsigned flags = w->options->skip_special ? ULY_DETOKENIZE_SKIP_SPECIAL : 0U;
  w->decoded.size = sizeof w->decoded;
  uly_status status =
      uly_tokenizer_decode(w->tokenizer, w->numbers.tokens, w->numbers.count, flags, &w->decoded);
  if (status != ULY_ERR_DATA) return status;
  char why[512];
  snprintf(why, sizeof why, "%s", last_failure());
  return uly_fail(ULY_ERR_CONFIG, "--decode: %s", why);
}

static uly_status show_text(work *w) {
  const tokenize_options *o = w->options;
  TRY(token_list_read("--decode", w->text, &w->numbers));
  TRY(decode(w));
  if (o->json)
    return print_json_line(json_pack("{s:I, s:o}", "num_tokens", (json_int_t)w->numbers.count,
                                     "text", utf8_json(w->decoded.bytes, w->decoded.num)));
  if (w->decoded.num > 0) fwrite(w->decoded.bytes, 1, (size_t)w->decoded.num, stdout);
  if (isatty(STDOUT_FILENO)) putchar('\n');
  return ULY_OK;
}

/* ------------------------------------------------------------------------ the command */

static uly_status run(work *w) {
  TRY(read_input(w));
  TRY(uly_tokenizer_open(w->options->tokenizer, NULL, &w->tokenizer));
  w->info.size = sizeof w->info;
  TRY(uly_tokenizer_get_info(w->tokenizer, &w->info));
  return w->options->decode ? show_text(w) : show_tokens(w);
}

static uly_status tokenize(options *base) {
  work w = {.options = (const tokenize_options *)base};
  /* If mpirun has started several processes, only one of them prints. */
  if (!is_first_process()) return ULY_OK;
  uly_status status = run(&w);
  uly_tokenizer_close(w.tokenizer);
  uly_token_list_free(&w.tokens);
  uly_text_free(&w.decoded);
  free(w.numbers.tokens);
  free(w.input);
  return status;
}

int command_tokenize(int argc, char *const *argv) {
  tokenize_options o;
  return run_alone(&o.base, TOKENIZE, argc, argv, tokenize);
}
