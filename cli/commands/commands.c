/* The table of commands. */
#include "commands/commands.h"

#include <stdio.h>
#include <string.h>

/* The words of the first argument: {word, bits or 0, what it does}. */
#define WORDS(...)         \
  (const command_word[]) { \
    __VA_ARGS__, { 0 }     \
  }

/* From this table come `ulysses help`, the help of each command, the man page, the completion for
 * bash, and what main.c calls. */
const command_info command_table[NUM_COMMANDS] = {
    [COMMAND_train] =
        {.name = "train",
         .bits = TRAIN,
         .about = "train a model",
         .uses_mpi = true,
         .usage = "--data PATH [OPTIONS]",
         .details =
             "Trains a transformer on long sequences, spread over the ranks that mpirun starts.",
         .examples = "mpirun -n 4 ulysses train --data book.txt --seq-len 16k --out run\n"},
    [COMMAND_prepare] =
        {.name = "prepare",
         .bits = PREPARE,
         .about = "turn text into token shards",
         .usage = "[OPTIONS] FILE|DIR... --out DIR",
         .details =
             "Turns text into shards for train: the tokens are those of --tokenizer; without it, "
             "each byte is a token. One more token ends each document. Folders are read with "
             "their subfolders, in the order of names; names that begin with a dot are left out. "
             "The shards go to DIR/train and, with --held-out, to DIR/eval too, and the files of "
             "the tokenizer to DIR. This needs no MPI, and hardly any memory.",
         .examples = "ulysses prepare books --out data --held-out 0.05\n"
                     "ulysses prepare books --tokenizer Qwen3-0.6B --out data\n"
                     "ulysses prepare --documents jsonl web.jsonl --out data\n",
         .metavar = "FILE|DIR",
         .min_args = 1,
         .max_args = INT_MAX},
    [COMMAND_tokenize] =
        {.name = "tokenize",
         .bits = TOKENIZE,
         .about = "show the tokens of a text, or the text of tokens",
         .usage = "--tokenizer FILE|DIR [OPTIONS]",
         .details =
             "Prints the number and the name of each token of a text, which comes from --text, "
             "from --file or from standard input, and how many bytes a token stands for on "
             "average. Spaces, control characters and parts of characters are made visible. As in "
             "transformers, names of special tokens become these tokens, and the tokenizer adds "
             "the tokens that it puts around a text. This needs no MPI.",
         .examples = "ulysses tokenize --tokenizer Qwen3-0.6B --text 'Sing, O goddess'\n"
                     "ulysses tokenize --tokenizer Qwen3-0.6B --ids <prompt.txt\n"
                     "ulysses tokenize --tokenizer Qwen3-0.6B --decode 12,5,7\n"},
    [COMMAND_launch] =
        {.name = "launch",
         .bits = LAUNCH,
         .about = "start the ranks of a command on this machine",
         .usage = "[--ranks N] COMMAND [OPTIONS]",
         .details =
             "Starts the command with the mpirun of the MPI that this program was built with (or "
             "the one that MPIRUN names), and sets it up so that ranks are not bound to single "
             "cores and may outnumber the cores. On Ctrl-C or TERM, the ranks finish the current "
             "step, save, and end with exit code 75; a second Ctrl-C or TERM ends them at once. On "
             "several machines, start the program itself with mpirun or srun.",
         .examples = "ulysses launch --ranks 2 train --data book.txt --seq-len 8k --out run\n",
         .max_args = 0},
    [COMMAND_eval] =
        {.name = "eval",
         .bits = EVAL,
         .about = "evaluate a trained model on a file, overall and by position",
         .uses_mpi = true,
         .usage = "--checkpoint DIR --data PATH [OPTIONS]",
         .details = "Prints the mean loss and perplexity of a trained model on a file, and the "
                    "loss by position in the sequence, which falls as far as the model makes use "
                    "of its context. Attention works as in training: window, sparse, pack, seq_len "
                    "and dtype come from the checkpoint unless flags say otherwise.",
         .examples = "mpirun -n 4 ulysses eval --checkpoint run --data held_out.txt\n"},
    [COMMAND_generate] =
        {.name = "generate",
         .bits = GENERATE,
         .about = "continue a prompt with a trained model",
         .uses_mpi = true,
         .usage = "--checkpoint DIR --prompt TEXT [OPTIONS]",
         .details =
             "Draws one token after another from a trained model and prints them as they come; the "
             "speed goes to standard error. The text is the same on 1, 2, 4 or 8 ranks without "
             "--tp. It reads and prints text if the model's folder holds a tokenizer, if "
             "--tokenizer gives one, or if the vocabulary is that of bytes; otherwise, token "
             "numbers. As in transformers, names of special tokens in a prompt become these "
             "tokens, the tokenizer adds those that it puts around a text, and special tokens are "
             "not printed.",
         .examples = "ulysses generate --checkpoint run --prompt 'Once' --temperature 0.8\n"},
    [COMMAND_plan] =
        {.name = "plan",
         .bits = PLAN,
         .about = "print the memory and the communication of a run",
         .usage = "[OPTIONS]",
         .details =
             "Prints the memory and the communication of a training run, without running it.",
         .examples = "ulysses plan --seq-len 1m --sp 8 --dtype bf16\n"},
    [COMMAND_bench] =
        {.name = "bench",
         .bits = BENCH,
         .about = "measure attention, step, exchange or ceiling",
         .uses_mpi = true,
         .usage = "attention|step|exchange|ceiling [OPTIONS]",
         .details =
             "Measures the program and, alternating with it in the same run, the ceiling of the "
             "machine. Each line of output is a JSON object: what was run, the figure that was "
             "achieved, the ceiling, the ratio of their medians, and the spread of each: (largest "
             "- smallest) / median.\n\nNumbers and words may be given as lists, as in --dtype "
             "f32,bf16: each combination is measured, and the first list varies fastest.",
         .examples = "ulysses bench attention --seq-len 8k --head-dim 64,128 --dtype bf16\n"
                     "mpirun -n 2 ulysses bench step --model llama-4m --recompute none,full\n",
         .words = WORDS(
             {"attention", BENCH_ATTENTION,
              "attention on the heads of each rank, forward and backward, against matrix products "
              "of oneDNN (2048 x 2048)"},
             {"step", BENCH_STEP,
              "a training step on made-up data, against the same matrix products"},
             {"exchange", BENCH_EXCHANGE,
              "the all-to-all of Q, K, V and of O, against MPI_Alltoall"},
             {"ceiling", BENCH_CEILING, "the machine: matrix products, memory, MPI_Alltoall"}),
         .min_args = 1,
         .max_args = 1},
    [COMMAND_report] =
        {.name = "report",
         .bits = REPORT,
         .about = "make a page with plots of one or more runs",
         .usage = "RUN... [OPTIONS]",
         .details = "Makes an HTML file that a browser shows without a network. It has the loss, "
                    "throughput, memory, exchanged bytes and evaluation by position of all runs, "
                    "and the differences between their configurations. RUN is a run's folder "
                    "(train --out) or its metrics file (train --metrics); the run need not have "
                    "ended. gnuplot (package gnuplot-nox) draws the plots.",
         .examples = "ulysses report run-a run-b --out report.html\n",
         .metavar = "RUN",
         .min_args = 1,
         .max_args = INT_MAX},
    [COMMAND_doctor] =
        {.name = "doctor",
         .bits = DOCTOR,
         .about = "describe the machines, and check that they work together",
         .uses_mpi = true,
         .usage = "[--json]",
         .details =
             "Prints the hosts, MPI, CPUs, threads, memory and disks, what is wrong with them, and "
             "what to do about it. Then it exchanges values in a small and in a large message and "
             "compares them, and compares a small attention with its formula. Start it in the same "
             "way as train. Exit codes: 0 all is well, apart from warnings; 1 something failed.",
         .examples = "ulysses doctor\n"
                     "mpirun -n 4 ulysses doctor\n"},
    [COMMAND_checkpoint] =
        {.name = "checkpoint",
         .bits = CHECKPOINT,
         .about = "check a checkpoint, or show what is in it",
         .usage = "verify|show [OPTIONS] DIR",
         .details = "DIR is a checkpoint, or the folder of a run, which stands for its newest "
                    "checkpoint. This needs no MPI.",
         .examples = "ulysses checkpoint show run\n"
                     "ulysses checkpoint verify run/step-0000000500\n",
         .words = WORDS(
             {"verify", 0,
              "read the whole checkpoint, and check formats, shapes and the checksum of every "
              "tensor; exit codes: 0 undamaged, 3 damaged or not a checkpoint"},
             {"show", 0,
              "print its step, its model and a list of its tensors, without reading their values"}),
         .metavar = "DIR",
         .min_args = 2,
         .max_args = 2},
    [COMMAND_export] =
        {.name = "export",
         .bits = EXPORT,
         .about = "make a Hugging Face folder from a checkpoint",
         .usage = "[OPTIONS] CHECKPOINT --out DIR",
         .details =
             "Writes a folder that transformers, and programs that follow it, can read: "
             "config.json, the weights as safetensors, and the files of the tokenizer, if "
             "CHECKPOINT has them. CHECKPOINT is a checkpoint; the folder of a run, which stands "
             "for its newest checkpoint; or a Hugging Face folder, which is then converted. This "
             "needs no MPI, and hardly any memory.",
         .examples = "ulysses export run --out model --dtype bf16\n",
         .metavar = "CHECKPOINT",
         .min_args = 1,
         .max_args = 1},
    [COMMAND_completion] = {.name = "completion",
                            .bits = COMPLETION,
                            .about = "print a script that lets bash complete commands and options",
                            .usage = "bash",
                            .details = "Prints a script for bash. If the program is installed, the "
                                       "package bash-completion is enough.",
                            .examples = "source <(ulysses completion bash)\n",
                            .words = WORDS({"bash", 0, "the script to source"}),
                            .min_args = 1,
                            .max_args = 1},
    [COMMAND_man] = {.name = "man",
                     .bits = MAN,
                     .about = "print the manual page",
                     .details = "Prints ulysses(1) in roff, the language of man pages.",
                     .examples = "ulysses man | man -l -\n"},
    [COMMAND_help] = {.name = "help",
                      .bits = HELP,
                      .about = "print the options of a command",
                      .usage = "[COMMAND [TOPIC]]",
                      .details = "Prints all commands, or what one command does, with all of its "
                                 "options or those of one topic.",
                      .examples = "ulysses help train optimizer\n",
                      .metavar = "COMMAND",
                      .max_args = 2},
};

