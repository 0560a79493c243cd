/* Tests what cannot work: commands, options, values, configuration files and models that do not go
 * together. Each row runs a command of the program in this process, as main.c would, on one rank,
 * and expects its exit code and the one message that it prints. bad_usage.sh tests what needs the
 * whole program, or several ranks. */
#include <fcntl.h>
#include <mpi.h>
#include <regex.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../cli/commands/commands.h"
#include "../cli/help/help.h"
#include "../cli/options/messages.h"
#include "testing.h"
#include "usage_rows.h"

static const char model[] =
    "{\"model_type\": \"llama\", \"hidden_size\": 32, \"intermediate_size\": 48, "
    "\"num_hidden_layers\": 1, \"num_attention_heads\": 4, \"num_key_value_heads\": 2, "
    "\"vocab_size\": %d, \"max_position_embeddings\": 4096}";

char long_text[USAGE_LONG + 1], long_name[USAGE_NAME + 1], long_prompt[USAGE_PROMPT + 1];
char long_digits[USAGE_LONG + 1], long_list[USAGE_LONG + 1];
char long_flag[USAGE_LONG + 3], long_place[USAGE_LONG + 6];
char long_nesting[5000 + 1], long_comment[(1 << 20) + 3];

/* ------------------------------------------------------------------------- commands */

#define COMMAND(name) [COMMAND_##name] = command_##name,
static int (*const run_command[NUM_COMMANDS])(int argc, char *const *argv) = {COMMANDS(COMMAND)};
#undef COMMAND

/* Runs a command, and returns its exit code. */
static int run(const char *const *args) {
  enum command_id id = command_find(args[0]);
  char *argv[USAGE_MAX_ARGS];
  int argc = 0;
  for (; args[argc + 1]; argc++) argv[argc] = (char *)(uintptr_t)args[argc + 1];
  argv[argc] = NULL;
  if (id < NUM_COMMANDS) return run_command[id](argc, argv);
  uly_status status = help_print(stdout, args[0], NULL);
  if (status != ULY_OK) print_last_failure();
  return uly_status_exit_code(status);
}

/* Lets a file take the place of a stream until restore is called. Returns what stood there. */
static int divert(FILE *stream, const char *path) {
  fflush(stream);
  int before = dup(fileno(stream)), fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  assert_true(before >= 0 && fd >= 0);
  assert_true(dup2(fd, fileno(stream)) >= 0);
  close(fd);
  return before;
}

static void restore(FILE *stream, int before) {
  fflush(stream);
  assert_true(dup2(before, fileno(stream)) >= 0);
  close(before);
}

/* Runs a command as `run` does. What it prints goes to the files out.log and err.log. */
static int run_quietly(const char *const *args) {
  int out = divert(stdout, "out.log"), err = divert(stderr, "err.log");
  int code = run(args);
  restore(stderr, err);
  restore(stdout, out);
  return code;
}

/* ------------------------------------------------------------------------- rows */

static bool matches(const char *text, const char *pattern) {
  regex_t compiled;
  if (regcomp(&compiled, pattern, REG_NOSUB) != 0) fail_msg("no regular expression: %s", pattern);
  bool is_match = regexec(&compiled, text, 0, NULL, 0) == 0;
  regfree(&compiled);
  return is_match;
}

/* The message of a failure that the last command has printed. */
static char message[8192];

/* Reads the message from err.log, and returns how many there are. */
static int read_message(void) {
  static const char begin[] = "ulysses: error: ";
  char line[sizeof message];
  int num_messages = 0;
  FILE *file = fopen("err.log", "r");
  assert_non_null(file);
  message[0] = '\0';
  while (fgets(line, sizeof line, file)) {
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, begin, strlen(begin)) != 0) continue;
    memcpy(message, line + strlen(begin), strlen(line + strlen(begin)) + 1);
    num_messages++;
  }
  fclose(file);
  return num_messages;
}

static void write_text(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_true(fputs(text, file) >= 0);
  assert_int_equal(fclose(file), 0);
}

/* Prints what a row runs; long arguments are cut. */
static void print_args(const char *const *args) {
  for (; *args; args++) print_error(" '%.60s'", *args);
}

