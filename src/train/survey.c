/* Scans all data before a run begins, so that no error in them comes up in the middle of it: tokens
 * beyond the vocabulary, and windows without a label, which are passed over. The ranks divide the
 * windows among them, and all get the same result. It may be remembered in a file
 * (token_scan.h). */
#include "train/survey.h"

#include <stdlib.h>

#include "base/sized.h"
#include "base/split.h"
#include "train/batch.h"

/* The scan of one source. */
typedef struct look {
  const uly_trainer *trainer;
  const uly__tokens *tokens;
  uly__scan_request request;
  int64_t num_windows;
  uly__scan *scan; /* what all ranks have found so far */
} look;

/* Entries of a list of windows that are sent at a time. */
enum { CHUNK = 4096 };

static uly__group *world_of(const look *l) { return uly__mesh_world(l->trainer->mesh); }

/* ------------------------------------------------------------------ all ranks together */

/* Holds what a rank tells the others about its part. */
typedef struct summary {
  int64_t largest, num_ends, num_blank;
} summary;

/* Appends the windows that each rank has found, rank by rank, so that they ascend. */
static uly_status take_lists(const look *l, const summary *all, const uly__scan *mine,
                             int64_t *chunks) {
  uly_status status = ULY_OK; /* the others go on */
  for (int owner = 0; owner < uly__group_size(world_of(l)); owner++)
    for (int64_t at = 0; at < all[owner].num_blank; at += CHUNK) {
      int64_t left = all[owner].num_blank - at, count = left < CHUNK ? left : CHUNK;
      int64_t send[CHUNK] = {0};
      if (owner == uly__group_rank(world_of(l)))
        for (int64_t i = 0; i < count; i++) send[i] = mine->blank[at + i];
      ULY_TRY(uly__all_gather(world_of(l), NULL, ULY_TRAFFIC_CONTROL, send, sizeof send, chunks));
      for (int64_t i = 0; i < count && status == ULY_OK; i++)
        status = uly__scan_add_blank(l->scan, chunks[(int64_t)owner * CHUNK + i]);
    }
  return uly__agree(world_of(l), status);
}

static uly_status merge(const look *l, const uly__scan *mine, summary *all, int64_t *chunks) {
  summary own = {mine->largest, mine->num_ends, mine->num_blank};
  ULY_TRY(uly__all_gather(world_of(l), NULL, ULY_TRAFFIC_CONTROL, &own, sizeof own, all));
  for (int p = 0; p < uly__group_size(world_of(l)); p++) {
    if (all[p].largest > l->scan->largest) l->scan->largest = all[p].largest;
    l->scan->num_ends += all[p].num_ends;
  }
  return take_lists(l, all, mine, chunks);
}

/* Adds what each rank has found in its part to what all ranks know. */
static uly_status share(const look *l, const uly__scan *mine) {
  size_t size = (size_t)uly__group_size(world_of(l));
  summary *all = calloc(size, sizeof *all);
  int64_t *chunks = calloc(size * CHUNK, sizeof *chunks);
  uly_status status =
      all && chunks ? ULY_OK : uly_fail(ULY_ERR_MEMORY, "no memory to compare what ranks found");
  status = uly__agree(world_of(l), status);
  if (status == ULY_OK && all && chunks) status = merge(l, mine, all, chunks);
  free(all);
  free(chunks);
  return status;
}

/* ---------------------------------------------------------------------------- one source */

/* Scans windows [first, first + count), each rank its part of them. The last rank also scans the
 * token after them, which is a label, or all that is left of the stream. */
static uly_status look_at(const look *l, int64_t first, int64_t count) {
  int64_t N = l->trainer->run.config.seq_len, num_tokens = uly__tokens_count(l->tokens);
  int size = uly__group_size(world_of(l)), rank = uly__group_rank(world_of(l));
  uly__part part = uly__split(count, 1, size, rank);
  int64_t begin = (first + part.begin) * N, end = begin + part.count * N;
  if (rank == size - 1) end = first + count == l->num_windows ? num_tokens : end + 1;
  uly__scan_request request = l->request;
  uly__scan mine = {.largest = -1};
  request.num_windows = first + count;
  uly_status status = uly__scan_tokens(l->tokens, begin, end - begin, &request, &mine);
  status = uly__agree(world_of(l), status);
  if (status == ULY_OK) status = share(l, &mine);
  uly__scan_free(&mine);
  return status;
}

static uly__scan_key key_of(const look *l) {
  return (uly__scan_key){uly__tokens_hash(l->tokens), l->request.end, l->request.window};
}

/* Finds out whether an earlier start has scanned the same data, as rank 0 remembers, and tells all
 * ranks the result. */
static uly_status recall(const look *l, bool *is_known) {
  const char *path = l->trainer->run.config.scan_file;
  uly__scan mine = {.largest = -1};
  uly__scan_key key = key_of(l);
  int64_t knows = 0;
  if (l->trainer->mesh->rank == 0 && path && uly__scan_recall(path, &key, &mine))
    knows = mine.largest < l->request.vocab &&
            (mine.num_blank == 0 || mine.blank[mine.num_blank - 1] < l->num_windows);
  if (!knows) uly__scan_free(&mine);
  uly_status status = uly__sum_i64(world_of(l), ULY_TRAFFIC_CONTROL, &knows, 1);
  *is_known = knows > 0;
  if (status == ULY_OK && *is_known) status = share(l, &mine);
  uly__scan_free(&mine);
  return status;
}

