/* The table of options. Most are settings of uly_train_config, which the library's table
 * (uly_settings) describes; the others have rows here, and so does the place of the settings among
 * them. From both come the command-line flags, the keys of a configuration file, their checks, the
 * text of --help, the man page and the completion for bash. */
#include "options/options_table.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

#include "bench/bench_options.h"
#include "checkpoint/checkpoint_options.h"
#include "doctor/doctor_options.h"
#include "export/export_options.h"
#include "launch/launch_options.h"
#include "plan/plan_options.h"
#include "prepare/prepare_options.h"
#include "report/report_options.h"
#include "tokenize/tokenize_options.h"
#include "train/train_options.h"
#include "use/use_options.h"

#define ROW(section_, title_) [SECTION_##section_] = {.key = #section_, .title = title_},
const section_info section_table[NUM_SECTIONS] = {SECTIONS_OF_FILE(ROW) SECTIONS_OF_CALL(ROW)};
#undef ROW

/* ------------------------------------------------------------------------- what may be given */

/* A limit for counts that only time limits. */
#define MANY 1000000000000
#define MAX_RANKS 32768

/* The last argument of each number is its default. LIBRARY: the library says it. */
#define LIBRARY 0
#define VALUE_TEXT(placeholder_) \
  .kind = KIND_TEXT, .rules = {.placeholder = placeholder_, .max.integer = PATH_MAX - 1}
#define VALUE_LONG_TEXT(placeholder_) \
  .kind = KIND_TEXT, .rules = {.placeholder = placeholder_, .max.integer = INT64_MAX}
#define VALUE_INTEGER(min_, max_, initial_) \
  .kind = KIND_INTEGER,                     \
  .rules = {.min.integer = min_, .max.integer = max_, .initial.integer = initial_}
#define VALUE_BYTES(initial_) \
  .kind = KIND_BYTES, .rules = {.max.integer = INT64_MAX, .initial.integer = initial_}
#define VALUE_REAL(min_, max_, initial_) \
  .kind = KIND_REAL, .rules = {.min.real = min_, .max.real = max_, .initial.real = initial_}
#define VALUE_REAL_BELOW(min_, max_, initial_) \
  .kind = KIND_REAL,                           \
  .rules = {.min.real = min_, .max.real = max_, .initial.real = initial_, .excludes_max = 1}
/* The default is the number of a word. */
#define VALUE_CHOICE(initial_, ...) \
  .kind = KIND_CHOICE,              \
  .rules = {.words = (const char *const[]){__VA_ARGS__, NULL}, .initial.integer = initial_}
#define VALUE_BOOLEAN(initial_) .kind = KIND_BOOLEAN, .rules = {.initial.integer = initial_}
#define VALUE_SWITCH .kind = KIND_SWITCH

/* ------------------------------------------------------------------------- where it is stored */

/* IN_TRAIN(out): train stores the option in train_options.out, and so knows its flag. Messages of
 * the library name an option by the end of its member, as in mesh.sp. */
#define IN(command_, type_, member_)                        \
  [command_##_INDEX] = {.member = #member_,                 \
                        .offset = offsetof(type_, member_), \
                        .size = sizeof(((type_ *)0)->member_)},
#define IN_TRAIN(member) IN(TRAIN, train_options, member)
#define IN_PLAN(member) IN(PLAN, plan_options, member)
#define IN_ATTENTION(member) IN(BENCH_ATTENTION, bench_options, member)
#define IN_STEP(member) IN(BENCH_STEP, bench_options, member)
#define IN_EXCHANGE(member) IN(BENCH_EXCHANGE, bench_options, member)
#define IN_CEILING(member) IN(BENCH_CEILING, bench_options, member)
#define IN_EVAL(member) IN(EVAL, use_options, member)
#define IN_GENERATE(member) IN(GENERATE, generate_options, member)
#define IN_PREPARE(member) IN(PREPARE, prepare_options, member)
#define IN_TOKENIZE(member) IN(TOKENIZE, tokenize_options, member)
#define IN_REPORT(member) IN(REPORT, report_options, member)
#define IN_DOCTOR(member) IN(DOCTOR, doctor_options, member)
#define IN_CHECKPOINT(member) IN(CHECKPOINT, checkpoint_options, member)
#define IN_EXPORT(member) IN(EXPORT, export_options, member)
#define IN_LAUNCH(member) IN(LAUNCH, launch_options, member)
/* Every command that makes, plans or measures a run; and each that measures heads. */
#define IN_RUNS(member) IN_TRAIN(member) IN_PLAN(member) IN_STEP(member)
#define IN_HEADS(member) IN_ATTENTION(member) IN_EXCHANGE(member)
/* ------------------------------------------------------------------------- the rows */

