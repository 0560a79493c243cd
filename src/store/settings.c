/* The table of settings. */
#include "store/settings.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/mesh.h"
#include "model/stage.h"
#include "ops/mask.h"
#include "store/run_folder.h"

/* Limits whose products fit into the integers that count them. */
#define MAX_TOKENS ((uint64_t)1 << 32)
#define MAX_SEQUENCES 32768
/* A limit for counts that only time limits. */
#define MANY 1000000000000

/* Parts of a row: the member, and its type with the range and the default. */
#define MEMBER(member_)                                            \
  .name = #member_, .offset = offsetof(uly_train_config, member_), \
  .bytes = sizeof(((uly_train_config *)0)->member_)
#define TEXT(placeholder_) .type = ULY_SETTING_TEXT, .placeholder = (placeholder_)
#define INTEGER(min_, max_, initial_)                                        \
  .type = ULY_SETTING_INTEGER, .min.integer = (min_), .max.integer = (max_), \
  .initial.integer = (initial_)
/* An integer whose default is -1, which users write as a word. */
#define INTEGER_OR(word_, min_, max_) INTEGER(min_, max_, UINT64_MAX), .unset = (word_)
#define BYTES .type = ULY_SETTING_BYTES, .max.integer = INT64_MAX
#define REAL(min_, max_, initial_) \
  .type = ULY_SETTING_REAL, .min.real = (min_), .max.real = (max_), .initial.real = (initial_)
#define REAL_BELOW(min_, max_, initial_) REAL(min_, max_, initial_), .excludes_max = 1
#define CHOICE(words_, last_, initial_)                                  \
  .type = ULY_SETTING_CHOICE, .words = (words_), .max.integer = (last_), \
  .initial.integer = (initial_)
#define BOOLEAN .type = ULY_SETTING_BOOLEAN, .max.integer = 1

/* A setting that a checkpoint records has the same name in uly_checkpoint_info. */
#define RECORDED(member_, key_) \
  .record = (key_), .info_offset = offsetof(uly_checkpoint_info, member_)

enum {
  TRAIN = ULY_USE_TRAINING,
  STEP = ULY_USE_TRAINING | ULY_USE_PLANNING,
  DATA = ULY_USE_TRAINING | ULY_USE_EVALUATION,
  RUN = STEP | ULY_USE_EVALUATION,
  MODEL = RUN | ULY_USE_GENERATION
};

static const char *const dtypes[] = {"f32", "bf16", NULL};
static const char *const recomputes[] = {"none", "keep-attention", "full", NULL};
static const char *const scalings[] = {"auto", "linear", "llama3", "yarn", NULL};
static const char *const schedules[] = {"cosine", "linear", "constant", NULL};

/* The settings of a topic have the order of the program's help; those that a checkpoint records,
 * that of trainer.json. A setting stands behind the one that it needs. */
