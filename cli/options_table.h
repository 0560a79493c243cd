/* Every option, once. From this table come the command-line flags, the keys of a configuration
 * file, their checks, the text of --help, the man page and the completion for bash.
 *
 *   X(section, key, value, member, commands, help)
 *
 * section   the topic of --help, and the section of a configuration file that holds the key
 * key       the key in that section; the flag is the same with dashes: seq_len, --seq-len. Flags
 *           have no section, so a key is unique among all sections
 * value     what is allowed: one of the VALUE_ macros of options.h
 * member    the member of struct options that stores the value. Defaults are what options_init
 *           stores there: for config.* those of uly_train_config_default(). Messages of the library
 *           name the setting by its member, as in config.seq_len, and messages.c puts the flag in
 *           its place
 * commands  the commands that know the flag: bits of enum command; ANY_RUN are those that describe
 *           a training run, TRAINED those that use what it trained. A configuration file may hold
 *           the keys of all commands, so that `plan` reads the file of a training run
 *
 * A section is a row of SECTIONS_OF_FILE or SECTIONS_OF_CALL below, a macro OPTIONS_<section> with
 * its rows, and a line in OPTIONS_OF_RUN or OPTIONS_OF_CALL. */
#ifndef ULYSSES_CLI_OPTIONS_TABLE_H
#define ULYSSES_CLI_OPTIONS_TABLE_H

/* A limit for counts that only time limits. */
#define MANY 1000000000000
#define MAX_STEPS 9999999999 /* names of checkpoints have ten digits */

/* Limits whose products fit into the integers that count them: an int64_t for tokens of a step, an
 * int for ranks. */
#define MAX_TOKENS 4294967296
#define MAX_SEQUENCES 32768
#define MAX_RANKS 32768
#define MAX_REPEATS 1000

/* Tokens are an int32_t. */
#define MAX_TOKEN 2147483647

/* S(section, title): the sections of a configuration file, and those that only flags have. The
 * latter say how a call behaves, or what it measures, and are not part of a run's configuration. */
#define SECTIONS_OF_FILE(S)    \
  S(run, "Model and data")     \
  S(attention, "Attention")    \
  S(optimizer, "Optimization") \
  S(ranks, "Ranks")            \
  S(memory, "Memory")          \
  S(eval, "Evaluation")        \
  S(output, "Checkpoints and metrics")

#define SECTIONS_OF_CALL(S) \
  S(use, "Using a model")   \
  S(text, "Text")           \
  S(measure, "Measuring")   \
  S(call, "This call")

#define OPTIONS_run(X)                                                                            \
  X(run, model, VALUE_TEXT("NAME|FILE"), config.model, ANY_RUN,                                   \
    "a preset (listed below), or the path of a Hugging Face config.json")                         \
  X(run, data, VALUE_TEXT("PATH"), config.data, TRAIN | EVAL,                                     \
    "file, or folder of files (of its own, not of folders in it): plain text (bytes) or llm.c "   \
    "token shards")                                                                               \
  X(run, seq_len, VALUE_INTEGER(1, MAX_TOKENS), config.seq_len,                                   \
    ANY_RUN | EVAL | BENCH_ATTENTION | BENCH_EXCHANGE, "tokens of one sequence")                  \
  X(run, pack, VALUE_BOOLEAN, config.pack, TRAIN | PLAN | TRAINED,                                \
    "a sequence holds several documents: attention and positions stay within each, and the loss " \
    "does not cross from one to the next")                                                        \
  X(run, doc_end, VALUE_INTEGER_OR("auto", 0, MAX_TOKEN), config.doc_end, TRAIN | PLAN | TRAINED, \
    "--pack: the token that ends each document; auto: what the files say")                        \
  X(run, any_bytes, VALUE_BOOLEAN, config.any_bytes, TRAIN | EVAL | PREPARE,                      \
    "read files as bytes, whatever is in them; without it, files that are evidently not plain "   \
    "text are refused: archives, compressed files, UTF-16, numbers without a shard's header")     \
  X(run, seed, VALUE_INTEGER(0, UINT64_MAX), config.seed, TRAIN | PREPARE | TRAINED,              \
    "of the initial weights, the data order, what is held out, and what generate draws")