/* OPTION(section, key, value, places, help)
 *
 * section   the topic of --help, and the section of a configuration file that holds the key
 * key       the key in that section; the flag is the same with dashes: seq_len, --seq-len. Flags
 *           have no section, so a key is unique among all sections that a command knows
 * value     what is allowed, and the default
 * places    the members that store the value, of each command that knows the flag. A configuration
 *           file may hold the keys of all commands, so that `plan` can read the file of a training
 *           run */
#define OPTION(section_, key_, value_, places_, help_) \
  { .section = SECTION_##section_, .key = #key_, value_, .places = {places_}, .help = help_ }
/* Makes the row of an option that means something else to some commands: their meanings follow. */
#define OPTION_OF_SEVERAL(section_, key_, value_, places_, help_, ...)                       \
  {                                                                                          \
    .section = SECTION_##section_, .key = #key_, value_, .places = {places_}, .help = help_, \
    .meanings = {                                                                            \
      __VA_ARGS__                                                                            \
    }                                                                                        \
  }
/* SETTINGS(section, last, commands) stands for all settings whose topic is the section, in their
 * order; those after `last` (not NULL) are left for the next SETTINGS. `commands` know them besides
 * those that follow from the uses of each. */
#define SETTINGS(section_, last_, commands_) \
  { .section = SECTION_##section_, .rules.name = last_, .commands = commands_ }

static const option_info rows[] = {
    SETTINGS(run, NULL, 0),
    SETTINGS(attention, NULL, BENCH_ATTENTION),
    SETTINGS(optimizer, NULL, 0),
    OPTION(optimizer, nonfinite, VALUE_CHOICE(NONFINITE_STOP, "stop", "skip", "rollback"),
           IN_TRAIN(nonfinite),
           "after a step whose loss or gradient is not finite: end the run; or continue without an "
           "update; or go back to the newest checkpoint in --out and continue with the data after "
           "those of the step"),
    OPTION(optimizer, nonfinite_limit, VALUE_INTEGER(1, MANY, 10), IN_TRAIN(nonfinite_limit),
           "end the run after more such steps than this in a row"),
    OPTION(ranks, sp, VALUE_INTEGER(0, MAX_RANKS, 0),
           IN_RUNS(run.mesh.sp) IN_EVAL(run.mesh.sp) IN_GENERATE(use.run.mesh.sp),
           "ranks that share one sequence; 0: all that --dp, --tp and --pp leave, but 1 in `plan`"),
    OPTION(ranks, ulysses, VALUE_INTEGER(0, MAX_RANKS, 0),
           IN_RUNS(run.mesh.ulysses) IN_EVAL(run.mesh.ulysses) IN_GENERATE(use.run.mesh.ulysses),
           "ranks among which heads are exchanged; 0: --sp divided by --ring or --gather"),
    OPTION(ranks, ring, VALUE_INTEGER(0, MAX_RANKS, 0),
           IN_RUNS(run.mesh.ring) IN_EVAL(run.mesh.ring),
           "ranks that pass keys and values around a ring; 0: --sp divided by --ulysses, or 1"),
    OPTION(ranks, gather, VALUE_INTEGER(0, MAX_RANKS, 0),
           IN_RUNS(run.mesh.gather) IN_EVAL(run.mesh.gather),
           "instead of --ring: ranks that gather all keys and values at once"),
    OPTION(ranks, dp, VALUE_INTEGER(1, MAX_RANKS, 1), IN_RUNS(run.mesh.dp) IN_EVAL(run.mesh.dp),
           "groups of ranks that work on different sequences"),
    OPTION(ranks, tp, VALUE_INTEGER(1, MAX_RANKS, 1),
           IN_RUNS(run.mesh.tp) IN_EVAL(run.mesh.tp) IN_GENERATE(use.run.mesh.tp),
           "ranks among which heads, MLP and vocabulary are divided (tensor parallelism); --sp "
           "then counts groups of so many ranks"),
    OPTION(ranks, pp, VALUE_INTEGER(1, MAX_RANKS, 1),
           IN_RUNS(run.mesh.pp) IN_EVAL(run.mesh.pp) IN_GENERATE(use.run.mesh.pp),
           "stages that have different layers (pipeline parallelism); they work on different "
           "sequences at the same time, so --batch divided by --dp should be several times --pp"),
    SETTINGS(ranks, NULL, 0),
    SETTINGS(memory, NULL, 0),
    SETTINGS(eval, "eval_data", 0),
    OPTION(eval, eval_every, VALUE_INTEGER(0, MANY, 0), IN_TRAIN(eval_every),
           "steps between evaluations; 0: only at the end, if --eval-data is given"),
    SETTINGS(eval, NULL, 0),
    OPTION_OF_SEVERAL(output, out, VALUE_TEXT("PATH"),
                      IN_TRAIN(out) IN_PREPARE(prepare.out) IN_REPORT(out) IN_EXPORT(export.out),
                      "folder for checkpoints, created if it is missing",
                      {PREPARE, "folder for token shards, created if it is missing", NULL},
                      {EXPORT, "folder for the model: a new or an empty one", NULL},
                      {REPORT, "file for the page", "report.html"}),
    OPTION(output, save_every, VALUE_INTEGER(0, MANY, 0), IN_TRAIN(save_every),
           "steps between checkpoints; 0: only at the end; needs --out"),
    OPTION(output, keep_last, VALUE_INTEGER(0, MANY, 0), IN_TRAIN(keep_last),
           "the number of newest checkpoints to keep in --out; 0: all"),
    OPTION(output, keep_every, VALUE_INTEGER(0, MANY, 0), IN_TRAIN(keep_every),
           "also keep checkpoints at multiples of N steps; 0: no others; needs --keep-last"),
    OPTION(output, resume, VALUE_TEXT("DIR|auto"), IN_TRAIN(resume),
           "continue from a checkpoint; auto: the newest in --out, or from the start if there is "
           "none"),
    SETTINGS(output, NULL, 0),
    OPTION(output, metrics, VALUE_TEXT("FILE"), IN_TRAIN(metrics),
           "file for one line of JSON per step, continued when the run is resumed; if not given, "
           "metrics.jsonl in --out"),
    OPTION(output, trace, VALUE_TEXT("FILE"), IN_TRAIN(trace) IN_STEP(trace),
           "write what every rank did and when, in the Trace Event format (Perfetto, "
           "chrome://tracing)"),
    OPTION(output, log_every, VALUE_INTEGER(1, MANY, 1), IN_TRAIN(log_every),
           "steps between lines on standard output, if that is not a terminal"),
    OPTION(output, progress, VALUE_CHOICE(PROGRESS_AUTO, "auto", "live", "plain"),
           IN_TRAIN(progress) IN_PREPARE(progress),
           "one line that is rewritten in place, or plain lines; auto: live on a terminal"),
    OPTION(output, measure_peak, VALUE_BOOLEAN(1), IN_TRAIN(measure_peak),
           "measure briefly, before the run, how fast matrix products are on this machine; each "
           "step shows its share of that speed"),
    OPTION(output, rank_logs, VALUE_TEXT("DIR"), IN_TRAIN(rank_logs),
           "folder for a log of each rank: what that rank did in each step, and on which host"),
    OPTION(
        use, checkpoint, VALUE_TEXT("DIR"), IN_EVAL(checkpoint) IN_GENERATE(use.checkpoint),
        "a checkpoint; the folder of a run, for its newest checkpoint; or a Hugging Face folder"),
    OPTION(use, prompt, VALUE_LONG_TEXT("TEXT"), IN_GENERATE(prompt), "text to continue"),
    OPTION(use, prompt_file, VALUE_TEXT("FILE"), IN_GENERATE(prompt_file),
           "a file that holds the text to continue"),
    OPTION(use, prompt_tokens, VALUE_LONG_TEXT("N,N,..."), IN_GENERATE(prompt_tokens),
           "the tokens to continue, as numbers"),
    OPTION(use, max_tokens, VALUE_INTEGER(1, MAX_TOKENS, 256), IN_GENERATE(max_tokens),
           "the most tokens to generate; there are fewer if one of them ends the text"),
    OPTION(use, ignore_eos, VALUE_BOOLEAN(0), IN_GENERATE(ignore_eos),
           "go on after a token that ends the text"),
    OPTION(use, temperature, VALUE_REAL(0, 1e6, LIBRARY), IN_GENERATE(sampling.temperature),
           "divisor of the logits; 0: always draw the most likely token"),
    OPTION(use, top_k, VALUE_INTEGER(0, MAX_TOKENS, LIBRARY), IN_GENERATE(sampling.top_k),
           "draw only from the N most likely tokens (top-k); 0: from all"),
    OPTION(use, top_p, VALUE_REAL(1e-9, 1, LIBRARY), IN_GENERATE(sampling.top_p),
           "of those tokens, draw only from the fewest most likely ones whose probabilities add up "
           "to this (nucleus)"),
    OPTION(use, forward_only, VALUE_BOOLEAN(0), IN_PLAN(run.config.forward_only),
           "plan an evaluation (ulysses eval) instead of training"),
    OPTION_OF_SEVERAL(
        text, tokenizer, VALUE_TEXT("FILE|DIR"),
        IN_PREPARE(prepare.tokenizer) IN_TOKENIZE(tokenizer) IN_GENERATE(tokenizer),
        "a tokenizer: tokenizer.json, tokenizer.model, ranks of tiktoken, or a folder that holds "
        "one of these",
        {PREPARE,
         "tokenizer.json, tokenizer.model, ranks of tiktoken, or a folder that holds one "
         "of these; without it, bytes are the tokens",
         NULL},
        {GENERATE,
         "tokenizer.json, tokenizer.model, ranks of tiktoken, or a folder that holds one "
         "of these",
         "that of --checkpoint"}),
    OPTION(text, documents, VALUE_CHOICE(LIBRARY, "file", "line", "jsonl"),
           IN_PREPARE(prepare.documents),
           "what a document is: a file; a line; or a text in each line of JSON"),
    OPTION(text, text_key, VALUE_TEXT("KEY"), IN_PREPARE(prepare.text_key),
           "jsonl: the key of the text in each line's object"),
    OPTION(text, skip_bad, VALUE_BOOLEAN(LIBRARY), IN_PREPARE(prepare.skip_bad),
           "jsonl: leave out and count lines that hold no text, instead of ending there"),
    OPTION(text, held_out, VALUE_REAL_BELOW(0, 1, LIBRARY), IN_PREPARE(prepare.held_out),
           "probability with which a document is held out for evaluation, drawn from --seed"),
    OPTION(text, shard_tokens, VALUE_INTEGER(1, INT32_MAX, LIBRARY),
           IN_PREPARE(prepare.shard_tokens),
           "tokens of a shard; a document may continue in the next one"),
    OPTION(text, text, VALUE_LONG_TEXT("TEXT"), IN_TOKENIZE(text),
           "the text, instead of standard input"),
    OPTION(text, file, VALUE_TEXT("FILE"), IN_TOKENIZE(file),
           "a file that holds the text, instead of standard input"),
    OPTION(text, decode, VALUE_LONG_TEXT("N,N,..."), IN_TOKENIZE(decode),
           "print the text of these tokens; -: of those on standard input"),
    OPTION(text, ids, VALUE_SWITCH, IN_TOKENIZE(ids),
           "print the tokens alone, as --prompt-tokens and --decode take them"),
    OPTION(text, parse_special, VALUE_BOOLEAN(1),
           IN_TOKENIZE(parse_special) IN_GENERATE(parse_special),
           "turn names of special tokens in a text into these tokens, and not into ordinary text"),
    OPTION(text, add_special, VALUE_BOOLEAN(1), IN_TOKENIZE(add_special) IN_GENERATE(add_special),
           "add the tokens that the tokenizer puts around a text, such as the one that begins it"),
    OPTION(text, skip_special, VALUE_BOOLEAN(1),
           IN_TOKENIZE(skip_special) IN_GENERATE(skip_special),
           "leave special tokens out of the text that is printed"),
    /* Runs have a setting of this name, whose words are fewer. */
    OPTION(files, dtype, VALUE_CHOICE(EXPORT_AUTO, "auto", "f32", "bf16", "f16"), IN_EXPORT(dtype),
           "type of the weights, to which they are rounded; auto: that of the source, or f32 if it "
           "has several"),
    OPTION(files, shard_size, VALUE_BYTES(LIBRARY), IN_EXPORT(export.shard_bytes),
           "the most bytes of weights in a file; a larger tensor has a file of its own"),
    OPTION(measure, q_heads, VALUE_INTEGER(0, 65536, 0), IN_HEADS(desc.num_q_heads),
           "query heads, over all ranks; 0: 2 for each rank"),
    OPTION(measure, kv_heads, VALUE_INTEGER(0, 65536, 0), IN_HEADS(desc.num_kv_heads),
           "key/value heads, a divisor of --q-heads; 0: as many as query heads"),
    OPTION(measure, head_dim, VALUE_INTEGER(1, 65536, 64), IN_HEADS(desc.head_dim),
           "elements of a head"),
    OPTION(measure, mask, VALUE_CHOICE(ULY_MASK_CAUSAL, "full", "causal"), IN_ATTENTION(mask.kind),
           "which keys a query sees"),
    OPTION(measure, array_bytes, VALUE_BYTES(256 << 20), IN_CEILING(array_bytes),
           "size of each array for measuring memory bandwidth, over all ranks of a node: several "
           "times that of the caches"),
    OPTION(measure, repeats, VALUE_INTEGER(1, MAX_REPEATS, 5),
           IN_HEADS(repeats) IN_STEP(repeats) IN_CEILING(repeats),
           "how often figure and ceiling are measured in turn, after one warm-up; medians are "
           "printed"),
    OPTION(call, config, VALUE_TEXT("FILE"), IN_RUNS(base.config_file),
           "read options from a YAML file, laid out as --print-config does; flags override it"),
    OPTION(call, set, VALUE_TEXT("SECTION.KEY=VALUE"), IN_RUNS(base.set),
           "set one key of such a file, as in --set optimizer.lr=1e-3; may be repeated, and a "
           "later one overrides"),
    OPTION(call, print_config, VALUE_SWITCH, IN_TRAIN(base.print_config) IN_PLAN(base.print_config),
           "print all options as such a file, and exit"),
    OPTION(call, dry_run, VALUE_SWITCH, IN_TRAIN(dry_run),
           "make all checks of a start, print the configuration and the plan, and exit: nothing is "
           "allocated or written"),
    OPTION(call, ranks, VALUE_INTEGER(1, MAX_RANKS, 1), IN_LAUNCH(ranks),
           "processes to start, on this machine"),
    OPTION(call, json, VALUE_SWITCH,
           IN_PLAN(json) IN_EVAL(json) IN_GENERATE(use.json) IN_DOCTOR(json) IN_CHECKPOINT(json)
               IN_TOKENIZE(json),
           "print the output as JSON"),
    OPTION(call, tensors, VALUE_SWITCH, IN_CHECKPOINT(tensors),
           "show: list every tensor, of each block"),
};

/* Holds what the program says about a setting in words other than the library's. A member that is
 * NULL or 0 follows from the setting. */
typedef struct setting_form {
  const char *name;
  const char *key, *prefix, *placeholder, *help;
  option_meaning meanings[MAX_MEANINGS];
  unsigned also, without; /* commands */
  /* Where a command stores it that has no configuration of a run. */
  option_place places[NUM_SINGLE_COMMANDS];
} setting_form;

static const setting_form forms[] = {
    {.name = "model",
     .without = EVAL,
     .help =
         "a preset (listed below), or the path of a Hugging Face config.json; if not given, that "
         "of --init, or llama-4m"},
    {.name = "init",
     .without = EVAL,
     .help = "start from the weights of a Hugging Face folder, of a checkpoint, or of the newest "
             "checkpoint of a run, whose folder is given"},
    {.name = "data", .also = EVAL},
    {.name = "seq_len", .also = BENCH_ATTENTION | BENCH_EXCHANGE},
    {.name = "pack", .without = BENCH_STEP},
    {.name = "doc_end",
     .without = BENCH_STEP,
     .meanings = {{PREPARE,
                   "the token that ends each document, with --tokenizer; auto: the one "
                   "with which the tokenizer ends a text",
                   NULL}},
     .places = {IN_PREPARE(prepare.doc_end)}},
    {.name = "any_bytes",
     .meanings = {{PREPARE,
                   "read files as bytes, whatever they hold; without it, files that are "
                   "evidently not plain text are refused; with --tokenizer, bytes that "
                   "are not UTF-8 are replaced by U+FFFD",
                   NULL},
                  {TOKENIZE,
                   "replace bytes that are not UTF-8 by U+FFFD; without it, such a text "
                   "is refused",
                   NULL}},
     .places = {IN_PREPARE(prepare.any_bytes) IN_TOKENIZE(any_bytes)}},
    {.name = "seed",
     .places = {IN_PREPARE(prepare.seed)},
     .meanings = {{PREPARE, "seed that chooses which documents are held out", NULL},
                  {GENERATE, "seed of sampling", NULL},
                  {EVAL, "seed from which --sparse bigbird draws its blocks", NULL}}},
    {.name = "sparse.pattern", .key = "sparse"},
    {.name = "sparse.random",
     .meanings = {{PLAN | BENCH_ATTENTION | BENCH_STEP,
                   "bigbird: blocks that each block and head draws", NULL},
                  {GENERATE,
                   "bigbird: blocks that each block and head draws, from the seed of the "
                   "checkpoint",
                   NULL}}},
    {.name = "zero_stage", .key = "zero"},
    {.name = "threads",
     .also = BENCH,
     .meanings = {{PREPARE, "threads that tokenize, with --tokenizer; 0: one per core", NULL}},
     .places = {IN_PREPARE(prepare.threads)}},
    {.name = "dtype", .also = BENCH_ATTENTION | BENCH_EXCHANGE},
    {.name = "offload", .key = "offload_optimizer", .prefix = "disk:", .placeholder = "disk:DIR"},
    {.name = "stash", .prefix = "disk:", .placeholder = "disk:DIR"},
    {.name = "eval_data", .without = EVAL},
    {.name = "eval_windows", .meanings = {{EVAL, "the most sequences that are read", "all"}}},
    {.name = "new_data",
     .help = "--resume: continue with other data than the checkpoint's, from their beginning"},
    {.name = NULL}};

/* ------------------------------------------------------------------------- the whole table */

/* The struct of each command: its size, and where in it run_options are; 0: it has none. */
static const struct {
  size_t size, run;
} stores[NUM_SINGLE_COMMANDS] = {
    [TRAIN_INDEX] = {sizeof(train_options), offsetof(train_options, run)},
    [PLAN_INDEX] = {sizeof(plan_options), offsetof(plan_options, run)},
    [BENCH_ATTENTION_INDEX] = {sizeof(bench_options), offsetof(bench_options, run)},
    [BENCH_STEP_INDEX] = {sizeof(bench_options), offsetof(bench_options, run)},
    [BENCH_EXCHANGE_INDEX] = {sizeof(bench_options), offsetof(bench_options, run)},
    [BENCH_CEILING_INDEX] = {sizeof(bench_options), offsetof(bench_options, run)},
    [EVAL_INDEX] = {sizeof(use_options), offsetof(use_options, run)},
    [GENERATE_INDEX] = {sizeof(generate_options), offsetof(generate_options, use.run)},
    [PREPARE_INDEX] = {sizeof(prepare_options), 0},
    [TOKENIZE_INDEX] = {sizeof(tokenize_options), 0},
    [REPORT_INDEX] = {sizeof(report_options), 0},
    [DOCTOR_INDEX] = {sizeof(doctor_options), 0},
    [CHECKPOINT_INDEX] = {sizeof(checkpoint_options), 0},
    [HELP_INDEX] = {sizeof(options), 0},
    [MAN_INDEX] = {sizeof(options), 0},
    [COMPLETION_INDEX] = {sizeof(options), 0},
    [LAUNCH_INDEX] = {sizeof(launch_options), 0},
    [EXPORT_INDEX] = {sizeof(export_options), 0}};

/* Holds the names that the table makes from the name of a setting. */
typedef struct setting_words {
  char key[64], member[80];
} setting_words;

static option_info table[MAX_OPTIONS];
static setting_words words[MAX_OPTIONS];
const option_info *const option_table = table;
int num_run_options, num_options;

static int index_of(command cmd) { return __builtin_ctz(cmd); }

const option_place *option_place_of(option_id id, command cmd) {
  return &table[id].places[index_of(cmd)];
}

size_t options_size(command cmd) { return stores[index_of(cmd)].size; }

void options_set_rest(options *o) {
  size_t offset = stores[index_of(o->command)].run;
  if (offset) {
    run_options *run = (run_options *)((char *)o + offset);
    uly_train_config_default(&run->config, sizeof run->config);
    uly_mesh_desc_default(&run->mesh, sizeof run->mesh);
  }
  if (o->command == PREPARE) ((prepare_options *)o)->prepare.size = sizeof(uly_prepare_config);
  if (o->command == EXPORT) ((export_options *)o)->export.size = sizeof(uly_export_config);
  if (o->command == GENERATE) ((generate_options *)o)->sampling.size = sizeof(uly_sampling);
}

uly_setting_value option_load(const option_place *place, const void *from) {
  const char *at = (const char *)from + place->offset;
  if (place->size == sizeof(bool)) return (uly_setting_value){.integer = *(const bool *)at};
  if (place->size == sizeof(int))
    return (uly_setting_value){.integer = (uint64_t)(int64_t) * (const int *)at};
  uly_setting_value value;
  memcpy(&value, at, sizeof value);
  return value;
}

/* Returns the commands that know a setting: a benchmark of the step knows what a run and its plan
 * do. */
static unsigned commands_of(const uly_setting *s) {
  const unsigned step = ULY_USE_TRAINING | ULY_USE_PLANNING;
  return (s->uses & ULY_USE_TRAINING ? TRAIN : 0U) | (s->uses & ULY_USE_PLANNING ? PLAN : 0U) |
         (s->uses & ULY_USE_EVALUATION ? EVAL : 0U) |
         (s->uses & ULY_USE_GENERATION ? GENERATE : 0U) |
         ((s->uses & step) == step ? BENCH_STEP : 0U);
}

/* Adds to what is in `info`: each place is known, unless it is one of a setting. */
static void add_option(option_info info) {
  assert(num_options < MAX_OPTIONS);
  for (int c = 0; c < NUM_SINGLE_COMMANDS; c++)
    if (info.places[c].member) info.commands |= 1U << c;
  if (info.section < NUM_FILE_SECTIONS) num_run_options++;
  table[num_options++] = info;
}

/* Adds a setting. Every command with a configuration of a run stores it there, also one that knows
 * no flag for it but may read it in a file. */
static void add_setting(const uly_setting *s, const option_info *row) {
  setting_words *own = &words[num_options];
  const setting_form *form = forms;
  while (form->name && strcmp(form->name, s->name) != 0) form++;
  snprintf(own->member, sizeof own->member, "config.%s", s->name);
  snprintf(own->key, sizeof own->key, "%s", form->key ? form->key : s->name);
  for (char *c = own->key; *c; c++)
    if (*c == '.') *c = '_';
  option_info info = {.section = row->section,
                      .key = own->key,
                      .kind = (option_kind)s->type,
                      .rules = *s,
                      .prefix = form->prefix,
                      .commands = commands_of(s) | form->also | row->commands,
                      .help = form->help ? form->help : s->help};
  if (form->placeholder) info.rules.placeholder = form->placeholder;
  if (info.kind == KIND_TEXT) info.rules.max.integer = PATH_MAX - 1;
  memcpy(info.places, form->places, sizeof info.places);
  memcpy(info.meanings, form->meanings, sizeof info.meanings);
  add_option(info);
  option_info *added = &table[num_options - 1];
  added->commands &= ~form->without;
  for (int c = 0; c < NUM_SINGLE_COMMANDS; c++)
    if (stores[c].run)
      added->places[c] = (option_place){
          own->member, stores[c].run + offsetof(run_options, config) + s->offset, s->bytes};
}

/* Returns the option that is the setting, or -1 if there is none yet. */
static option_id find_setting(const char *name) {
  option_id id = num_options - 1;
  while (id >= 0 && (!table[id].rules.name || strcmp(table[id].rules.name, name) != 0)) id--;
  return id;
}

/* Adds the settings that stand at a place of the table. */
static void add_settings(const option_info *row) {
  size_t num;
  const uly_setting *settings = uly_settings(&num);
  for (size_t i = 0; i < num; i++) {
    const uly_setting *s = &settings[i];
    if (!s->topic || strcmp(s->topic, section_table[row->section].key) != 0) continue;
    if (find_setting(s->name) >= 0) continue;
    add_setting(s, row);
    if (row->rules.name && strcmp(row->rules.name, s->name) == 0) return;
  }
}

/* Takes the defaults from a struct of the library, which is `part` of the options of the
 * command. */
static void take_defaults(command cmd, const char *part, const void *defaults) {
  for (option_id id = 0; id < num_options; id++) {
    const option_place *place = option_place_of(id, cmd);
    if (place->member && strncmp(place->member, part, strlen(part)) == 0)
      table[id].rules.initial = option_load(place, defaults);
  }
}

/* The table is made before main, since everything that reads the command line reads it. */
__attribute__((constructor)) static void make_table(void) {
  prepare_options prepared = {.base = {0}};
  generate_options generated = {.max_tokens = 0};
  export_options exported = {.base = {0}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    if (rows[i].key)
      add_option(rows[i]);
    else
      add_settings(&rows[i]);
  uly_prepare_config_default(&prepared.prepare, sizeof prepared.prepare);
  uly_sampling_default(&generated.sampling, sizeof generated.sampling);
  uly_export_config_default(&exported.export, sizeof exported.export);
  take_defaults(PREPARE, "prepare.", &prepared);
  take_defaults(EXPORT, "export.shard_bytes", &exported);
  take_defaults(GENERATE, "sampling.", &generated);
  for (option_id id = 0; id < num_options; id++)
    table[id].needs = table[id].rules.needs ? find_setting(table[id].rules.needs) : -1;
}

option_id option_named(const char *key) {
  option_id id = 0;
  while (strcmp(table[id].key, key) != 0) {
    id++;
    assert(id < num_options);
  }
  return id;
}

option_id option_next(option_id id, unsigned commands, section_id section) {
  do id++;
  while (id < num_options && (!(table[id].commands & commands) ||
                              (section != NUM_SECTIONS && table[id].section != section)));
  return id;
}
