/* The options of the program. Most are settings of uly_train_config, which the library's table
 * (uly_settings) describes; the others have rows here, and so has the place where settings stand
 * among them. From both come the command-line flags, the keys of a configuration file, their checks,
 * the text of --help, the man page and the completion for bash.
 *
 *   X(section, key, value, member, commands, help)
 *
 * section   the topic of --help, and the section of a configuration file that holds the key
 * key       the key in that section; the flag is the same with dashes: seq_len, --seq-len. Flags
 *           have no section, so a key is unique among all sections
 * value     what is allowed: one of the VALUE_ macros of options.h
 * member    the member of struct options that stores the value. Defaults are what options_init
 *           stores there. Messages of the library name the setting by its member, as in
 *           config.seq_len, and messages.c puts the flag in its place
 * commands  the commands that know the flag: bits of enum command; ANY_RUN are those that describe
 *           a training run, TRAINED those that use what it trained. A configuration file may hold
 *           the keys of all commands, so that `plan` reads the file of a training run
 *
 *   S(section, last, commands)
 *
 * stands for all settings whose topic is the section, in their order; those after `last` (not NULL)
 * are left for the next S. `commands` know them beside those that follow from the uses of each. What
 * the program calls otherwise than the library is in SETTING_FORMS.
 *
 * A section is a row of SECTIONS_OF_FILE or SECTIONS_OF_CALL below, a macro OPTIONS_<section> with
 * its rows, and a line in OPTIONS_OF_RUN or OPTIONS_OF_CALL. */
#ifndef ULYSSES_CLI_OPTIONS_TABLE_H
#define ULYSSES_CLI_OPTIONS_TABLE_H

/* A limit for counts that only time limits. */
#define MANY 1000000000000
#define MAX_TOKENS 4294967296
#define MAX_RANKS 32768
#define MAX_REPEATS 1000

/* T(section, title): the sections of a configuration file, and those that only flags have. The
 * latter say how a call behaves, or what it measures, and are not part of a run's configuration. */
#define SECTIONS_OF_FILE(T)    \
  T(run, "Model and data")     \
  T(attention, "Attention")    \
  T(optimizer, "Optimization") \
  T(ranks, "Ranks")            \
  T(memory, "Memory")          \
  T(eval, "Evaluation")        \
  T(output, "Checkpoints and metrics")

#define SECTIONS_OF_CALL(T) \
  T(use, "Using a model")   \
  T(text, "Text")           \
  T(measure, "Measuring")   \
  T(call, "This call")

/* X(name, ...): what the program has for the setting instead of what follows from the library's
 * table: members of setting_form (options_table.c). */
#define SETTING_FORMS(X)                                                                         \
  X(model, .without = EVAL,                                                                      \
    .help = "a preset (listed below), or the path of a Hugging Face config.json")                \
  X(data, .also = EVAL)                                                                          \
  X(seq_len, .also = BENCH_ATTENTION | BENCH_EXCHANGE)                                           \
  X(pack, .without = BENCH_STEP)                                                                 \
  X(doc_end, .without = BENCH_STEP)                                                              \
  X(any_bytes, .also = PREPARE)                                                                  \
  X(seed, .also = PREPARE,                                                                       \
    .help = "of the initial weights, the data order, what is held out, and what generate draws") \
  X(sparse.pattern, .key = "sparse")                                                             \
  X(zero_stage, .key = "zero")                                                                   \
  X(threads, .also = BENCH)                                                                      \
  X(dtype, .also = BENCH_ATTENTION | BENCH_EXCHANGE)                                             \
  X(offload, .key = "offload_optimizer", .prefix = "disk:", .metavar = "disk:DIR")               \
  X(stash, .prefix = "disk:", .metavar = "disk:DIR")                                             \
  X(eval_data, .without = EVAL)                                                                  \
  X(eval_windows,                                                                                \
    .help = "most sequences that an evaluation reads; eval: all, unless this is given")          \
  X(new_data, .help =                                                                            \
                  "--resume: go on with data other than the checkpoint's, from their "           \
                  "beginning")

#define OPTIONS_run(X, S) S(run, NULL, 0)

#define OPTIONS_attention(X, S) S(attention, NULL, BENCH_ATTENTION)

#define OPTIONS_optimizer(X, S)                                                                    \
  S(optimizer, NULL, 0)                                                                            \
  X(optimizer, nonfinite, VALUE_CHOICE("stop", "skip", "rollback"), nonfinite, TRAIN,              \
    "after a step whose loss or gradient is not finite: end the run; or go on without an update; " \
    "or go back to the newest checkpoint in --out, and on with the data after those of the step")  \
  X(optimizer, nonfinite_limit, VALUE_INTEGER(1, MANY), nonfinite_limit, TRAIN,                    \
    "more such steps than this in a row end the run all the same")

