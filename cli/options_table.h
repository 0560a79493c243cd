/* Every option, once. The table yields the command-line flags, the keys of a configuration file,
 * their checks and the text of --help.
 *
 *   X(key, value, member, commands, topic, help)
 *
 * key       of the configuration file; the flag is the same with dashes: seq_len, --seq-len
 * value     what is allowed: one of the VALUE_ macros of options.h
 * member    of struct options, where it is stored. Defaults are what options_init stores there:
 *           for config.* those of uly_train_config_default()
 * commands  that know the flag: bits of enum command; ANY_RUN are those that describe a training run. A
 *           configuration file may hold the keys of all commands, so that `plan` reads the file of a
 *           training run
 */
#ifndef ULYSSES_CLI_OPTIONS_TABLE_H
#define ULYSSES_CLI_OPTIONS_TABLE_H

/* Counts that nothing but time limits. */
#define MANY 1000000000000

/* Limits whose products fit the integers that they are counted in: tokens of a step an int64_t,
 * ranks an int. */
#define MAX_TOKENS 4294967296
#define MAX_SEQUENCES 32768
#define MAX_RANKS 32768
#define MAX_REPEATS 1000

/* Flags that are keys of a configuration file too. */
#define OPTIONS_OF_RUN(X)                                                                          \
  X(model, VALUE_TEXT("NAME|FILE"), config.model, ANY_RUN, "Model and data",                       \
    "a preset (listed below), or the path of a Hugging Face config.json")                          \
  X(data, VALUE_TEXT("PATH"), config.data, TRAIN, "Model and data",                                \
    "file, or folder of files: plain text (bytes) or llm.c token shards")                          \
  X(eval_data, VALUE_TEXT("PATH"), config.eval_data, TRAIN, "Model and data",                      \
    "the same, held out for evaluation")                                                           \
  X(seq_len, VALUE_INTEGER(1, MAX_TOKENS), config.seq_len,                                         \
    ANY_RUN | BENCH_ATTENTION | BENCH_EXCHANGE, "Model and data", "tokens of one sequence")        \
  X(seed, VALUE_INTEGER(0, UINT64_MAX), config.seed, TRAIN, "Model and data",                      \
    "of the initial weights and the data order")                                                   \
  X(window, VALUE_INTEGER(0, MAX_TOKENS), config.window, ANY_RUN | BENCH_ATTENTION, "Attention",   \
    "a token attends to the last so many tokens, itself among them; 0: to all before it")          \
  X(sparse, VALUE_CHOICE("none", "longformer", "strided", "fixed", "bigbird"),                     \
    config.sparse.pattern, ANY_RUN | BENCH_ATTENTION, "Attention",                                 \
    "attend to some blocks of tokens only: longformer: nearby and global ones; bigbird: random "   \
    "ones too; strided: nearby ones and every so-many-th; fixed: the own stretch of blocks and "   \
    "the last ones of each")                                                                       \
  X(sparse_block, VALUE_INTEGER(1, MAX_TOKENS), config.sparse.block, ANY_RUN | BENCH_ATTENTION,    \
    "Attention", "tokens of a block")                                                              \
  X(sparse_local, VALUE_INTEGER(0, MAX_TOKENS), config.sparse.local, ANY_RUN | BENCH_ATTENTION,    \
    "Attention",                                                                                   \
    "nearby blocks, the own one among them; strided: also the stride; fixed: blocks of a "         \
    "stretch; 0: 4, and for strided and fixed the square root of all blocks")                      \
  X(sparse_global, VALUE_INTEGER(0, MAX_TOKENS), config.sparse.global, ANY_RUN | BENCH_ATTENTION,  \
    "Attention",                                                                                   \
    "longformer, bigbird: blocks at the start of the sequence that all tokens attend to; fixed: "  \
    "blocks at the end of each stretch")                                                           \
  X(sparse_random, VALUE_INTEGER(0, MAX_TOKENS), config.sparse.random, ANY_RUN | BENCH_ATTENTION,  \
    "Attention", "bigbird: blocks that each block and head draws, from --seed")                    \
  X(steps, VALUE_INTEGER(1, MANY), config.steps, TRAIN, "Optimization",                            \
    "steps of the whole run; the schedule ends here")                                              \
  X(batch, VALUE_INTEGER(0, MAX_SEQUENCES), config.batch, ANY_RUN, "Optimization",                 \
    "sequences per step, over all groups of ranks: a multiple of --dp; 0: one for each group")     \
  X(lr, VALUE_REAL(0, 1e30), config.lr, TRAIN, "Optimization", "peak learning rate")               \
  X(min_lr_ratio, VALUE_REAL(0, 1), config.min_lr_ratio, TRAIN, "Optimization",                    \
    "final learning rate as a part of --lr")                                                       \
  X(schedule, VALUE_CHOICE("cosine", "linear", "constant"), config.schedule, TRAIN,                \
    "Optimization", "of the learning rate after the warm-up")                                      \
  X(warmup, VALUE_INTEGER(0, MANY), config.warmup, TRAIN, "Optimization",                          \
    "steps of linear warm-up")                                                                     \
  X(weight_decay, VALUE_REAL(0, DBL_MAX), config.weight_decay, TRAIN, "Optimization",              \
    "decoupled (AdamW), on matrices only")                                                         \
  X(beta1, VALUE_REAL_BELOW(0, 1), config.beta1, TRAIN, "Optimization",                            \
    "decay of the mean of the gradients")                                                          \
  X(beta2, VALUE_REAL_BELOW(0, 1), config.beta2, TRAIN, "Optimization",                            \
    "decay of the mean of their squares")                                                          \
  X(eps, VALUE_REAL(1e-30, DBL_MAX), config.eps, TRAIN, "Optimization", "of AdamW's denominator")  \
  X(clip, VALUE_REAL(0, DBL_MAX), config.clip, TRAIN, "Optimization",                              \
    "largest global norm of the gradients; 0: no clipping")                                        \
  X(sp, VALUE_INTEGER(0, MAX_RANKS), sp, ANY_RUN, "Ranks and memory",                              \
    "ranks that share one sequence; 0: all that --dp leaves (plan: 1)")                            \
  X(dp, VALUE_INTEGER(1, MAX_RANKS), dp, ANY_RUN, "Ranks and memory",                              \
    "groups of ranks that work on different sequences")                                            \
  X(zero, VALUE_INTEGER(0, 3), config.zero_stage, ANY_RUN, "Ranks and memory",                     \
    "ZeRO stage: what ranks share out instead of each holding all: 1 optimizer states, "           \
    "2 gradients too, 3 parameters too")                                                           \
  X(dtype, VALUE_CHOICE("f32", "bf16"), config.dtype, ANY_RUN | BENCH_ATTENTION | BENCH_EXCHANGE,  \
    "Ranks and memory", "storage of weights and activations; sums and optimizer states are f32")   \
  X(grad_dtype, VALUE_CHOICE("f32", "bf16"), config.grad_dtype, ANY_RUN, "Ranks and memory",       \
    "storage and reduction of gradients; bf16 rounds after each sequence of a step")               \
  X(recompute, VALUE_CHOICE("none", "keep-attention", "full"), config.recompute, ANY_RUN,          \
    "Ranks and memory", "what backward computes again instead of keeping it")                      \
  X(reproducible, VALUE_BOOLEAN, config.reproducible, ANY_RUN, "Ranks and memory",                 \
    "the same bits on any number of ranks, mesh and ZeRO stage (powers of two)")                   \
  X(leaves, VALUE_INTEGER(1, 65536), config.leaves, ANY_RUN, "Ranks and memory",                   \
    "parts of a sequence that --reproducible sums one by one: at most so many ranks can share "    \
    "one; a power of two")                                                                         \
  X(rounds, VALUE_INTEGER(0, 65536), config.rounds, ANY_RUN, "Ranks and memory",                   \
    "parts of a rank's heads that are exchanged each while attention works on the one before; "    \
    "0: chosen from the model")                                                                    \
  X(memory_limit, VALUE_BYTES, config.memory_limit, ANY_RUN, "Ranks and memory",                   \
    "memory that the arenas of a rank may take together; 0: no limit")                             \
  X(offload_optimizer, VALUE_TEXT_AFTER("disk:", "DIR"), offload, ANY_RUN, "Ranks and memory",     \
    "keep the optimizer states in a folder on local disk, not in memory")                          \
  X(stash, VALUE_TEXT_AFTER("disk:", "DIR"), stash, ANY_RUN, "Ranks and memory",                   \
    "keep what backward needs of forward in a folder on local disk; in memory only what two "      \
    "blocks keep, however many there are")                                                         \
  X(threads, VALUE_INTEGER(0, 4096), config.threads, ANY_RUN | BENCH, "Ranks and memory",          \
    "OpenMP threads per rank; 0: OMP_NUM_THREADS, or the cores of the node divided by its ranks")  \
  X(eval_every, VALUE_INTEGER(0, MANY), eval_every, TRAIN, "Evaluation",                           \
    "steps between evaluations; 0: only at the end, if --eval-data is given")                      \
  X(eval_windows, VALUE_INTEGER(1, MANY), config.eval_windows, TRAIN, "Evaluation",                \
    "sequences that an evaluation reads at most")                                                  \
  X(out, VALUE_TEXT("DIR"), out, TRAIN, "Checkpoints and metrics",                                 \
    "folder for checkpoints, made if it does not exist")                                           \
  X(save_every, VALUE_INTEGER(0, MANY), save_every, TRAIN, "Checkpoints and metrics",              \
    "steps between checkpoints; 0: only at the end; needs --out")                                  \
  X(resume, VALUE_TEXT("DIR|auto"), resume, TRAIN, "Checkpoints and metrics",                      \
    "continue from a checkpoint; auto: the newest in --out, or from the start if there is none")   \
  X(nonfinite, VALUE_CHOICE("stop", "skip", "rollback"), nonfinite, TRAIN,                         \
    "Checkpoints and metrics",                                                                     \
    "after a step whose loss or gradient is not finite: end the run; or go on without an update; " \
    "or go back to the newest checkpoint in --out, and on with the data after those of the step")  \
  X(nonfinite_limit, VALUE_INTEGER(1, MANY), nonfinite_limit, TRAIN, "Checkpoints and metrics",    \
    "more such steps than this, without a good one between, end the run all the same")             \
  X(metrics, VALUE_TEXT("FILE"), metrics, TRAIN, "Checkpoints and metrics",                        \
    "one line of JSON per step; appended to when the run is resumed; if not given, "               \
    "metrics.jsonl in --out")                                                                      \
  X(trace, VALUE_TEXT("FILE"), trace, TRAIN | BENCH_STEP, "Checkpoints and metrics",               \
    "write what every rank did and when, in the Trace Event format (Perfetto, chrome://tracing)")  \
  X(log_every, VALUE_INTEGER(1, MANY), log_every, TRAIN, "Checkpoints and metrics",                \
    "steps between lines on standard output, where that is no terminal")                           \
  X(progress, VALUE_CHOICE("auto", "live", "plain"), progress, TRAIN, "Checkpoints and metrics",   \
    "one line that is written over and over, or plain lines; auto: live on a terminal")            \
  X(measure_peak, VALUE_BOOLEAN, measure_peak, TRAIN, "Checkpoints and metrics",                   \
    "before the run, measure for a moment what matrix products reach on this machine: steps "      \
    "tell their share of it")                                                                      \
  X(rank_logs, VALUE_TEXT("DIR"), rank_logs, TRAIN, "Checkpoints and metrics",                     \
    "folder for a log of each rank: what it alone did in each step, and on which host")

