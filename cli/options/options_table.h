/* The table of options, for the functions that read it: what there is, what it is called, and what
 * it may be. */
#ifndef ULYSSES_CLI_OPTIONS_TABLE_H
#define ULYSSES_CLI_OPTIONS_TABLE_H

#include "options/options.h"

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
  T(files, "Files")         \
  T(measure, "Measuring")   \
  T(call, "This call")

/* SECTION_run, ...: indices of section_table; those of a configuration file come first. */
#define SECTION_ID(section, title) SECTION_##section,
typedef enum section_id {
  SECTIONS_OF_FILE(SECTION_ID) NUM_FILE_SECTIONS,
  SECTION_LAST_OF_FILE = NUM_FILE_SECTIONS - 1,
  SECTIONS_OF_CALL(SECTION_ID) NUM_SECTIONS
} section_id;
#undef SECTION_ID

typedef struct section_info {
  const char *key, *title;
} section_info;

extern const section_info section_table[NUM_SECTIONS];

/* The index of an option in option_table. */
typedef int option_id;

/* The types of the library's settings, and one more. */
typedef enum option_kind {
  KIND_TEXT = ULY_SETTING_TEXT,
  KIND_INTEGER = ULY_SETTING_INTEGER,
  KIND_BYTES = ULY_SETTING_BYTES,
  KIND_REAL = ULY_SETTING_REAL,
  KIND_CHOICE = ULY_SETTING_CHOICE,
  /* An int. --flag: true, --no-flag: false; in a file true or false. */
  KIND_BOOLEAN = ULY_SETTING_BOOLEAN,
  KIND_SWITCH /* a bool; takes no value */
} option_kind;

/* Where a command stores an option: a member of its struct, such as "run.config.seq_len". */
typedef struct option_place {
  const char *member; /* NULL: nowhere */
  size_t offset, size;
} option_place;

/* Describes what an option means to some commands, if the others take it otherwise. */
typedef struct option_meaning {
  unsigned commands; /* 0: none */
  const char *help;
  /* The default that their help shows; NULL: that of the option. */
  const char *initial;
} option_meaning;

enum { MAX_MEANINGS = 3 };

typedef struct option_info {
  section_id section;
  const char *key;
  option_kind kind;
  /* Limits, words, placeholder and default, as the library describes those of its settings. Texts:
   * max is the most bytes. */
  uly_setting rules;
  /* KIND_TEXT: what the value must begin with, which is not stored; NULL: nothing. */
  const char *prefix;
  option_place places[NUM_SINGLE_COMMANDS];
  unsigned commands; /* that know the flag */
  /* The help of a setting names other settings by their members; messages.h turns these into
   * flags. */
  const char *help;
  option_meaning meanings[MAX_MEANINGS];
  /* The option without which this one has no effect; -1: none. */
  option_id needs;
} option_info;

/* Every option; those of a run come first. The table is complete before main. */
extern const option_info *const option_table;
extern int num_run_options, num_options;

/* Returns where the command stores the option. */
const option_place *option_place_of(option_id id, command cmd);

/* Returns the size of the struct that holds the options of a command. */
size_t options_size(command cmd);

/* Sets the members of a cleared struct that are no options, such as the sizes of the library's
 * structs. */
void options_set_rest(options *o);

/* Returns what is stored at the place of a struct, in `integer`, in `real` or in `text`. In
 * `integer`, -1 is UINT64_MAX. */
uly_setting_value option_load(const option_place *place, const void *from);

/* Returns the option with this key, which must exist. */
option_id option_named(const char *key);

/* Returns the next option after `id` (-1: the first) that one of the commands knows, in this
 * section or, if that is NUM_SECTIONS, in any; returns num_options if there is none. */
option_id option_next(option_id id, unsigned commands, section_id section);

/* The size of a buffer for any flag, number or phrase about a value. */
enum { OPTION_BUFFER = 256 };

/* Writes the flag, such as "--seq-len". */
const char *option_flag(option_id id, char buffer[OPTION_BUFFER]);

/* Describes the range of KIND_INTEGER and KIND_REAL: "from 1 to 4096", "from 0 to below 1", "no
 * less than 0". */
const char *option_range(option_id id, char buffer[OPTION_BUFFER]);

/* Writes what a help text says after its sentence: " (from 1 to 4096)", or how a boolean is turned
 * off, or nothing. */
const char *option_limits(option_id id, char buffer[OPTION_BUFFER]);

/* Writes the words of KIND_CHOICE with something between them. */
const char *option_words(option_id id, const char *between, char buffer[OPTION_BUFFER]);

/* Describes what is allowed: "an integer from 1 to 4096", "one of f32, bf16". */
const char *option_allowed(option_id id, char buffer[OPTION_BUFFER]);

/* Writes the word that stands for the value: "FILE", "N", "BYTES", "X", "f32|bf16". Returns NULL if
 * the option takes no value. */
const char *option_placeholder(option_id id, char buffer[OPTION_BUFFER]);

/* Returns the meaning that an option has for a command with these bits (command_info.bits): its own
 * one, or the general one. eval and generate take what a checkpoint records from there. */
option_meaning option_meaning_for(option_id id, unsigned commands);

/* Returns a title such as "Optimization (optimizer)", or "Memory" if the key is the same word. */
const char *section_title(section_id id, char buffer[OPTION_BUFFER]);

/* --- Values (options.c). */

/* Interprets one value. `label` names the flag or key in the message. value is NULL for a switch,
 * and may be NULL for a boolean. A value that the command does not store is only checked. */
uly_status options_set(options *o, option_id id, const char *label, const char *value);

/* Returns the value as options_set reads it, in buffer or as the text itself. Returns NULL if the
 * text is not given, or if the command does not store the option. */
const char *options_get(const options *o, option_id id, char buffer[OPTION_BUFFER]);

/* Returns the default in the same way. */
const char *option_default(option_id id, char buffer[OPTION_BUFFER]);

/* --- Names on the command line (options_flags.c) and in files (options_keys.c). */

/* Returns whether this is a flag, of any command, whose value is the next argument. */
bool option_takes_next(const char *arg);

/* Writes the path of a key, such as "optimizer.lr". */
const char *option_path(option_id id, char buffer[OPTION_BUFFER]);

/* Find a section or an option of a configuration file by its name. They return NUM_FILE_SECTIONS or
 * num_run_options if there is none. */
section_id section_find(const char *name);
option_id option_find(section_id section, const char *key);

/* Says that the section has no key of this name, and where there is one or what was meant. `where`
 * is "--set", or file and line; key is NULL if the section is wrong. */
uly_status options_fail_key(const char *where, const char *section, const char *key);

#endif
