/* The options of the commands: parsed from flags and a YAML file, checked, printed. */
#ifndef ULYSSES_CLI_OPTIONS_H
#define ULYSSES_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "options_table.h"
#include "ulysses.h"

/* A benchmark is a command of its own here: `ulysses bench attention`. */
typedef enum command {
  TRAIN = 1,
  PLAN = 2,
  BENCH_ATTENTION = 4,
  BENCH_STEP = 8,
  BENCH_EXCHANGE = 16,
  BENCH_CEILING = 32,
  BENCH = BENCH_ATTENTION | BENCH_STEP | BENCH_EXCHANGE | BENCH_CEILING,
  ANY_RUN = TRAIN | PLAN | BENCH_STEP
} command;

/* What to do about a step whose loss or gradient is not finite; how progress is shown. */
typedef enum nonfinite_policy {
  NONFINITE_STOP = 0,
  NONFINITE_SKIP,
  NONFINITE_ROLLBACK
} nonfinite_policy;
typedef enum progress_kind { PROGRESS_AUTO = 0, PROGRESS_LIVE, PROGRESS_PLAIN } progress_kind;

/* Strings are owned; NULL where not given. */
typedef struct options {
  uly_train_config config;
  int dp, sp;
  int64_t eval_every, save_every, log_every;
  const char *offload, *stash; /* "disk:DIR"; those of config are their ends */
  const char *out, *resume, *metrics, *trace, *rank_logs;
  nonfinite_policy nonfinite;
  int64_t nonfinite_limit;
  progress_kind progress;
  int measure_peak;
  const char *config_file;
  bool print_config, json;
  int q_heads, kv_heads, head_dim;
  uly_mask mask;
  int64_t array_bytes, repeats;
  /* A benchmark takes a list, "a,b,c", for each number and choice. Before options_parse: which of all
   * combinations of their elements to take; after it: how many there are. */
  int64_t combination, num_combinations;
  char error[1024]; /* message of the last failure of a function below */
} options;

/* --- The table, for the functions that read it. */

typedef enum option_kind {
  KIND_TEXT,
  KIND_INTEGER,
  KIND_BYTES,
  KIND_REAL,
  KIND_CHOICE,  /* stored as the index of the word, which is the value of the library's enum */
  KIND_BOOLEAN, /* an int; --flag: true, --no-flag: false; in a file true or false */
  KIND_SWITCH   /* a bool; takes no value */
} option_kind;

typedef struct option_info {
  const char *key;
  option_kind kind;
  const char *metavar;        /* KIND_TEXT: what stands for the value in --help */
  const char *prefix;         /* KIND_TEXT: what the value must begin with; NULL: nothing */
  uint64_t min, max;          /* KIND_INTEGER and KIND_BYTES: both allowed */
  double real_min, real_max;  /* KIND_REAL; DBL_MAX: no upper limit */
  bool excludes_max;          /* KIND_REAL: the limit itself is not allowed */
  const char *const *choices; /* KIND_CHOICE: NULL-terminated */
  size_t offset, size;        /* in struct options; integers are 4 or 8 bytes */
  unsigned commands;
  const char *topic;
  const char *help;
} option_info;

#define VALUE_TEXT(metavar_) .kind = KIND_TEXT, .metavar = metavar_
#define VALUE_TEXT_AFTER(prefix_, metavar_) VALUE_TEXT(prefix_ metavar_), .prefix = prefix_
#define VALUE_INTEGER(min_, max_) .kind = KIND_INTEGER, .min = min_, .max = max_
#define VALUE_BYTES .kind = KIND_BYTES, .min = 0, .max = INT64_MAX
#define VALUE_REAL(min_, max_) .kind = KIND_REAL, .real_min = min_, .real_max = max_
#define VALUE_REAL_BELOW(min_, max_) VALUE_REAL(min_, max_), .excludes_max = true
#define VALUE_CHOICE(...) \
  .kind = KIND_CHOICE, .choices = (const char *const[]) { __VA_ARGS__, NULL }
#define VALUE_BOOLEAN .kind = KIND_BOOLEAN
#define VALUE_SWITCH .kind = KIND_SWITCH

/* OPTION_seq_len, ...: indices of option_table; those of a run come first. */
#define OPTION_ID(key, value, member, commands, topic, help) OPTION_##key,
enum option_id {
  OPTIONS_OF_RUN(OPTION_ID) NUM_RUN_OPTIONS,
  OPTION_LAST_OF_RUN = NUM_RUN_OPTIONS - 1,
  OPTIONS_OF_CALL(OPTION_ID) NUM_OPTIONS
};
#undef OPTION_ID

extern const option_info option_table[NUM_OPTIONS];

enum { OPTION_BUFFER = 256 }; /* holds any flag, number or phrase about a value */

/* "train", "plan", "bench attention", ...: of a single command. */
const char *command_name(command cmd);

/* "--seq-len" */
void option_flag(enum option_id id, char buffer[OPTION_BUFFER]);

/* KIND_INTEGER and KIND_REAL: "from 1 to 4096", "from 0 to below 1", "above 0". */
void option_range(enum option_id id, char buffer[OPTION_BUFFER]);

/* "an integer from 1 to 4096", "one of f32, bf16", ... */
void option_allowed(enum option_id id, char buffer[OPTION_BUFFER]);

/* --- Values. */

/* Fills in the defaults. Frees nothing: for a fresh struct. */
uly_status options_init(options *o);
void options_free(options *o);

/* Reads flags (options_flags.c: argv without the program and the command) over the --config file among them over
 * the defaults, and checks what must go together. ULY_ERR_CONFIG: o->error names the flag or key,
 * the value and what is allowed. */
uly_status options_parse(options *o, command cmd, int argc, char *const *argv);

/* Interprets one value; label names the flag or key in the message. value is NULL for a switch, and
 * may be for a boolean. */
uly_status options_set(options *o, enum option_id id, const char *label, const char *value);

/* The value as options_set reads it: in buffer, or the text itself. NULL: text not given. */
const char *options_get(const options *o, enum option_id id, char buffer[OPTION_BUFFER]);

/* Records o->error and returns status. */
uly_status options_fail(options *o, uly_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* --- YAML (options_yaml.c). */

uly_status options_read_yaml(options *o, const char *path);

/* Prints the options of the command so that options_read_yaml reads them back. */
uly_status options_write_yaml(options *o, command cmd, FILE *file);

/* --- Help (options_help.c). */

void options_print_help(FILE *file, command cmd);

#endif
