/* Turns text into token shards: goes through the inputs, divides their documents between train/ and
 * eval/, and names both when everything is written and synced. */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "base/sized.h"
#include "data/documents.h"
#include "data/folder.h"
#include "data/shard_writer.h"

/* Shards are written to `hidden`, which is renamed to `final` when they are complete. */
typedef struct output {
  char final[PATH_MAX], hidden[PATH_MAX];
  uly__shard_writer *writer;
  uly_prepare_part *part;
} output;

typedef struct preparation {
  const uly_prepare_config *config;
  uly_prepare_report *report;
  output train, eval;
  output *current; /* of the current document; or NULL */
  int64_t num_documents, num_files;
  uint64_t stream;
} preparation;

static const uly_prepare_config defaults = {
    .size = sizeof defaults, .text_key = "text", .seed = 1, .shard_tokens = (int64_t)100 << 20};

void uly_prepare_config_default(uly_prepare_config *config, size_t size) {
  uly__sized_default(config, size, &defaults, sizeof defaults);
}

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
  return ULY_OK;
}

/* ---------------------------------------------------------------------- documents */

/* Decides from the seed and the document's place alone, so that another run divides the documents
 * in the same way. */
static bool is_held_out(const preparation *p) {
  return uly__rng_uniform(p->config->seed, p->stream, p->num_documents) < p->config->held_out;
}

static uly_status add(void *context, const char *bytes, int64_t count) {
  preparation *p = context;
  if (!p->current) p->current = is_held_out(p) ? &p->eval : &p->train;
  return uly__shard_writer_add(p->current->writer, bytes, count);
}

static uly_status end(void *context) {
  preparation *p = context;
  output *out = p->current;
  p->current = NULL;
  p->num_documents++;
  return uly__shard_writer_end_document(out->writer);
}

/* ------------------------------------------------------------------------- inputs */

static void skip(void *context, const char *why) {
  preparation *p = context;
  uly_prepare_report *report = p->report;
  if (report->skipped++ == 0)
    snprintf(report->first_skipped, sizeof report->first_skipped, "%s", why);
}

static uly_status read_file(preparation *p, const char *path) {
  const uly__document_sink sink = {p, add, end, p->config->skip_bad ? skip : NULL};
  const uly__document_format format = {p->config->documents, p->config->text_key,
                                       p->config->any_bytes != 0};
  p->num_files++;
  return uly__documents_read(path, &format, &sink);
}

/* Visits one entry of a folder, or the input itself. */
static uly_status visit(preparation *p, FTS *walk, FTSENT *entry) {
  bool is_input = entry->fts_level == FTS_ROOTLEVEL;
  if (!is_input && entry->fts_name[0] == '.') {
    (void)fts_set(walk, entry, FTS_SKIP);
    return ULY_OK;
  }
  switch (entry->fts_info) {
    case FTS_F: return read_file(p, entry->fts_path);
    /* A pipe may be an input, but one in a folder is not text. */
    case FTS_DEFAULT: return is_input ? read_file(p, entry->fts_path) : ULY_OK;
    case FTS_DC:
      ULY_FAIL(ULY_ERR_IO, "'%s' is a symbolic link to a folder that it lies in: remove it",
               entry->fts_path);
    case FTS_SLNONE:
      ULY_FAIL(ULY_ERR_IO, "'%s' is a symbolic link to nothing: repair or remove it",
               entry->fts_path);
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS: errno = entry->fts_errno; return uly__file_failed("read", entry->fts_path);
    /* The default case is a folder, before and after its entries. */
    default: return ULY_OK;
  }
}

/* Compares names. strcmp compares bytes as unsigned, so the order does not depend on the locale. */
static int compare_names(const FTSENT **a, const FTSENT **b) {
  return strcmp((*a)->fts_name, (*b)->fts_name);
}

static uly_status read_input(preparation *p, const char *path) {
  char *copy = strdup(path);
  if (!copy) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a path");
  char *const paths[] = {copy, NULL};
  FTS *walk = fts_open(paths, FTS_LOGICAL | FTS_NOCHDIR, compare_names);
  uly_status status = walk ? ULY_OK : uly__file_failed("read", path);
  errno = 0;
  for (FTSENT *entry; status == ULY_OK && (entry = fts_read(walk)); errno = 0)
    status = visit(p, walk, entry);
  if (status == ULY_OK && errno != 0) status = uly__file_failed("read the folder", path);
  if (walk) fts_close(walk);
  free(copy);
  return status;
}

/* ------------------------------------------------------------------------ outputs */

static uly_status name_output(output *out, const char *folder, const char *name,
                              uly_prepare_part *part) {
  char hidden[32];
  struct stat info;
  snprintf(hidden, sizeof hidden, ".%s.tmp", name);
  ULY_TRY(uly__path_join(out->final, PATH_MAX, folder, name));
  ULY_TRY(uly__path_join(out->hidden, PATH_MAX, folder, hidden));
  out->part = part;
  if (lstat(out->final, &info) == 0)
    ULY_FAIL(ULY_ERR_CONFIG,
             "'%s' exists already: give another folder as prepare.out, or remove it", out->final);
  return ULY_OK;
}

