/* The commands. Each prints its own error, once for all ranks, and returns its exit code: that of
 * uly_status_exit_code, or EXIT_STOPPED. */
#ifndef ULYSSES_CLI_COMMANDS_H
#define ULYSSES_CLI_COMMANDS_H

#include <limits.h>
#include <stdio.h>

#include "commands/commands_table.h"
#include "common/suggest.h"
#include "options/options.h"
#include "ulysses.h"

/* A training run was stopped by a signal and can continue. The value is EX_TEMPFAIL of sysexits.h:
 * the same command may succeed later. */
enum { EXIT_STOPPED = 75 };

/* Declares command_train and so on; argc and argv are what follows the name of the command. */
#define DECLARE_COMMAND(name, ...) int command_##name(int argc, char *const *argv);
COMMANDS(DECLARE_COMMAND)
#undef DECLARE_COMMAND

/* COMMAND_train, ...: indices of command_table. */
#define COMMAND_ID(name, ...) COMMAND_##name,
enum command_id { COMMANDS(COMMAND_ID) NUM_COMMANDS };
#undef COMMAND_ID

typedef struct command_word {
  const char *name;
  /* The bit of a benchmark, which is a command of its own; 0 for other commands. */
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
  /* The words that the first argument may be, ending with a NULL name; NULL: any word. */
  const command_word *words;
  /* This word stands for the other arguments, such as FILE; NULL: there are none. */
  const char *metavar;
  /* Numbers of arguments that are not flags; INT_MAX: any number. */
  int min_args, max_args;
} command_info;

extern const command_info command_table[NUM_COMMANDS];

/* Returns the index of the command of that name, or NUM_COMMANDS if there is none. */
enum command_id command_find(const char *name);

/* Returns the row whose bits hold cmd. */
const command_info *command_of(command cmd);

/* Writes the name of a single command, such as "train" or "bench attention". */
const char *command_name(command cmd, char buffer[OPTION_BUFFER]);

/* Returns whether the command, or one of its words, has options. */
bool command_has_options(const command_info *info);

/* Offers all names of commands. */
void command_offer(suggestion *s);

/* Checks whether o->args are what the command takes. ULY_ERR_CONFIG: o->error says what is
 * wrong. */
uly_status command_check_args(options *o, const command_info *info);

/* --- Texts made from the tables: help.c, man.c, completion.c. */

typedef struct named_text {
  const char *name, *about;
} named_text;

/* Ends with a NULL name. */
extern const named_text exit_codes[];

void help_print_usage(FILE *file);

/* Prints the help of a command. topic NULL: all topics. ULY_ERR_CONFIG, with last_failure: there is
 * no such command or topic. */
uly_status help_print(FILE *file, const char *name, const char *topic);

void man_print(FILE *file);
void completion_print_bash(FILE *file);

#endif
