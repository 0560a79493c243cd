/* Turns text into token shards: goes through the inputs, divides their documents between train/ and
 * eval/, and names both when everything is written and synced. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/folder.h"
#include "base/rng.h"
#include "base/sized.h"
#include "data/documents.h"
#include "data/input_files.h"
#include "data/prepare_output.h"
#include "data/prepare_tokens.h"
#include "data/token_file.h"

/* Seconds between two calls of config.progress. */
#define PROGRESS 0.1

enum { TRAIN, EVAL, NUM_PARTS };

typedef struct preparation {
  const uly_prepare_config *config;
  uly_prepare_report *report;
  uly__prepare_output outputs[NUM_PARTS];
  /* The file that is read, and whether a document has begun: then its part is `current`. */
  const char *path;
  bool has_begun;
  int current;
  int64_t num_documents, num_files;
  uint64_t stream;
  uly__prepare_tokens *tokens; /* NULL: bytes are the tokens */
  /* For progress and the report. */
  int64_t bytes, all_bytes;
  double begin, shown;
} preparation;

static const uly_prepare_config defaults = {.size = sizeof defaults,
                                            .text_key = "text",
                                            .seed = 1,
                                            .shard_tokens = (int64_t)100 << 20,
                                            .doc_end = -1};

void uly_prepare_config_default(uly_prepare_config *config, size_t size) {
  uly__sized_default(config, size, &defaults, sizeof defaults);
}

enum { MAX_THREADS = 4096 };

static uly_status check(const uly_prepare_config *c) {
  if (c->num_inputs < 1 || !c->inputs) ULY_FAIL(ULY_ERR_CONFIG, "there are no files to prepare");
  for (int i = 0; i < c->num_inputs; i++)
    if (!c->inputs[i])
      ULY_FAIL(ULY_ERR_CONFIG, "input %d of those to prepare is NULL: give a path", i);
  if (!c->out) ULY_FAIL(ULY_ERR_CONFIG, "prepare.out is missing: give a folder for the shards");
  if ((unsigned)c->documents > ULY_DOCUMENTS_JSONL)
    ULY_FAIL(ULY_ERR_CONFIG, "prepare.documents is %d, which is not a kind of document",
             (int)c->documents);
  if (!(c->held_out >= 0 && c->held_out < 1))
    ULY_FAIL(ULY_ERR_CONFIG, "prepare.held_out is %g, but it must be from 0 to below 1",
             c->held_out);
  if (!c->text_key || !*c->text_key)
    ULY_FAIL(ULY_ERR_CONFIG,
             "prepare.text_key is missing: give the key of the texts in JSON Lines");
  if (c->doc_end < -1 || c->doc_end > INT32_MAX - 1)
    ULY_FAIL(ULY_ERR_CONFIG, "prepare.doc_end is %lld, which is not a token",
             (long long)c->doc_end);
  if (c->doc_end >= 0 && !c->tokenizer)
    ULY_FAIL(
        ULY_ERR_CONFIG,
        "prepare.doc_end is %lld, but without prepare.tokenizer, tokens are bytes, and token %d "
        "ends each document",
        (long long)c->doc_end, ULY_TEXT_END_OF_DOCUMENT);
  if (c->threads < 0 || c->threads > MAX_THREADS)
    ULY_FAIL(ULY_ERR_CONFIG, "prepare.threads is %d, but it must be from 0 to %d", c->threads,
             MAX_THREADS);
  return ULY_OK;
}

/* ---------------------------------------------------------------------- documents */

/* Decides from the seed and the document's place alone, so that another run divides the documents
 * in the same way. */
static bool is_held_out(const preparation *p) {
  return uly__rng_uniform(p->config->seed, p->stream, p->num_documents) < p->config->held_out;
}

static uly_status add(void *context, const char *bytes, int64_t count, int64_t place) {
  preparation *p = context;
  if (!p->has_begun) p->current = is_held_out(p) ? EVAL : TRAIN;
  p->has_begun = true;
  if (p->tokens)
    return uly__prepare_tokens_add(p->tokens, p->path, p->current, bytes, count, place);
  return uly__shard_writer_add_bytes(p->outputs[p->current].writer, bytes, count);
}

static uly_status end(void *context) {
  preparation *p = context;
  p->has_begun = false;
  p->num_documents++;
  if (p->tokens) return uly__prepare_tokens_end_document(p->tokens);
  return uly__shard_writer_end_document(p->outputs[p->current].writer);
}

