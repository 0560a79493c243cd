/* The commands. Each prints its own error, once for all ranks, and returns its exit code: that of
 * uly_status_exit_code, or EXIT_STOPPED. */
#ifndef ULYSSES_CLI_COMMANDS_H
#define ULYSSES_CLI_COMMANDS_H

#include <limits.h>
#include <stdio.h>

#include "commands_table.h"
#include "options.h"
#include "suggest.h"
#include "ulysses.h"

/* A training run was stopped by a signal and can go on where it was. EX_TEMPFAIL of sysexits.h: the
 * same command may succeed later. */
enum { EXIT_STOPPED = 75 };

/* command_train, ...; argc, argv: what follows the name of the command. */
#define DECLARE_COMMAND(name, ...) int command_##name(int argc, char *const *argv);
COMMANDS(DECLARE_COMMAND)
#undef DECLARE_COMMAND

/* COMMAND_train, ...: indices of command_table. */
#define COMMAND_ID(name, ...) COMMAND_##name,
enum command_id { COMMANDS(COMMAND_ID) NUM_COMMANDS };
#undef COMMAND_ID

typedef struct command_word {
  const char *name;
  unsigned bits; /* of a benchmark: a command of its own; else 0 */
  const char *about;
} command_word;

typedef struct command_info {
  const char *name;
  unsigned bits;
  bool uses_mpi;        /* all ranks agree on a failure before they end */
  const char *about;    /* a line; begins with a verb */
  const char *usage;    /* what follows the name; NULL: nothing */
  const char *details;  /* paragraphs, with an empty line between them */
  const char *examples; /* whole commands, one a line */
  const command_word
      *words;          /* what the first argument may be, ended by a NULL name; NULL: anything */
  const char *metavar; /* what stands for the other arguments, as in FILE; NULL: there are none */
  int min_args, max_args; /* arguments that are no flags; INT_MAX: any number */
} command_info;

extern const command_info command_table[NUM_COMMANDS];

/* Index of the command of that name, NUM_COMMANDS if there is none. */
enum command_id command_find(const char *name);

/* The row whose bits hold cmd. */
const command_info *command_of(command cmd);

/* "train", "bench attention", ...: of a single command. */
const char *command_name(command cmd, char buffer[OPTION_BUFFER]);

/* Whether the command, or one of its words, knows some option. */
bool command_has_options(const command_info *info);

/* Offers all names of commands. */
void command_offer(suggestion *s);

/* Whether o->args are what the command takes. ULY_ERR_CONFIG: o->error says what is wrong. */
uly_status command_check_args(options *o, const command_info *info);

/* --- Texts made of the tables: help.c, man.c, completion.c. */

typedef struct named_text {
  const char *name, *about;
} named_text;

/* Ended by a NULL name. */
extern const named_text exit_codes[];

void help_print_usage(FILE *file);

/* topic NULL: all of them. ULY_ERR_CONFIG, with last_failure: no such command or topic. */
uly_status help_print(FILE *file, const char *name, const char *topic);

void man_print(FILE *file);
void completion_print_bash(FILE *file);

#endif
