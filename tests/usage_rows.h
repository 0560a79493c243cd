/* Rows about how the program is used: what somebody types, and what comes of it. test_usage.c runs
 * them; each usage_*.c holds tables of them. */
#ifndef ULY_USAGE_ROWS_H
#define ULY_USAGE_ROWS_H

#include <stddef.h>

enum { USAGE_MAX_ARGS = 32, USAGE_LONG = 100000, USAGE_NAME = 300, USAGE_PROMPT = 7000 };

typedef struct usage_row {
  int code; /* the exit code */
  /* A basic regular expression, as grep takes it, that the one message of a failure matches. NULL:
   * the table ends. */
  const char *text;
  /* The command and what follows it, ending with NULL. */
  const char *args[USAGE_MAX_ARGS];
  /* A file that is written for this row, and what is in it; NULL: none. */
  const char *file, *content;
} usage_row;

extern const usage_row rows_of_commands[], rows_of_foreign_flags[];         /* usage_flags.c */
extern const usage_row rows_of_values[], rows_of_texts[];                   /* usage_values.c */
extern const usage_row rows_of_configs[], rows_of_models[];                 /* usage_files.c */
extern const usage_row rows_of_needs[], rows_of_meshes[], rows_of_memory[]; /* usage_together.c */

/* A row that needs no file of its own. */
#define ROW(code, text, ...) \
  { code, text, {__VA_ARGS__}, NULL, NULL }
#define END_OF_ROWS \
  { 0 }

/* How rows begin: commands that work, on files that test_usage.c makes. */
#define BARE "train", "--model", "tiny.json", "--seq-len", "64", "--steps", "2", "--no-measure-peak"
#define GOOD BARE, "--data", "text.txt"
#define EVAL_RUN "eval", "--checkpoint", "run", "--data", "text.txt"
#define GENERATE_RUN "generate", "--checkpoint", "run"
#define GENERATE_A GENERATE_RUN, "--prompt", "a"
#define PLAN_TINY "plan", "--model", "tiny.json", "--seq-len", "64"
#define BENCH_SHORT "bench", "attention", "--seq-len", "64", "--head-dim", "16", "--repeats", "1"
#define PREPARE_TEXT "prepare", "text.txt", "--out", "data"

/* Texts that are too long to be written out. test_usage.c fills them. */
extern char long_text[USAGE_LONG + 1];     /* qqq... */
extern char long_name[USAGE_NAME + 1];     /* qqq..., for a path that is not */
extern char long_prompt[USAGE_PROMPT + 1]; /* qqq..., for a prompt that is not */
extern char long_digits[USAGE_LONG + 1];   /* 111... */
extern char long_list[USAGE_LONG + 1];     /* ,,,... */
extern char long_flag[USAGE_LONG + 3];     /* --qqq... */
extern char long_place[USAGE_LONG + 6];    /* disk:qqq... */
extern char long_nesting[5000 + 1];        /* [[[... */
extern char long_comment[(1 << 20) + 3];   /* # xxx... */

#endif