/* Take what the tokenizer has made. */
static uly_status add_tokens(void *context, int part, const int32_t *tokens, int64_t count) {
  const preparation *p = context;
  return uly__shard_writer_add(p->outputs[part].writer, tokens, count);
}

static uly_status end_tokens(void *context, int part) {
  const preparation *p = context;
  return uly__shard_writer_end_document(p->outputs[part].writer);
}

/* ------------------------------------------------------------------------- inputs */

static void skip(void *context, const char *why) {
  preparation *p = context;
  uly_prepare_report *report = p->report;
  if (report->skipped++ == 0)
    snprintf(report->first_skipped, sizeof report->first_skipped, "%s", why);
}

static double now(void) {
  struct timespec time;
  (void)clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int64_t count_tokens(const preparation *p) {
  int64_t num = 0;
  for (int i = 0; i < NUM_PARTS; i++)
    if (p->outputs[i].writer) num += uly__shard_writer_count(p->outputs[i].writer);
  return num;
}

/* Counts bytes that were read, and reports progress. */
static void count_read(void *context, int64_t count) {
  preparation *p = context;
  double time = now();
  p->bytes += count;
  if (!p->config->progress || time - p->shown < PROGRESS) return;
  const uly_prepare_progress progress = {sizeof progress, p->bytes, p->all_bytes, count_tokens(p),
                                         time - p->begin};
  p->shown = time;
  p->config->progress(p->config->user, &progress);
}

static uly_status read_file(void *context, const char *path, const struct stat *info) {
  (void)info;
  preparation *p = context;
  const uly__document_sink sink = {p, add, end, p->config->skip_bad ? skip : NULL, count_read};
  const uly__document_format format = {p->config->documents, p->config->text_key,
                                       p->config->any_bytes != 0, p->config->tokenizer != NULL};
  p->num_files++;
  p->path = path;
  return uly__documents_read(path, &format, &sink);
}

static uly_status read_inputs(preparation *p) {
  const uly_prepare_config *c = p->config;
  for (int i = 0; i < c->num_inputs; i++)
    ULY_TRY(uly__input_files_visit(c->inputs[i], read_file, p));
  return p->tokens ? uly__prepare_tokens_finish(p->tokens) : ULY_OK;
}

/* Adds the size of a file, or gives up on one whose size is not known. */
static uly_status add_size(void *context, const char *path, const struct stat *info) {
  (void)path;
  int64_t *bytes = context;
  if (!S_ISREG(info->st_mode)) *bytes = -1;
  if (*bytes >= 0) *bytes += info->st_size;
  return ULY_OK;
}

static uly_status measure_inputs(preparation *p) {
  for (int i = 0; i < p->config->num_inputs; i++)
    ULY_TRY(uly__input_files_visit(p->config->inputs[i], add_size, &p->all_bytes));
  if (p->all_bytes < 0) p->all_bytes = 0;
  return ULY_OK;
}

/* ------------------------------------------------------------------------ outputs */

static uly_status check_counts(const preparation *p) {
  if (p->num_documents == 0)
    ULY_FAIL(ULY_ERR_DATA, "'%s'%s: there is no text in %lld file%s: nothing is written",
             p->config->inputs[0], p->config->num_inputs > 1 ? " and the others" : "",
             (long long)p->num_files, p->num_files == 1 ? "" : "s");
  if (p->config->held_out > 0 &&
      (!p->outputs[EVAL].part->documents || !p->outputs[TRAIN].part->documents))
    ULY_FAIL(ULY_ERR_CONFIG,
             "prepare.held_out = %g leaves no document for %s, of %lld in all: use more documents "
             "(prepare.documents says what one is), another probability, or another prepare.seed",
             p->config->held_out, p->outputs[EVAL].part->documents ? "train" : "eval",
             (long long)p->num_documents);
  return ULY_OK;
}

/* Writes both folders, which stay hidden until both are complete. The training folder gets its name
 * last. */
static uly_status write_all(preparation *p) {
  uly__prepare_output *train = &p->outputs[TRAIN], *eval = &p->outputs[EVAL];
  const uly__shard_tokens bytes = {.vocab = ULY_TEXT_VOCAB, .end = ULY_TEXT_END_OF_DOCUMENT};
  const uly__shard_tokens *tokens = p->tokens ? uly__prepare_tokens_of(p->tokens) : &bytes;
  int64_t shard_tokens = p->config->shard_tokens;
  bool has_eval = p->config->held_out > 0;
  ULY_TRY(uly__prepare_output_open(train, shard_tokens, tokens));
  if (has_eval) ULY_TRY(uly__prepare_output_open(eval, shard_tokens, tokens));
  ULY_TRY(read_inputs(p));
  ULY_TRY(uly__prepare_output_finish(train));
  if (has_eval) ULY_TRY(uly__prepare_output_finish(eval));
  ULY_TRY(check_counts(p));
  if (p->tokens) ULY_TRY(uly__prepare_tokens_keep(p->tokens, p->config->out));
  if (has_eval) ULY_TRY(uly__prepare_output_show(eval));
  uly_status status = uly__prepare_output_show(train);
  if (status != ULY_OK && has_eval) uly__prepare_output_hide(eval);
  return status == ULY_OK ? uly__folder_sync(p->config->out) : status;
}

static uly_status remove_hidden(const preparation *p) {
  ULY_TRY(uly__prepare_output_remove(&p->outputs[TRAIN]));
  return uly__prepare_output_remove(&p->outputs[EVAL]);
}

/* Removes what an earlier call has left behind, or what this one leaves after a failure. */
static uly_status write_or_remove(preparation *p) {
  ULY_TRY(remove_hidden(p));
  uly_status status = write_all(p);
  uly__shard_writer_close(p->outputs[TRAIN].writer);
  uly__shard_writer_close(p->outputs[EVAL].writer);
  if (status == ULY_OK) return ULY_OK;
  char message[1024];
  snprintf(message, sizeof message, "%s", uly_last_error());
  (void)remove_hidden(p);
  uly__set_last_error(message);
  return status;
}

/* Prepares in a folder that is locked. */
static uly_status prepare_in(preparation *p) {
  const uly_prepare_config *c = p->config;
  const uly__batches_sink sink = {p, add_tokens, end_tokens};
  ULY_TRY(uly__prepare_output_name(&p->outputs[TRAIN], c->out, "train", &p->report->train));
  ULY_TRY(uly__prepare_output_name(&p->outputs[EVAL], c->out, "eval", &p->report->eval));
  if (c->progress) ULY_TRY(measure_inputs(p));
  if (c->tokenizer) ULY_TRY(uly__prepare_tokens_open(c, &sink, &p->tokens));
  p->begin = p->shown = now();
  ULY_TRY(write_or_remove(p));
  p->report->files = p->num_files;
  p->report->bytes = p->bytes;
  p->report->seconds = now() - p->begin;
  p->report->doc_end =
      p->tokens ? uly__prepare_tokens_of(p->tokens)->end : ULY_TEXT_END_OF_DOCUMENT;
  return ULY_OK;
}

static uly_status prepare(const uly_prepare_config *config, uly_prepare_report *report) {
  ULY_TRY(check(config));
  preparation *p = calloc(1, sizeof *p);
  if (!p) ULY_FAIL(ULY_ERR_MEMORY, "no memory to prepare '%s'", config->out);
  p->config = config;
  p->report = report;
  p->stream = uly__rng_stream("held-out documents");
  int fd = -1;
  bool was_there = access(config->out, F_OK) == 0;
  uly_status status = uly__folder_make(config->out);
  if (status == ULY_OK)
    status = uly__input_files_check(config->inputs, config->num_inputs, config->out);
  if (status == ULY_OK) status = uly__prepare_lock(config->out, &fd);
  if (status == ULY_OK) status = prepare_in(p);
  uly__prepare_tokens_close(p->tokens);
  if (fd >= 0) close(fd);
  if (status != ULY_OK && !was_there) (void)rmdir(config->out);
  free(p);
  return status;
}

uly_status uly_prepare(const uly_prepare_config *config, uly_prepare_report *report) {
  uly_prepare_config known = defaults;
  uly_prepare_report found = {0};
  ULY_TRY(uly__sized_read(config, "uly_prepare_config", &known, sizeof known));
  ULY_TRY(uly__sized_check(report, "uly_prepare_report"));
  uly_status status = prepare(&known, &found);
  uly__sized_write(report, &found, sizeof found);
  return status;
}