const uly_setting uly__settings[] = {
    {MEMBER(model), .topic = "run", TEXT("NAME|FILE"), .uses = RUN,
     .help = "a preset (uly_model_presets), or the path of a Hugging Face config.json; if not "
             "given, that of config.init, or llama-4m"},
    {MEMBER(init), .topic = "run", TEXT("DIR"), .uses = RUN, .is_shared = 1,
     .help = "start from the weights of a Hugging Face folder, or of a checkpoint"},
    {MEMBER(data), .topic = "run", TEXT("PATH"), .uses = TRAIN, .is_shared = 1,
     .help = "a file, or a folder of files (folders in it are not read): plain text (bytes) or "
             "llm.c token shards"},
    {MEMBER(seq_len), .topic = "run", INTEGER(1, MAX_TOKENS, 4096), .uses = RUN, .is_shared = 1,
     RECORDED(seq_len, "seq_len"), .help = "tokens of one sequence"},
    {MEMBER(rope_scaling), .topic = "run",
     CHOICE(scalings, ULY_ROPE_SCALING_YARN, ULY_ROPE_SCALING_AUTO), .uses = MODEL, .is_shared = 1,
     .help = "scale the model's RoPE, so that it takes longer sequences; auto: as its "
             "config.json says"},
    {MEMBER(rope_factor), .topic = "run", REAL(0, 1e6, 0), .uses = MODEL, .is_shared = 1,
     .needs = "rope_scaling",
     .help = "positions that the model gets, divided by those that it was trained with; 0: what "
             "the sequence needs"},
    {MEMBER(window), .topic = "attention", INTEGER_OR("auto", 0, MAX_TOKENS), .uses = MODEL,
     .is_shared = 1, RECORDED(window, "attention.window"),
     .help = "a token attends to the last N tokens, including itself; 0: to all before it; auto: "
             "as the model's config.json says (the sliding_window of a mistral)"},
    /* It is on where the key of doc_end is there. */
    {MEMBER(pack), .topic = "run", BOOLEAN, .uses = MODEL, .is_shared = 1,
     RECORDED(pack, "attention.doc_end"),
     .help = "a sequence holds several documents: attention and positions stay within each, and "
             "the loss does not cross from one to the next"},
    {MEMBER(doc_end), .topic = "run", INTEGER_OR("auto", 0, INT32_MAX), .uses = MODEL,
     .is_shared = 1, .needs = "pack", RECORDED(doc_end, "attention.doc_end"),
     .help = "config.pack: the token that ends each document; auto: what the files say"},
    {MEMBER(sparse.pattern), .topic = "attention",
     CHOICE(uly__sparse_names, ULY_SPARSE_BIGBIRD, ULY_SPARSE_NONE), .uses = MODEL, .is_shared = 1,
     RECORDED(sparse.pattern, "attention.sparse.pattern"),
     .help = "attend only to some blocks of tokens: longformer: nearby and global ones; bigbird: "
             "random ones too; strided: nearby ones and others at a regular stride; fixed: those "
             "of the block's own stretch and the last ones of each stretch"},
    {MEMBER(sparse.block), .topic = "attention", INTEGER(1, MAX_TOKENS, 64), .uses = MODEL,
     .is_shared = 1, .needs = "sparse.pattern", RECORDED(sparse.block, "attention.sparse.block"),
     .help = "tokens of a block"},
    {MEMBER(sparse.local), .topic = "attention", INTEGER(0, MAX_TOKENS, 0), .uses = MODEL,
     .is_shared = 1, .needs = "sparse.pattern", RECORDED(sparse.local, "attention.sparse.local"),
     .help =
         "nearby blocks, including the block itself; strided: also the stride; fixed: blocks in a "
         "stretch; 0: 4, or for strided and fixed the square root of the number of blocks"},
    {MEMBER(sparse.global), .topic = "attention", INTEGER(0, MAX_TOKENS, 1), .uses = MODEL,
     .is_shared = 1, .needs = "sparse.pattern", RECORDED(sparse.global, "attention.sparse.global"),
     .help = "longformer, bigbird: blocks at the start of the sequence that all tokens attend to; "
             "fixed: blocks at the end of each stretch"},
    {MEMBER(sparse.random), .topic = "attention", INTEGER(0, MAX_TOKENS, 3), .uses = MODEL,
     .is_shared = 1, .needs = "sparse.pattern", RECORDED(sparse.random, "attention.sparse.random"),
     .help = "bigbird: blocks that each block and head draws, from config.seed"},
    {MEMBER(any_bytes), .topic = "run", BOOLEAN, .uses = DATA,
     .help =
         "read files as bytes, whatever they hold; without it, files that are evidently not plain "
         "text are refused: archives, compressed files, UTF-16, numbers without a shard's header"},
    {MEMBER(seed), .topic = "run", INTEGER(0, UINT64_MAX, 1), .uses = DATA | ULY_USE_GENERATION,
     .is_shared = 1, RECORDED(seed, "seed"),
     .help = "seed of the initial weights, the data order, and the blocks that bigbird draws"},
    {MEMBER(steps), .topic = "optimizer", INTEGER(1, ULY_MAX_STEPS, 100), .uses = TRAIN,
     .is_shared = 1, .help = "steps of the whole run; the schedule ends here"},
    {MEMBER(batch), .topic = "optimizer", INTEGER(0, MAX_SEQUENCES, 0), .uses = STEP,
     .is_shared = 1,
     .help = "sequences per step, over all groups of ranks: a multiple of mesh.dp; 0: one for each "
             "group"},
    {MEMBER(lr), .topic = "optimizer", REAL(0, 1e30, 1e-3), .uses = TRAIN, .is_shared = 1,
     .help = "peak learning rate"},
    {MEMBER(min_lr_ratio), .topic = "optimizer", REAL(0, 1, 0.1), .uses = TRAIN, .is_shared = 1,
     .help = "final learning rate as a fraction of config.lr"},
    {MEMBER(schedule), .topic = "optimizer",
     CHOICE(schedules, ULY_SCHEDULE_CONSTANT, ULY_SCHEDULE_COSINE), .uses = TRAIN, .is_shared = 1,
     .help = "the learning rate after the warm-up"},
    {MEMBER(warmup), .topic = "optimizer", INTEGER(0, MANY, 10), .uses = TRAIN, .is_shared = 1,
     .help = "steps of linear warm-up"},
    {MEMBER(weight_decay), .topic = "optimizer", REAL(0, DBL_MAX, 0.1), .uses = TRAIN,
     .is_shared = 1, .help = "decoupled weight decay (AdamW), on matrices only"},
    {MEMBER(beta1), .topic = "optimizer", REAL_BELOW(0, 1, 0.9), .uses = TRAIN, .is_shared = 1,
     .help = "decay of the mean of the gradients"},
    {MEMBER(beta2), .topic = "optimizer", REAL_BELOW(0, 1, 0.95), .uses = TRAIN, .is_shared = 1,
     .help = "decay of the mean of their squares"},
    /* Less is 0 in f32. */
    {MEMBER(eps), .topic = "optimizer", REAL(1e-30, DBL_MAX, 1e-8), .uses = TRAIN, .is_shared = 1,
     .help = "added to AdamW's denominator"},
    {MEMBER(clip), .topic = "optimizer", REAL(0, DBL_MAX, 1), .uses = TRAIN, .is_shared = 1,
     .help = "largest global norm of the gradients; 0: no clipping"},
    {MEMBER(zero_stage), .topic = "ranks", INTEGER(0, 3, 0), .uses = MODEL, .is_shared = 1,
     .help = "ZeRO stage, which says what is divided among the ranks: 1 optimizer states, 2 also "
             "gradients, 3 also parameters"},
    {MEMBER(pp_chunks), .topic = "ranks", INTEGER(1, ULY_MAX_CHUNKS, 1), .uses = RUN,
     .is_shared = 1,
     .help =
         "chunks of layers in each stage of a pipeline; with more than 1, stages idle less, but "
         "send more and keep more activations"},
    {MEMBER(pp_ahead), .topic = "ranks", INTEGER(0, 16, 0), .uses = STEP, .is_shared = 1,
     .help =
         "forward passes that a stage of a pipeline makes early for each stage after it; 1 hides "
         "communication on slow links, but keeps more activations"},
    {MEMBER(reproducible), .topic = "ranks", BOOLEAN, .uses = RUN, .is_shared = 1,
     .help = "compute the same bits on any mesh, ZeRO stage and number of ranks (a power of two)"},
    {MEMBER(leaves), .topic = "ranks", INTEGER(1, 65536, 8), .uses = RUN, .is_shared = 1,
     .needs = "reproducible",
     .help = "parts of a sequence that config.reproducible sums one by one, and the most ranks "
             "that can share a sequence; a power of two"},
    {MEMBER(rounds), .topic = "ranks", INTEGER(0, 65536, 0), .uses = RUN, .is_shared = 1,
     .help = "parts of a rank's heads, each exchanged while attention works on the part before it; "
             "0: chosen from the model"},
    {MEMBER(threads), .topic = "ranks", INTEGER(0, 4096, 0), .uses = MODEL,
     .help = "OpenMP threads per rank; 0: OMP_NUM_THREADS, or the cores of the node divided by its "
             "ranks"},
    {MEMBER(dtype), .topic = "memory", CHOICE(dtypes, ULY_BF16, ULY_F32), .uses = MODEL,
     .is_shared = 1, RECORDED(dtype, "dtype"),
     .help = "storage of weights and activations; sums and optimizer states are f32"},
    {MEMBER(grad_dtype), .topic = "memory", CHOICE(dtypes, ULY_BF16, ULY_F32), .uses = STEP,
     .is_shared = 1,
     .help = "storage and reduction of gradients; bf16 rounds after each sequence of a step"},
    {MEMBER(recompute), .topic = "memory",
     CHOICE(recomputes, ULY_RECOMPUTE_FULL, ULY_RECOMPUTE_KEEP_ATTENTION), .uses = STEP,
     .is_shared = 1, .help = "what backward recomputes instead of keeping"},
    {MEMBER(memory_limit), .topic = "memory", BYTES, .uses = MODEL,
     .help = "memory that all arenas of a rank together may take; 0: no limit"},
    {MEMBER(offload), .topic = "memory", TEXT("DIR"), .uses = STEP,
     .help = "keep the optimizer states in a folder on local disk, not in memory"},
    {MEMBER(stash), .topic = "memory", TEXT("DIR"), .uses = STEP, .is_shared = 1,
     .help = "keep the activations for backward in a folder on local disk, and those of only two "
             "blocks in memory"},
    {MEMBER(eval_data), .topic = "eval", TEXT("PATH"), .uses = DATA, .is_shared = 1,
     .help = "held-out data for evaluation, as for config.data"},
    {MEMBER(eval_windows), .topic = "eval", INTEGER(1, MANY, 8), .uses = DATA, .is_shared = 1,
     .needs = "eval_data", .help = "the most sequences that an evaluation reads"},
    {MEMBER(new_data), .topic = "output", BOOLEAN, .uses = TRAIN, .is_shared = 1,
     .help = "continue with other data than the checkpoint's, from their beginning"},
    {MEMBER(forward_only), BOOLEAN, .uses = ULY_USE_PLANNING | ULY_USE_EVALUATION, .is_shared = 1,
     .help = "evaluate, and never train"},
    {MEMBER(scan_file), TEXT("FILE"), .uses = DATA,
     .help = "file that keeps the result of the scan of the data"},
};