/* Scans until `wanted` windows with a label are found, or everything has been scanned. */
static uly_status look_for(const look *l, int64_t wanted, int64_t *num_seen) {
  bool is_known = false;
  int64_t missing = wanted;
  *num_seen = 0;
  if (wanted >= l->num_windows) ULY_TRY(recall(l, &is_known));
  if (is_known) *num_seen = l->num_windows;
  while (missing > 0 && *num_seen < l->num_windows) {
    int64_t left = l->num_windows - *num_seen, count = missing < left ? missing : left;
    ULY_TRY(look_at(l, *num_seen, count));
    *num_seen += count;
    missing = wanted - (*num_seen - l->scan->num_blank);
  }
  return ULY_OK;
}

/* Counts the documents of a whole stream. What follows the last end is a document too. */
static uly_status count_documents(const look *l, int64_t *num) {
  int32_t last;
  *num = -1;
  if (l->request.end < 0) return ULY_OK;
  ULY_TRY(uly__tokens_read(l->tokens, uly__tokens_count(l->tokens) - 1, 1, INT64_MAX, &last));
  *num = l->scan->num_ends + (last != l->request.end);
  return ULY_OK;
}

static uly_status survey(const look *l, const char *path, int64_t wanted, uly_data_info *info) {
  int64_t num_seen = l->num_windows;
  bool is_plain_text =
      uly__tokens_kind(l->tokens) == ULY_TOKENS_TEXT && !l->trainer->run.config.pack;
  /* Bytes are in its vocabulary, and each file is a document. */
  if (is_plain_text)
    l->scan->num_ends = uly__tokens_num_files(l->tokens);
  else
    ULY_TRY(look_for(l, wanted, &num_seen));
  *info = (uly_data_info){.kind = (uly_data_kind)uly__tokens_kind(l->tokens),
                          .files = uly__tokens_num_files(l->tokens),
                          .tokens = uly__tokens_count(l->tokens),
                          .documents = -1,
                          .sequences = l->num_windows,
                          .without_label = l->scan->num_blank};
  if (l->scan->num_blank == num_seen)
    ULY_FAIL(ULY_ERR_DATA,
             "no token of '%s' has a label, since with config.pack each one is a document of its "
             "own: token %lld ends documents (config.doc_end)",
             path, (long long)l->request.end);
  uly_status status = num_seen == l->num_windows ? count_documents(l, &info->documents) : ULY_OK;
  return uly__agree(world_of(l), status);
}

/* --------------------------------------------------------------------------------- a run */

static look look_for_run(const uly_trainer *trainer, const uly__tokens *tokens, int64_t num_windows,
                         uly__scan *scan) {
  const uly_train_config *config = &trainer->run.config;
  return (look){
      .trainer = trainer,
      .tokens = tokens,
      .request = {.vocab = trainer->run.model->config.vocab,
                  .end = config->pack ? uly__batch_end(trainer, tokens) : uly__tokens_end(tokens),
                  .window = config->pack ? config->seq_len : 0},
      .num_windows = num_windows,
      .scan = scan};
}

uly_status uly__survey_data(uly_trainer *trainer) {
  const uly_train_config *config = &trainer->run.config;
  if (trainer->data) {
    look l = look_for_run(trainer, trainer->data, trainer->num_windows, &trainer->scan);
    ULY_TRY(survey(&l, config->data, INT64_MAX, &trainer->data_info));
  }
  if (!trainer->eval_data) return ULY_OK;
  look l =
      look_for_run(trainer, trainer->eval_data, trainer->num_eval_windows, &trainer->eval_scan);
  ULY_TRY(survey(&l, config->eval_data, config->eval_windows, &trainer->eval_info));
  int64_t labelled = trainer->num_eval_windows - trainer->eval_scan.num_blank;
  trainer->num_eval_windows = labelled < config->eval_windows ? labelled : config->eval_windows;
  return ULY_OK;
}

uly_status uly_trainer_remember_scan(const uly_trainer *trainer) {
  ULY_NOT_NULL(trainer);
  const uly__tokens *sources[] = {trainer->data, trainer->eval_data};
  const int64_t num_windows[] = {trainer->data_info.sequences, trainer->eval_info.sequences};
  uly__scan_key keys[2];
  const uly__scan *scans[2] = {NULL, NULL};
  int num = 0;
  if (!trainer->run.config.scan_file) return ULY_OK;
  for (int i = 0; i < 2; i++) {
    const uly__scan *scan = i == 0 ? &trainer->scan : &trainer->eval_scan;
    bool is_whole = i == 0 || trainer->run.config.eval_windows >= num_windows[i];
    if (!sources[i] || scan->largest < 0 || !is_whole) continue; /* nothing was scanned */
    look l = look_for_run(trainer, sources[i], num_windows[i], NULL);
    keys[num] = key_of(&l);
    scans[num++] = scan;
  }
  return num > 0 ? uly__scan_remember(trainer->run.config.scan_file, keys, scans, num) : ULY_OK;
}

const uly_data_info *uly_trainer_data_info(const uly_trainer *trainer) {
  return trainer && trainer->data ? &trainer->data_info : NULL;
}

const uly_data_info *uly_trainer_eval_data_info(const uly_trainer *trainer) {
  return trainer && trainer->eval_data ? &trainer->eval_info : NULL;
}
