/* Every command, once. From this table come `ulysses help`, the help of each command, the man page,
 * the completion for bash, and what main.c calls.
 *
 *   X(name, bits, ...)
 *
 * name      the name on the command line; the function command_<name> runs it bits      of enum
 * command, with which the rows of options_table.h say which commands know an option ...
 * members of command_info (commands.h), as designated initializers */
#ifndef ULYSSES_CLI_COMMANDS_TABLE_H
#define ULYSSES_CLI_COMMANDS_TABLE_H

/* A command whose first argument is one of some words: {word, bits or 0, what it does}. */
#define WORDS(...)                  \
  .words = (const command_word[]) { \
    __VA_ARGS__, { 0 }              \
  }

#define COMMANDS(X)                                                                                \
  X(train, TRAIN, .about = "train a model", .uses_mpi = true, .usage = "--data PATH [OPTIONS]",    \
    .details =                                                                                     \
        "Trains a transformer on long sequences, spread over the ranks that mpirun "               \
        "starts.",                                                                                 \
    .examples = "mpirun -n 4 ulysses train --data book.txt --seq-len 16k --out run\n")             \
  X(prepare, PREPARE, .about = "turn text into token shards",                                      \
    .usage = "[OPTIONS] FILE|DIR... --out DIR",                                                    \
    .details =                                                                                     \
        "Turns text into shards for train: each byte is a token, and one more ends each "          \
        "document. "                                                                               \
        "Folders are read with their subfolders, in the order of names; names that begin with a "  \
        "dot are left out. The shards are in DIR/train, and with --held-out in DIR/eval too. "     \
        "No MPI is needed, and hardly any memory.",                                                \
    .examples =                                                                                    \
        "ulysses prepare books --out data --held-out 0.05\n"                                       \
        "ulysses prepare --documents jsonl web.jsonl --out data\n",                                \
    .metavar = "FILE|DIR", .min_args = 1, .max_args = INT_MAX)                                     \
  X(launch, LAUNCH, .about = "start ranks of a command on this machine",                           \
    .usage = "[--ranks N] COMMAND [OPTIONS]",                                                      \
    .details =                                                                                     \
        "Starts the command with the mpirun of the MPI that this program was built with (or the "  \
        "one in MPIRUN), and sets that up: ranks are not bound to single cores, and more of them " \
        "than cores are allowed. Ctrl-C, or TERM, has the ranks save after the step that is "      \
        "under "                                                                                   \
        "way and end with exit code 75; a second one ends them at once. On several machines, "     \
        "mpirun or srun starts the program itself.",                                               \
    .examples = "ulysses launch --ranks 2 train --data book.txt --seq-len 8k --out run\n",         \
    .max_args = 0)                                                                                 \
  X(eval, EVAL, .about = "evaluate a trained model on a file, also by position", .uses_mpi = true, \
    .usage = "--checkpoint DIR --data PATH [OPTIONS]",                                             \
    .details =                                                                                     \
        "Prints the mean loss and perplexity of a trained model on a file, and the loss by "       \
        "position in "                                                                             \
        "the sequence, which falls as far as the model makes use of its context. It attends as "   \
        "the "                                                                                     \
        "checkpoint was trained: window, sparse, pack, seq_len and dtype come from it unless "     \
        "flags say otherwise.",                                                                    \
    .examples = "mpirun -n 4 ulysses eval --checkpoint run --data held_out.txt\n")                 \
  X(generate, GENERATE, .about = "continue a prompt with a trained model", .uses_mpi = true,       \
    .usage = "--checkpoint DIR --prompt TEXT [OPTIONS]",                                           \
    .details =                                                                                     \
        "Draws token after token from a trained model, and prints them as they come; the speed "   \
        "goes to "                                                                                 \
        "standard error. The text is the same on 1, 2, 4 or 8 ranks. With a vocabulary of bytes, " \
        "text is read and printed; otherwise, token numbers.",                                     \
    .examples = "ulysses generate --checkpoint run --prompt 'Once' --temperature 0.8\n")           \
  X(plan, PLAN, .about = "print the memory and the communication of a run", .usage = "[OPTIONS]",  \
    .details = "Prints the memory and the communication of a training run, without running it.",   \
    .examples = "ulysses plan --seq-len 1m --sp 8 --dtype bf16\n")                                 \
  X(bench, BENCH, .about = "measure attention, step, exchange or ceiling", .uses_mpi = true,       \
    .usage = "attention|step|exchange|ceiling [OPTIONS]",                                          \
    .details =                                                                                     \
        "Measures the program, and in turn with it, in the same run, the ceiling of "              \
        "the machine. Each line of output is a JSON object: what was run, the figure "             \
        "that was achieved, the ceiling, their ratio (of medians), and the spread of "             \
        "both: (largest - smallest) / median.\n\n"                                                 \
        "Numbers and words may be lists, as in --dtype f32,bf16: each combination is "             \
        "measured, and the first list varies fastest.",                                            \
    .examples =                                                                                    \
        "ulysses bench attention --seq-len 8k --head-dim 64,128 --dtype bf16\n"                    \
        "mpirun -n 2 ulysses bench step --model llama-4m --recompute none,full\n",                 \
    WORDS(                                                                                         \
        {"attention", BENCH_ATTENTION,                                                             \
         "attention on the heads of each rank, forward and backward, against matrix products "     \
         "of oneDNN (2048 x 2048)"},                                                               \
        {"step", BENCH_STEP, "a training step on made-up data, against the same"},                 \
        {"exchange", BENCH_EXCHANGE, "the all-to-all of Q, K, V and of O, against MPI_Alltoall"},  \
        {"ceiling", BENCH_CEILING, "the machine: matrix products, memory, MPI_Alltoall"}),         \
    .min_args = 1, .max_args = 1)                                                                  \
  X(report, REPORT, .about = "make a page with plots of one run or several",                       \
    .usage = "RUN... [OPTIONS]",                                                                   \
    .details =                                                                                     \
        "Makes an HTML file that a browser shows without a network: loss, throughput, memory, "    \
        "exchanged bytes and evaluation by position of all runs, and the differences between "     \
        "their "                                                                                   \
        "configurations. RUN is a run's folder (train --out), or its metrics (train "              \
        "--metrics), also of a run that is under way. gnuplot (package gnuplot-nox) draws the "    \
        "plots.",                                                                                  \
    .examples = "ulysses report run-a run-b --out report.html\n", .metavar = "RUN", .min_args = 1, \
    .max_args = INT_MAX)                                                                           \
  X(doctor, DOCTOR, .about = "print what the machines are, and whether they work together",        \
    .uses_mpi = true, .usage = "[--json]",                                                         \
    .details =                                                                                     \
        "Prints hosts, MPI, CPUs, threads, memory and disks, and what is wrong with them and "     \
        "what to do about it. Then values are exchanged in a small and in a large message and "    \
        "compared, and a small attention is compared with its formula. Start it in the way that "  \
        "train will be started. Exit codes: 0 all is well, except for warnings; 1 something "      \
        "fails.",                                                                                  \
    .examples = "ulysses doctor\nmpirun -n 4 ulysses doctor\n")                                    \
  X(checkpoint, CHECKPOINT, .about = "check a checkpoint, or show what is in it",                  \
    .usage = "verify|show [OPTIONS] DIR",                                                          \
    .details =                                                                                     \
        "DIR is a checkpoint, or the folder of a run for its newest checkpoint. "                  \
        "No MPI is needed.",                                                                       \
    .examples = "ulysses checkpoint show run\nulysses checkpoint verify run/step-0000000500\n",    \
    WORDS({"verify", 0,                                                                            \
           "read the checkpoint whole, and check formats, shapes and the checksum of every "       \
           "tensor; exit codes: 0 undamaged, 3 damaged or not a checkpoint"},                      \
          {"show", 0, "print its step, its model and its tensors, without reading those"}),        \
    .metavar = "DIR", .min_args = 2, .max_args = 2)                                                \
  X(completion, COMPLETION,                                                                        \
    .about = "print a script with which bash completes commands and options", .usage = "bash",     \
    .details =                                                                                     \
        "Prints a script for bash. With an installed program, the package bash-completion "        \
        "is enough.",                                                                              \
    .examples = "source <(ulysses completion bash)\n",                                             \
    WORDS({"bash", 0, "the script to be sourced"}), .min_args = 1, .max_args = 1)                  \
  X(man, MAN, .about = "print the manual page",                                                    \
    .details = "Prints ulysses(1) in roff, the language of man pages.",                            \
    .examples = "ulysses man | man -l -\n")                                                        \
  X(help, HELP, .about = "print the options of a command", .usage = "[COMMAND [TOPIC]]",           \
    .details =                                                                                     \
        "Prints all commands; or what a command does, with all of its options, or with "           \
        "those of one topic.",                                                                     \
    .examples = "ulysses help train optimizer\n", .metavar = "COMMAND", .max_args = 2)

#endif