#define OPTIONS_attention(X)                                                                      \
  X(attention, window, VALUE_INTEGER_OR("auto", 0, MAX_TOKENS), config.window,                    \
    ANY_RUN | TRAINED | BENCH_ATTENTION,                                                          \
    "a token attends to the last N tokens, itself among them; 0: to all before it; auto: as the " \
    "model's config.json says (the sliding_window of a mistral)")                                 \
  X(attention, sparse, VALUE_CHOICE("none", "longformer", "strided", "fixed", "bigbird"),         \
    config.sparse.pattern, ANY_RUN | TRAINED | BENCH_ATTENTION,                                   \
    "attend to some blocks of tokens only: longformer: nearby and global ones; bigbird: random "  \
    "ones too; strided: nearby ones and others at a regular stride; fixed: those of the own "     \
    "stretch and the last ones of each stretch")                                                  \
  X(attention, sparse_block, VALUE_INTEGER(1, MAX_TOKENS), config.sparse.block,                   \
    ANY_RUN | TRAINED | BENCH_ATTENTION, "tokens of a block")                                     \
  X(attention, sparse_local, VALUE_INTEGER(0, MAX_TOKENS), config.sparse.local,                   \
    ANY_RUN | TRAINED | BENCH_ATTENTION,                                                          \
    "nearby blocks, including the own one; strided: also the stride; fixed: blocks of a "         \
    "stretch; 0: 4, and for strided and fixed the square root of all blocks")                     \
  X(attention, sparse_global, VALUE_INTEGER(0, MAX_TOKENS), config.sparse.global,                 \
    ANY_RUN | TRAINED | BENCH_ATTENTION,                                                          \
    "longformer, bigbird: blocks at the start of the sequence that all tokens attend to; fixed: " \
    "blocks at the end of each stretch")                                                          \
  X(attention, sparse_random, VALUE_INTEGER(0, MAX_TOKENS), config.sparse.random,                 \
    ANY_RUN | TRAINED | BENCH_ATTENTION,                                                          \
    "bigbird: blocks that each block and head draws, from --seed")

#define OPTIONS_optimizer(X)                                                                       \
  X(optimizer, steps, VALUE_INTEGER(1, MAX_STEPS), config.steps, TRAIN,                            \
    "steps of the whole run; the schedule ends here")                                              \
  X(optimizer, batch, VALUE_INTEGER(0, MAX_SEQUENCES), config.batch, ANY_RUN,                      \
    "sequences per step, over all groups of ranks: a multiple of --dp; 0: one for each group")     \
  X(optimizer, lr, VALUE_REAL(0, 1e30), config.lr, TRAIN, "peak learning rate")                    \
  X(optimizer, min_lr_ratio, VALUE_REAL(0, 1), config.min_lr_ratio, TRAIN,                         \
    "final learning rate as a fraction of --lr")                                                   \
  X(optimizer, schedule, VALUE_CHOICE("cosine", "linear", "constant"), config.schedule, TRAIN,     \
    "the learning rate after the warm-up")                                                         \
  X(optimizer, warmup, VALUE_INTEGER(0, MANY), config.warmup, TRAIN, "steps of linear warm-up")    \
  X(optimizer, weight_decay, VALUE_REAL(0, DBL_MAX), config.weight_decay, TRAIN,                   \
    "decoupled weight decay (AdamW), on matrices only")                                            \
  X(optimizer, beta1, VALUE_REAL_BELOW(0, 1), config.beta1, TRAIN,                                 \
    "decay of the mean of the gradients")                                                          \
  X(optimizer, beta2, VALUE_REAL_BELOW(0, 1), config.beta2, TRAIN,                                 \
    "decay of the mean of their squares")                                                          \
  X(optimizer, eps, VALUE_REAL(1e-30, DBL_MAX), config.eps, TRAIN, "added to AdamW's denominator") \
  X(optimizer, clip, VALUE_REAL(0, DBL_MAX), config.clip, TRAIN,                                   \
    "largest global norm of the gradients; 0: no clipping")                                        \
  X(optimizer, nonfinite, VALUE_CHOICE("stop", "skip", "rollback"), nonfinite, TRAIN,              \
    "after a step whose loss or gradient is not finite: end the run; or go on without an update; " \
    "or go back to the newest checkpoint in --out, and on with the data after those of the step")  \
  X(optimizer, nonfinite_limit, VALUE_INTEGER(1, MANY), nonfinite_limit, TRAIN,                    \
    "more such steps than this in a row end the run all the same")