#define OPTIONS_ranks(X, S)                                             \
  X(ranks, sp, VALUE_INTEGER(0, MAX_RANKS), mesh.sp, ANY_RUN | TRAINED, \
    "ranks that share one sequence; 0: all that --dp leaves (plan: 1)") \
  X(ranks, dp, VALUE_INTEGER(1, MAX_RANKS), mesh.dp, ANY_RUN | EVAL,    \
    "groups of ranks that work on different sequences")                 \
  S(ranks, NULL, 0)

#define OPTIONS_memory(X, S) S(memory, NULL, 0)

#define OPTIONS_eval(X, S)                                                    \
  S(eval, "eval_data", 0)                                                     \
  X(eval, eval_every, VALUE_INTEGER(0, MANY), eval_every, TRAIN,              \
    "steps between evaluations; 0: only at the end, if --eval-data is given") \
  S(eval, NULL, 0)

#define OPTIONS_output(X, S)                                                                      \
  X(output, out, VALUE_TEXT("PATH"), out, TRAIN | PREPARE | REPORT,                               \
    "train, prepare: folder for checkpoints or token shards, created if missing; report: "        \
    "the page, report.html unless given")                                                         \
  X(output, save_every, VALUE_INTEGER(0, MANY), save_every, TRAIN,                                \
    "steps between checkpoints; 0: only at the end; needs --out")                                 \
  X(output, keep_last, VALUE_INTEGER(0, MANY), keep_last, TRAIN,                                  \
    "checkpoints to keep in --out, the newest ones; 0: all")                                      \
  X(output, keep_every, VALUE_INTEGER(0, MANY), keep_every, TRAIN,                                \
    "also keep checkpoints at multiples of N steps; 0: no others; needs --keep-last")             \
  X(output, resume, VALUE_TEXT("DIR|auto"), resume, TRAIN,                                        \
    "continue from a checkpoint; auto: the newest in --out, or from the start if there is none")  \
  S(output, NULL, 0)                                                                              \
  X(output, metrics, VALUE_TEXT("FILE"), metrics, TRAIN,                                          \
    "file for one line of JSON per step, continued when the run is resumed; if not given, "       \
    "metrics.jsonl in --out")                                                                     \
  X(output, trace, VALUE_TEXT("FILE"), trace, TRAIN | BENCH_STEP,                                 \
    "write what every rank did and when, in the Trace Event format (Perfetto, chrome://tracing)") \
  X(output, log_every, VALUE_INTEGER(1, MANY), log_every, TRAIN,                                  \
    "steps between lines on standard output, if that is not a terminal")                          \
  X(output, progress, VALUE_CHOICE("auto", "live", "plain"), progress, TRAIN,                     \
    "one line that is written over and over, or plain lines; auto: live on a terminal")           \
  X(output, measure_peak, VALUE_BOOLEAN, measure_peak, TRAIN,                                     \
    "before the run, measure for a moment what matrix products reach on this machine; each step " \
    "shows its share of it")                                                                      \
  X(output, rank_logs, VALUE_TEXT("DIR"), rank_logs, TRAIN,                                       \
    "folder for a log of each rank: what that rank did in each step, and on which host")

#define OPTIONS_use(X, S)                                                                 \
  X(use, checkpoint, VALUE_TEXT("DIR"), checkpoint, TRAINED,                              \
    "a checkpoint, or the folder of a run for its newest one")                            \
  X(use, prompt, VALUE_LONG_TEXT("TEXT"), prompt, GENERATE, "text to continue")           \
  X(use, prompt_file, VALUE_TEXT("FILE"), prompt_file, GENERATE, "the same, in a file")   \
  X(use, prompt_tokens, VALUE_LONG_TEXT("N,N,..."), prompt_tokens, GENERATE,              \
    "the same, as token numbers, for vocabularies that are not bytes")                    \
  X(use, max_tokens, VALUE_INTEGER(1, MAX_TOKENS), max_tokens, GENERATE,                  \
    "tokens to generate; the end of the document ends it sooner")                         \
  X(use, temperature, VALUE_REAL(0, 1e6), sampling.temperature, GENERATE,                 \
    "logits are divided by it; 0: always the most likely token")                          \
  X(use, top_k, VALUE_INTEGER(0, MAX_TOKENS), sampling.top_k, GENERATE,                   \
    "draw only from the N most likely tokens; 0: from all")                               \
  X(use, top_p, VALUE_REAL(1e-9, 1), sampling.top_p, GENERATE,                            \
    "and of these, only from the fewest most likely that have this probability together") \
  X(use, forward_only, VALUE_BOOLEAN, config.forward_only, PLAN,                          \
    "plan an evaluation (ulysses eval) instead of training")