const int uly__num_settings = sizeof uly__settings / sizeof uly__settings[0];

const uly_setting *uly_settings(size_t *num) {
  if (num) *num = (size_t)uly__num_settings;
  return uly__settings;
}

/* ----------------------------------------------------------------------------- values */

uly_setting_value uly__setting_get(const uly_setting *s, const uly_train_config *config) {
  const char *at = (const char *)config + s->offset;
  uly_setting_value value = {.integer = 0};
  int narrow;
  if (s->bytes != sizeof narrow) {
    memcpy(&value, at, s->bytes);
    return value;
  }
  memcpy(&narrow, at, sizeof narrow);
  value.integer = (uint64_t)(int64_t)narrow;
  return value;
}

void uly__setting_put(const uly_setting *s, uly_train_config *config, uly_setting_value value) {
  char *at = (char *)config + s->offset;
  int narrow = (int)value.integer;
  if (s->bytes == sizeof narrow)
    memcpy(at, &narrow, sizeof narrow);
  else
    memcpy(at, &value, s->bytes);
}

/* Returns whether the value is neither 0 nor NULL. */
static bool is_given(const uly_setting *s, const uly_train_config *config) {
  uly_setting_value value = uly__setting_get(s, config);
  if (s->type == ULY_SETTING_TEXT) return value.text != NULL;
  return s->type == ULY_SETTING_REAL ? value.real != 0 : value.integer != 0;
}

