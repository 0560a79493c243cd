/* The commands: what each is called, what it is for, and which arguments it takes besides
 * options. */
#ifndef ULYSSES_CLI_COMMANDS_H
#define ULYSSES_CLI_COMMANDS_H

#include <limits.h>
#include <stdbool.h>

#include "common/suggest.h"

/* Lists everything that has options of its own, in the order in which texts list it. A benchmark,
 * such as `ulysses bench attention`, is a command of its own here. TRAIN and so on are bits;
 * TRAIN_INDEX and so on count them. */
/* clang-format off */
#define SINGLE_COMMANDS(X)                                                                      \
  X(TRAIN) X(PLAN) X(BENCH_ATTENTION) X(BENCH_STEP) X(BENCH_EXCHANGE) X(BENCH_CEILING) X(EVAL)  \
  X(GENERATE) X(PREPARE) X(REPORT) X(DOCTOR) X(CHECKPOINT) X(HELP) X(MAN) X(COMPLETION) X(LAUNCH) \
  X(EXPORT) X(TOKENIZE)

/* Lists the names of the commands, in the order of the help. */
#define COMMANDS(X)                                                                         \
  X(train) X(prepare) X(tokenize) X(launch) X(eval) X(generate) X(plan) X(bench) X(report)  \
  X(doctor) X(checkpoint) X(export) X(completion) X(man) X(help)
/* clang-format on */

#define INDEX(name) name##_INDEX,
enum { SINGLE_COMMANDS(INDEX) NUM_SINGLE_COMMANDS };
#undef INDEX

#define BIT(name) name = 1 << name##_INDEX,
typedef enum command {
  SINGLE_COMMANDS(BIT) BENCH = BENCH_ATTENTION | BENCH_STEP | BENCH_EXCHANGE | BENCH_CEILING,
  TRAINED = EVAL | GENERATE,
  ANY_RUN = TRAIN | PLAN | BENCH_STEP
} command;
#undef BIT

/* COMMAND_train, ...: indices of command_table. */
#define COMMAND_ID(name) COMMAND_##name,
enum command_id { COMMANDS(COMMAND_ID) NUM_COMMANDS };
#undef COMMAND_ID

/* Declares command_train and so on, which print their own errors, once for all ranks, and return
 * their exit codes. argc and argv are what follows the name of the command. */
#define DECLARE_COMMAND(name) int command_##name(int argc, char *const *argv);
COMMANDS(DECLARE_COMMAND)
#undef DECLARE_COMMAND

/* The exit code of a training run that was stopped by a signal and can continue. The value is
 * EX_TEMPFAIL of sysexits.h: the same command may succeed later. */
enum { EXIT_STOPPED = 75 };

typedef struct command_word {
  const char *name;
  /* The bit of a benchmark; 0 for words of other commands. */
  unsigned bits;
  const char *about;
} command_word;

typedef struct command_info {
  const char *name;
  unsigned bits;
  /* All ranks agree on a failure before they end. */
  bool uses_mpi;
  const char *about;    /* one line, beginning with a verb */
  const char *usage;    /* what follows the name; NULL: nothing */
  const char *details;  /* paragraphs, separated by empty lines */
  const char *examples; /* whole commands, one per line */
  /* The words that the first argument may be, ending with a NULL name; NULL if any word will do. */
  const command_word *words;
  /* The word that stands for the other arguments, such as FILE; NULL if there are none. */
  const char *metavar;
  /* How many arguments that are not flags there may be; INT_MAX if any number. */
  int min_args, max_args;
} command_info;

extern const command_info command_table[NUM_COMMANDS];

/* Returns the index of the command of that name, or NUM_COMMANDS if there is none. */
enum command_id command_find(const char *name);

/* Returns the row whose bits hold cmd. */
const command_info *command_of(command cmd);

/* Sizes of the buffers for the name of a single command, and for those of all. */
enum { COMMAND_NAME = 64, COMMAND_NAMES = 256 };

/* Writes the name of a single command, such as "train" or "bench attention". */
const char *command_name(command cmd, char buffer[COMMAND_NAME]);

/* Lists the names of several commands, each between quotes (none if that is ""), as in "'train',
 * 'bench step'". */
const char *command_names(unsigned bits, const char *quote, char buffer[COMMAND_NAMES]);

/* Offers the names of all commands as suggestions. */
void command_offer(suggestion *s);

typedef struct named_text {
  const char *name, *about;
} named_text;

/* The exit codes of the program; the list ends with a NULL name. */
extern const named_text exit_codes[];

#endif