const named_text exit_codes[] = {
    {"0", "done"},
    {"1", "the machine: memory, MPI"},
    {"2", "usage or configuration"},
    {"3", "data, a checkpoint or a file"},
    {"4", "a loss or a gradient that is not finite"},
    {"75",
     "stopped by a signal (TERM, INT, HUP, USR1), or because its output lost its reader: the run "
     "is saved if --out is given, and can continue"},
    {NULL, NULL}};

enum command_id command_find(const char *name) {
  enum command_id id = 0;
  while (id < NUM_COMMANDS && strcmp(command_table[id].name, name) != 0) id++;
  return id;
}

const command_info *command_of(command cmd) {
  enum command_id id = 0;
  while (id < NUM_COMMANDS - 1 && !(command_table[id].bits & cmd)) id++;
  return &command_table[id];
}

const char *command_name(command cmd, char buffer[COMMAND_NAME]) {
  const command_info *info = command_of(cmd);
  snprintf(buffer, COMMAND_NAME, "%s", info->name);
  for (const command_word *word = info->words; word && word->name; word++)
    if (word->bits == cmd) snprintf(buffer, COMMAND_NAME, "%s %s", info->name, word->name);
  return buffer;
}

const char *command_names(unsigned bits, const char *quote, char buffer[COMMAND_NAMES]) {
  int used = snprintf(buffer, COMMAND_NAMES, "%s", "");
  for (; bits && used < COMMAND_NAMES; bits &= bits - 1) {
    char name[COMMAND_NAME];
    used += snprintf(buffer + used, COMMAND_NAMES - (size_t)used, "%s%s%s%s", used > 0 ? ", " : "",
                     quote, command_name((command)(bits & (0 - bits)), name), quote);
  }
  return buffer;
}

void command_offer(suggestion *s) {
  for (enum command_id id = 0; id < NUM_COMMANDS; id++) suggest_offer(s, command_table[id].name);
}