static bool is_default(const uly_setting *s, const uly_train_config *config) {
  uly_setting_value value = uly__setting_get(s, config);
  if (s->type == ULY_SETTING_REAL) return value.real == s->initial.real;
  if (s->type != ULY_SETTING_TEXT) return value.integer == s->initial.integer;
  if (!value.text || !s->initial.text) return value.text == s->initial.text;
  return strcmp(value.text, s->initial.text) == 0;
}

bool uly__setting_has_effect(const uly_setting *s, const uly_train_config *config) {
  if (!s->needs) return true;
  const uly_setting *needed = uly__settings;
  while (strcmp(needed->name, s->needs) != 0) needed++;
  return is_given(needed, config);
}

uly_train_config uly__train_config_default(void) {
  uly_train_config config = {.size = sizeof config};
  for (int i = 0; i < uly__num_settings; i++)
    uly__setting_put(&uly__settings[i], &config, uly__settings[i].initial);
  return config;
}

void uly__settings_take(uly_train_config *to, const uly_train_config *from, unsigned uses) {
  for (int i = 0; i < uly__num_settings; i++) {
    const uly_setting *s = &uly__settings[i];
    if (s->uses & uses) uly__setting_put(s, to, uly__setting_get(s, from));
  }
}

uly_status uly__settings_copy_texts(uly_train_config *config) {
  bool failed = false;
  for (int i = 0; i < uly__num_settings; i++) {
    const uly_setting *s = &uly__settings[i];
    if (s->type != ULY_SETTING_TEXT) continue;
    uly_setting_value value = uly__setting_get(s, config);
    if (!value.text) continue;
    value.text = strdup(value.text);
    if (!value.text) failed = true;
    uly__setting_put(s, config, value);
  }
  if (failed) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the texts of a configuration");
  return ULY_OK;
}