/* Flags that say how this call behaves, or what it measures: not part of a run's configuration. */
#define OPTIONS_OF_CALL(X)                                                                         \
  X(q_heads, VALUE_INTEGER(0, 65536), q_heads, BENCH_ATTENTION | BENCH_EXCHANGE, "Attention",      \
    "query heads, over all ranks; 0: 2 for each rank")                                             \
  X(kv_heads, VALUE_INTEGER(0, 65536), kv_heads, BENCH_ATTENTION | BENCH_EXCHANGE, "Attention",    \
    "key/value heads, a divisor of --q-heads; 0: as many as query heads")                          \
  X(head_dim, VALUE_INTEGER(1, 65536), head_dim, BENCH_ATTENTION | BENCH_EXCHANGE, "Attention",    \
    "elements of a head")                                                                          \
  X(mask, VALUE_CHOICE("full", "causal"), mask.kind, BENCH_ATTENTION, "Attention",                 \
    "which keys a query sees")                                                                     \
  X(array_bytes, VALUE_BYTES, array_bytes, BENCH_CEILING, "Measuring",                             \
    "of each array that the memory's bandwidth is measured with, over all ranks of a node: to be " \
    "several times the caches")                                                                    \
  X(repeats, VALUE_INTEGER(1, MAX_REPEATS), repeats, BENCH, "Measuring",                           \
    "times that figure and ceiling are measured in turn, after one to warm up; medians are "       \
    "printed")                                                                                     \
  X(config, VALUE_TEXT("FILE"), config_file, ANY_RUN, "This call",                                 \
    "read options from a YAML file: flags without dashes, with _ for -; flags override it")        \
  X(print_config, VALUE_SWITCH, print_config, TRAIN | PLAN, "This call",                           \
    "print all options as such a file, and end")                                                   \
  X(json, VALUE_SWITCH, json, PLAN, "This call", "print the plan as JSON")

#endif