#define OPTIONS_text(X, S)                                                              \
  X(text, documents, VALUE_CHOICE("file", "line", "jsonl"), prepare.documents, PREPARE, \
    "what a document is: a file; a line; or a text in each line of JSON")               \
  X(text, text_key, VALUE_TEXT("KEY"), prepare.text_key, PREPARE,                       \
    "jsonl: the key of the text in each line's object")                                 \
  X(text, skip_bad, VALUE_BOOLEAN, prepare.skip_bad, PREPARE,                           \
    "jsonl: leave out and count lines that hold no text, instead of ending there")      \
  X(text, held_out, VALUE_REAL_BELOW(0, 1), prepare.held_out, PREPARE,                  \
    "share of the documents that is held out for evaluation, drawn by --seed")          \
  X(text, shard_tokens, VALUE_INTEGER(1, INT32_MAX), prepare.shard_tokens, PREPARE,     \
    "tokens of a shard; a document may continue in the next one")

#define OPTIONS_measure(X, S)                                                                      \
  X(measure, q_heads, VALUE_INTEGER(0, 65536), desc.num_q_heads, BENCH_ATTENTION | BENCH_EXCHANGE, \
    "query heads, over all ranks; 0: 2 for each rank")                                             \
  X(measure, kv_heads, VALUE_INTEGER(0, 65536), desc.num_kv_heads,                                 \
    BENCH_ATTENTION | BENCH_EXCHANGE,                                                              \
    "key/value heads, a divisor of --q-heads; 0: as many as query heads")                          \
  X(measure, head_dim, VALUE_INTEGER(1, 65536), desc.head_dim, BENCH_ATTENTION | BENCH_EXCHANGE,   \
    "elements of a head")                                                                          \
  X(measure, mask, VALUE_CHOICE("full", "causal"), mask.kind, BENCH_ATTENTION,                     \
    "which keys a query sees")                                                                     \
  X(measure, array_bytes, VALUE_BYTES, array_bytes, BENCH_CEILING,                                 \
    "size of each array for measuring memory bandwidth, over all ranks of a node: several times "  \
    "that of the caches")                                                                          \
  X(measure, repeats, VALUE_INTEGER(1, MAX_REPEATS), repeats, BENCH,                               \
    "how often figure and ceiling are measured in turn, after one warm-up; medians are "           \
    "printed")

#define OPTIONS_call(X, S)                                                                      \
  X(call, config, VALUE_TEXT("FILE"), config_file, ANY_RUN,                                     \
    "read options from a YAML file, laid out as --print-config does; flags override it")        \
  X(call, set, VALUE_TEXT("SECTION.KEY=VALUE"), set, ANY_RUN,                                   \
    "give one key of such a file, as in --set optimizer.lr=1e-3; may be repeated, and a later " \
    "one overrides")                                                                            \
  X(call, print_config, VALUE_SWITCH, print_config, TRAIN | PLAN,                               \
    "print all options as such a file, and exit")                                               \
  X(call, dry_run, VALUE_SWITCH, dry_run, TRAIN,                                                \
    "make all checks of a start, print the configuration and the plan, and exit: nothing is "   \
    "allocated or written")                                                                     \
  X(call, ranks, VALUE_INTEGER(1, MAX_RANKS), ranks, LAUNCH,                                    \
    "processes to start, on this machine")                                                      \
  X(call, json, VALUE_SWITCH, json, PLAN | TRAINED | DOCTOR | CHECKPOINT,                       \
    "print the output as JSON")                                                                 \
  X(call, tensors, VALUE_SWITCH, tensors, CHECKPOINT, "show: list every tensor, of each block")

#define OPTIONS_OF_RUN(X, S)                                                            \
  OPTIONS_run(X, S) OPTIONS_attention(X, S) OPTIONS_optimizer(X, S) OPTIONS_ranks(X, S) \
      OPTIONS_memory(X, S) OPTIONS_eval(X, S) OPTIONS_output(X, S)

#define OPTIONS_OF_CALL(X, S) \
  OPTIONS_use(X, S) OPTIONS_text(X, S) OPTIONS_measure(X, S) OPTIONS_call(X, S)

#endif