void uly__settings_free_texts(uly_train_config *config) {
  for (int i = 0; i < uly__num_settings; i++)
    if (uly__settings[i].type == ULY_SETTING_TEXT)
      free((char *)(uintptr_t)uly__setting_get(&uly__settings[i], config).text);
}

/* ----------------------------------------------------------------------------- checks */

bool uly__setting_allows(const uly_setting *s, uly_setting_value value) {
  if (s->type == ULY_SETTING_TEXT || s->type == ULY_SETTING_BOOLEAN) return true;
  if (s->type == ULY_SETTING_REAL)
    return isfinite(value.real) && value.real >= s->min.real && value.real <= s->max.real &&
           !(s->excludes_max && value.real == s->max.real);
  return (value.integer >= s->min.integer && value.integer <= s->max.integer) ||
         (s->unset && value.integer == UINT64_MAX);
}

void uly__setting_range(const uly_setting *s, char text[ULY_RANGE_TEXT]) {
  if (s->type != ULY_SETTING_REAL)
    snprintf(text, ULY_RANGE_TEXT, "from %llu to %llu%s", (unsigned long long)s->min.integer,
             (unsigned long long)s->max.integer, s->unset ? ", or -1" : "");
  else if (s->max.real == DBL_MAX)
    snprintf(text, ULY_RANGE_TEXT, "no less than %g", s->min.real);
  else
    snprintf(text, ULY_RANGE_TEXT, "from %g to %s%g", s->min.real, s->excludes_max ? "below " : "",
             s->max.real);
}

static uly_status check_range(const uly_setting *s, uly_setting_value value) {
  char range[ULY_RANGE_TEXT];
  if (uly__setting_allows(s, value)) return ULY_OK;
  uly__setting_range(s, range);
  if (s->type == ULY_SETTING_REAL)
    ULY_FAIL(ULY_ERR_CONFIG, "config.%s is %g, but it must be a finite number %s", s->name,
             value.real, range);
  ULY_FAIL(ULY_ERR_CONFIG, "config.%s is %lld, but it must be an integer %s", s->name,
           (long long)value.integer, range);
}

/* A setting that needs another counts as set unless it has its default, or the 0 of a struct that
 * was cleared. */
static bool is_set(const uly_setting *s, const uly_train_config *config) {
  return !is_default(s, config) && (s->unset || is_given(s, config));
}

uly_status uly__settings_check(const uly_train_config *config, unsigned uses) {
  for (int i = 0; i < uly__num_settings; i++) {
    const uly_setting *s = &uly__settings[i];
    if (!(s->uses & uses)) continue;
    if (uly__setting_has_effect(s, config)) {
      ULY_TRY(check_range(s, uly__setting_get(s, config)));
    } else if (is_set(s, config)) {
      ULY_FAIL(ULY_ERR_CONFIG,
               "config.%s is set, but has no effect without config.%s: set that too, or leave "
               "config.%s at its default",
               s->name, s->needs, s->name);
    }
  }
  return ULY_OK;
}

uly_status uly__settings_same(const uly_mesh *mesh, const uly_train_config *config, unsigned uses) {
  enum { NAME = 64 };
  char names[ULY_MAX_SUM][NAME];
  uly__named values[ULY_MAX_SUM];
  int num = 0;
  for (int i = 0; i < uly__num_settings; i++) {
    const uly_setting *s = &uly__settings[i];
    if (!s->is_shared || !(s->uses & uses)) continue;
    assert(num < ULY_MAX_SUM);
    bool is_yes_or_no = s->type == ULY_SETTING_TEXT || s->type == ULY_SETTING_BOOLEAN;
    uint64_t value = is_yes_or_no ? is_given(s, config) : uly__setting_get(s, config).integer;
    snprintf(names[num], NAME, "config.%s", s->name);
    values[num] = (uly__named){names[num], uly__setting_has_effect(s, config) ? value : 0};
    num++;
  }
  return uly__same_values(uly__mesh_world(mesh), values, num);
}
