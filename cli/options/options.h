/* Parses the options of a command from flags and a YAML file, checks them and prints them.
 *
 * Each command keeps its options in a struct of its own, train_options and so on, whose first
 * member is an `options`. The table knows which member of which struct holds an option, so a
 * function here takes a pointer to that first member, whichever the struct. The struct owns its
 * texts; a text that was not given is NULL. */
#ifndef ULYSSES_CLI_OPTIONS_H
#define ULYSSES_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "commands/commands.h"
#include "common/live_line.h"
#include "ulysses.h"

/* At least the number of options. */
enum { MAX_OPTIONS = 128 };

/* Where a value comes from, from the weakest on. */
typedef enum option_source {
  GIVEN_NOWHERE = 0, /* a default, or a checkpoint's own */
  GIVEN_IN_FILE,     /* and not the default */
  GIVEN_AS_FLAG,
  GIVEN_IN_LIST /* one of several, in turn */
} option_source;

typedef struct options {
  command command;
  const char *config_file;
  /* The last --set. What it sets is stored in its own member. */
  const char *set;
  bool print_config;
  /* A benchmark takes a list, "a,b,c", for each number and choice. Before options_parse,
   * `combination` says which of all combinations of their elements to take; after it,
   * `num_combinations` says how many there are. */
  int64_t combination, num_combinations;
  /* [num_args]: the arguments among the flags, of commands that take arguments; borrowed texts. */
  char **args;
  int num_args;
  option_source given[MAX_OPTIONS];
} options;

/* Describes a run, in the options of each command that makes, plans or measures one. */
typedef struct run_options {
  uly_train_config config;
  uly_mesh_desc mesh;
} run_options;

/* Fills in the defaults of the struct of a command, of which `o` is the first member. Frees
 * nothing. */
uly_status options_init(options *o, command cmd);
/* Frees the texts; does nothing with a cleared struct. */
void options_free(options *o);

/* Reads flags and arguments (options_flags.c; argv without the program and the command). They
 * override the --config file among them, which overrides the defaults. ULY_ERR_CONFIG: the message
 * names the flag or key, the value and what is allowed. */
uly_status options_parse(options *o, int argc, char *const *argv);

/* Checks the arguments that are not flags: o->args. */
uly_status options_check_args(const options *o, const command_info *info);

/* Refuses an option that was given but has no effect, because another option that the command knows
 * is missing. An option in the file counts as given unless a flag took that other option away. An
 * option that was not given, such as a setting of a checkpoint, gets its default back.
 * options_parse calls it, except for commands that look for a checkpoint first. */
uly_status options_check_needs(options *o);

/* Refuses ranks whose options differ, or whose texts in `more` do. Collective. */
uly_status options_compare(const options *o, uly_mesh *world, const char *more);

/* Refuses ranks whose texts differ, and frees the text, which is NULL if there was no memory for
 * it. The message calls it `what`. Collective. */
uly_status options_compare_text(uly_mesh *world, char *text, size_t length, const char *what);

/* --- Configuration files (options_yaml.c): sections of keys. */

uly_status options_read_yaml(options *o, const char *path);

/* Prints the options that the command knows so that options_read_yaml reads them back. */
uly_status options_write_yaml(const options *o, FILE *file);

/* --- The resolved configuration (options_save.c). */

/* Writes the configuration as a file that --config reads: under another name, synced, then renamed.
 * ULY_ERR_IO. */
uly_status options_save(const options *o, const char *path);

/* Prints the configuration for people, with a paragraph for each section. */
void options_print(FILE *file, const options *o);

#endif