/* Runs a row. Says what is wrong, and returns whether anything is. */
static bool is_wrong(const usage_row *row) {
  if (row->file) write_text(row->file, row->content);
  int code = run_quietly(row->args), num_messages = read_message();
  if (code == row->code && (code == 0 || (num_messages == 1 && matches(message, row->text))))
    return false;
  print_error("exit code %d (expected %d), %d messages (expected '%s'): %.1000s\n   ", code,
              row->code, num_messages, row->text, message);
  print_args(row->args);
  print_error("\n");
  return true;
}

/* Runs all rows of a table, so that one run shows all that is wrong. */
static void test_table(void **state) {
  int num_wrong = 0;
  for (const usage_row *row = *state; row->text; row++) num_wrong += is_wrong(row);
  assert_int_equal(num_wrong, 0);
}

/* ------------------------------------------------------------------------- what rows find there */

/* Fills a text of so many bytes: the beginning, then one character. */
static void fill(char *text, size_t size, const char *begin, char c) {
  memset(text, c, size - 1);
  memcpy(text, begin, strlen(begin));
  text[size - 1] = '\0';
}

static void fill_texts(void) {
#define FILL(text, begin, c) fill(text, sizeof(text), begin, c)
  FILL(long_text, "", 'q');
  FILL(long_name, "", 'q');
  FILL(long_prompt, "", 'q');
  FILL(long_digits, "", '1');
  FILL(long_list, "", ',');
  FILL(long_flag, "--", 'q');
  FILL(long_place, "disk:", 'q');
  FILL(long_nesting, "", '[');
  FILL(long_comment, "# ", 'x');
#undef FILL
}

static void write_model(const char *path, int vocab) {
  char text[512];
  snprintf(text, sizeof text, model, vocab);
  write_text(path, text);
}

/* Runs a command that must work. */
static void make(const char *const *args) {
  if (run_quietly(args) == 0) return;
  read_message();
  fail_msg("%s: %s", args[0], message);
}
#define MAKE(...) make((const char *const[]){__VA_ARGS__, NULL})

/* Makes a folder with data, models and a trained model of bytes and one of other tokens, and works
 * there. */
static int set_up(void **state) {
  static char text[3001];
  if (scratch_set_up(state) != 0 || chdir(scratch_path("")) != 0) return -1;
  fill_texts();
  fill(text, sizeof text, "", 'x');
  write_text("text.txt", text);
  write_model("tiny.json", 257);
  write_model("words.json", 300);
  if (mkfifo("pipe", 0600) != 0) return -1;
  /* Files of zeros, which take no room. */
  write_text("zeros.txt", "");
  write_text("huge.json", "");
  if (truncate("zeros.txt", 256 << 20) != 0 || truncate("huge.json", 17 << 20) != 0) return -1;
  MAKE(GOOD, "--out", "run");
  MAKE("prepare", "text.txt", "--out", "shards");
  MAKE(BARE, "--data", "shards/train", "--out", "words", "--model", "words.json");
  return 0;
}

static int tear_down(void **state) { return chdir("/") != 0 ? -1 : scratch_tear_down(state); }

int main(int argc, char **argv) {
#define TABLE(name) \
  { #name, test_table, NULL, NULL, (void *)(uintptr_t)(name) }
  const struct CMUnitTest tests[] = {
      TABLE(rows_of_commands), TABLE(rows_of_foreign_flags), TABLE(rows_of_values),
      TABLE(rows_of_texts),    TABLE(rows_of_configs),       TABLE(rows_of_models),
      TABLE(rows_of_needs),    TABLE(rows_of_meshes),        TABLE(rows_of_memory),
  };
  /* A row of `launch` that wrongly starts something starts nothing. */
  setenv("MPIRUN", "false", 1);
  messages_begin();
  /* MPI starts once: commands find it running, and leave its end to whoever started it. */
  if (MPI_Init(&argc, &argv) != MPI_SUCCESS) return 1;
  int failed = cmocka_run_group_tests(tests, set_up, tear_down);
  MPI_Finalize();
  return failed;
}