#define OPTIONS_ranks(X)                                                                          \
  X(ranks, sp, VALUE_INTEGER(0, MAX_RANKS), mesh.sp, ANY_RUN | TRAINED,                           \
    "ranks that share one sequence; 0: all that --dp leaves (plan: 1)")                           \
  X(ranks, dp, VALUE_INTEGER(1, MAX_RANKS), mesh.dp, ANY_RUN | EVAL,                              \
    "groups of ranks that work on different sequences")                                           \
  X(ranks, zero, VALUE_INTEGER(0, 3), config.zero_stage, ANY_RUN | TRAINED,                       \
    "ZeRO stage: what is divided among the ranks: 1 optimizer states, 2 also gradients, 3 also "  \
    "parameters")                                                                                 \
  X(ranks, reproducible, VALUE_BOOLEAN, config.reproducible, ANY_RUN | EVAL,                      \
    "the same bits on any number of ranks, mesh and ZeRO stage (powers of two)")                  \
  X(ranks, leaves, VALUE_INTEGER(1, 65536), config.leaves, ANY_RUN | EVAL,                        \
    "parts of a sequence that --reproducible sums one by one, and the most ranks that can share " \
    "a sequence; a power of two")                                                                 \
  X(ranks, rounds, VALUE_INTEGER(0, 65536), config.rounds, ANY_RUN | EVAL,                        \
    "parts of a rank's heads, each exchanged while attention works on the one before; 0: chosen " \
    "from the model")                                                                             \
  X(ranks, threads, VALUE_INTEGER(0, 4096), config.threads, ANY_RUN | TRAINED | BENCH,            \
    "OpenMP threads per rank; 0: OMP_NUM_THREADS, or the cores of the node divided by its ranks")

#define OPTIONS_memory(X)                                                                         \
  X(memory, dtype, VALUE_CHOICE("f32", "bf16"), config.dtype,                                     \
    ANY_RUN | TRAINED | BENCH_ATTENTION | BENCH_EXCHANGE,                                         \
    "storage of weights and activations; sums and optimizer states are f32")                      \
  X(memory, grad_dtype, VALUE_CHOICE("f32", "bf16"), config.grad_dtype, ANY_RUN,                  \
    "storage and reduction of gradients; bf16 rounds after each sequence of a step")              \
  X(memory, recompute, VALUE_CHOICE("none", "keep-attention", "full"), config.recompute, ANY_RUN, \
    "what backward computes again instead of keeping it")                                         \
  X(memory, memory_limit, VALUE_BYTES, config.memory_limit, ANY_RUN | TRAINED,                    \
    "memory that the arenas of a rank may take together; 0: no limit")                            \
  X(memory, offload_optimizer, VALUE_TEXT_AFTER("disk:", "DIR"), config.offload, ANY_RUN,         \
    "keep the optimizer states in a folder on local disk, not in memory")                         \
  X(memory, stash, VALUE_TEXT_AFTER("disk:", "DIR"), config.stash, ANY_RUN,                       \
    "keep what backward needs from forward in a folder on local disk, and in memory only that "   \
    "of two blocks")

#define OPTIONS_eval(X)                                                            \
  X(eval, eval_data, VALUE_TEXT("PATH"), config.eval_data, TRAIN,                  \
    "held-out data for evaluation, as for --data")                                 \
  X(eval, eval_every, VALUE_INTEGER(0, MANY), eval_every, TRAIN,                   \
    "steps between evaluations; 0: only at the end, if --eval-data is given")      \
  X(eval, eval_windows, VALUE_INTEGER(1, MANY), config.eval_windows, TRAIN | EVAL, \
    "most sequences that an evaluation reads; eval: all, unless this is given")

#define OPTIONS_output(X)                                                                         \
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
  X(output, new_data, VALUE_BOOLEAN, config.new_data, TRAIN,                                      \
    "--resume: go on with data other than the checkpoint's, from their beginning")                \
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

#define OPTIONS_use(X)                                                                    \
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

#define OPTIONS_text(X)                                                                 \
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

#define OPTIONS_measure(X)                                                                         \
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

#define OPTIONS_call(X)                                                                         \
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

#define OPTIONS_OF_RUN(X)                                                                     \
  OPTIONS_run(X) OPTIONS_attention(X) OPTIONS_optimizer(X) OPTIONS_ranks(X) OPTIONS_memory(X) \
      OPTIONS_eval(X) OPTIONS_output(X)

#define OPTIONS_OF_CALL(X) OPTIONS_use(X) OPTIONS_text(X) OPTIONS_measure(X) OPTIONS_call(X)

#endif