static uly_status open_output(const preparation *p, output *out) {
  ULY_TRY(uly__folder_make(out->hidden));
  return uly__shard_writer_open(out->hidden, p->config->shard_tokens, &out->writer);
}

static uly_status finish_output(output *out) {
  ULY_TRY(uly__shard_writer_finish(out->writer, out->part));
  return uly__folder_sync(out->hidden);
}

static uly_status show_output(const output *out) {
  if (rename(out->hidden, out->final) != 0) return uly__file_failed("rename to", out->final);
  return ULY_OK;
}

static uly_status check_counts(const preparation *p) {
  if (p->num_documents == 0)
    ULY_FAIL(ULY_ERR_DATA, "'%s'%s: there is no text in %lld files: nothing is written",
             p->config->inputs[0], p->config->num_inputs > 1 ? " and the others" : "",
             (long long)p->num_files);
  if (p->config->held_out > 0 && (!p->eval.part->documents || !p->train.part->documents))
    ULY_FAIL(ULY_ERR_CONFIG,
             "prepare.held_out = %g leaves no document for %s, of %lld in all: use more documents "
             "(prepare.documents says what one is), another share, or another prepare.seed",
             p->config->held_out, p->eval.part->documents ? "train" : "eval",
             (long long)p->num_documents);
  return ULY_OK;
}

/* Writes both folders, which stay hidden until both are complete. The training folder gets its name
 * last. */
static uly_status write_all(preparation *p) {
  bool has_eval = p->config->held_out > 0;
  ULY_TRY(open_output(p, &p->train));
  if (has_eval) ULY_TRY(open_output(p, &p->eval));
  for (int i = 0; i < p->config->num_inputs; i++) ULY_TRY(read_input(p, p->config->inputs[i]));
  ULY_TRY(finish_output(&p->train));
  if (has_eval) ULY_TRY(finish_output(&p->eval));
  ULY_TRY(check_counts(p));
  if (has_eval) ULY_TRY(show_output(&p->eval));
  uly_status status = show_output(&p->train);
  if (status != ULY_OK && has_eval) (void)rename(p->eval.final, p->eval.hidden);
  return status == ULY_OK ? uly__folder_sync(p->config->out) : status;
}

static uly_status remove_hidden(const preparation *p) {
  ULY_TRY(uly__folder_remove(p->train.hidden));
  return uly__folder_remove(p->eval.hidden);
}

/* Removes what an earlier call has left behind, or what this one leaves after a failure. */
static uly_status write_or_remove(preparation *p) {
  ULY_TRY(remove_hidden(p));
  uly_status status = write_all(p);
  uly__shard_writer_close(p->train.writer);
  uly__shard_writer_close(p->eval.writer);
  if (status == ULY_OK) return ULY_OK;
  char message[1024];
  snprintf(message, sizeof message, "%s", uly_last_error());
  (void)remove_hidden(p);
  uly__set_last_error(message);
  return status;
}

/* Returns whether the folder is the other one, or would be met on a walk through it, which skips
 * names that begin with a dot. */
static bool is_met_in(const char *folder, const struct stat *other) {
  char path[PATH_MAX];
  struct stat info;
  if (!realpath(folder, path)) return false;
  for (;;) {
    bool is_same =
        stat(path, &info) == 0 && info.st_dev == other->st_dev && info.st_ino == other->st_ino;
    char *slash = strrchr(path, '/');
    if (is_same || path[1] == '\0' || slash[1] == '.') return is_same;
    slash[slash == path] = '\0'; /* up: "/" of "/a" */
  }
}

/* Refuses an output among the inputs: the next call would read the shards of this one. */
static uly_status check_inputs(const uly_prepare_config *c) {
  for (int i = 0; i < c->num_inputs; i++) {
    struct stat input;
    if (stat(c->inputs[i], &input) == 0 && S_ISDIR(input.st_mode) && is_met_in(c->out, &input))
      ULY_FAIL(ULY_ERR_CONFIG,
               "prepare.out = '%s' lies in '%s', whose files are read: give another folder", c->out,
               c->inputs[i]);
  }
  return ULY_OK;
}

/* Locks the folder, since two calls at once would take each other's shards for remains. If the file
 * system has no locks, nothing is locked. */
static uly_status lock_folder(const char *path, int *fd) {
  *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (*fd < 0) return uly__file_failed("open the folder", path);
  if (flock(*fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return ULY_OK;
  close(*fd);
  ULY_FAIL(ULY_ERR_IO,
           "'%s' is being written to by another process: wait, or give another prepare.out", path);
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
  if (status == ULY_OK) status = check_inputs(config);
  if (status == ULY_OK) status = lock_folder(config->out, &fd);
  if (status == ULY_OK) status = name_output(&p->train, config->out, "train", &report->train);
  if (status == ULY_OK) status = name_output(&p->eval, config->out, "eval", &report->eval);
  if (status == ULY_OK) status = write_or_remove(p);
  if (status == ULY_OK) report->files = p->num_files;
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
