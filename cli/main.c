/* ulysses COMMAND [OPTIONS]: finds the command, and returns its exit code. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "format.h"
#include "options.h"

static void print_usage(FILE *file) {
  fputs(
      "Train transformers on very long sequences, spread over MPI ranks.\n\n"
      "Usage:    ulysses COMMAND [OPTIONS]\n"
      "Example:  mpirun -n 4 ulysses train --data book.txt --seq-len 16k --out run\n\n"
      "Commands\n"
      "  train                     train a model\n"
      "  plan                      print the memory and the communication of a run\n"
      "  bench KIND                measure attention, step, exchange or ceiling\n"
      "  checkpoint verify DIR     check that a checkpoint is undamaged\n"
      "  help COMMAND              print the options of a command\n\n"
      "Options\n"
      "  --help                    print this text, or after a command its options\n"
      "  --version                 print the version\n\n"
      "Exit codes: 0 done, 1 machine, 2 configuration, 3 data or file, 4 loss not finite,\n"
      "75 stopped by a signal (TERM, INT, USR1): saved, if --out is given, and ready to go on.\n",
      file);
}

static void train_print_help(FILE *file) { options_print_help(file, TRAIN); }
static void plan_print_help(FILE *file) { options_print_help(file, PLAN); }

static void bench_print_help(FILE *file) { options_print_help(file, BENCH); }

static const struct {
  const char *name;
  bool uses_mpi;
  void (*print_help)(FILE *file);
  int (*run)(int argc, char *const *argv);
} commands[] = {{"train", true, train_print_help, command_train},
                {"plan", false, plan_print_help, command_plan},
                {"bench", true, bench_print_help, command_bench},
                {"checkpoint", false, checkpoint_print_help, command_checkpoint}};

enum { NUM_COMMANDS = sizeof commands / sizeof commands[0] };

/* Index in commands, NUM_COMMANDS if there is none of that name. */
static int find_command(const char *name) {
  int i = 0;
  while (i < NUM_COMMANDS && strcmp(commands[i].name, name) != 0) i++;
  return i;
}

static bool is_help(const char *arg) {
  return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

static int unknown_command(const char *name) {
  char message[512];
  snprintf(message, sizeof message,
           "'%.200s': not a command: expected train, plan, bench, checkpoint or help", name);
  print_error(message);
  return uly_status_exit_code(ULY_ERR_CONFIG);
}

static int help(const char *name) {
  if (!name) {
    print_usage(stdout);
    return 0;
  }
  int i = find_command(name);
  if (i == NUM_COMMANDS) return unknown_command(name);
  commands[i].print_help(stdout);
  return 0;
}

static int dispatch(int argc, char **argv) {
  if (argc < 2) {
    if (is_first_process()) print_usage(stderr);
    return uly_status_exit_code(ULY_ERR_CONFIG);
  }
  const char *name = argv[1];
  if (is_help(name) || strcmp(name, "help") == 0) return help(argc > 2 ? argv[2] : NULL);
  if (strcmp(name, "--version") == 0) {
    puts("ulysses " ULY_VERSION_STRING);
    return 0;
  }
  int i = find_command(name);
  if (i == NUM_COMMANDS) return unknown_command(name);
  /* Before the command runs: on the login node of a cluster MPI may not start. */
  for (int arg = 2; arg < argc; arg++) {
    if (is_help(argv[arg])) return help(name);
  }
  return commands[i].run(argc - 2, argv + 2);
}

/* mpirun ends all processes once one has failed. Those of a command without MPI fail each by itself, and only
 * the first one speaks: the others give it time. */
static void let_first_speak(int argc, char **argv) {
  int i = argc > 1 ? find_command(argv[1]) : NUM_COMMANDS;
  bool is_agreed = i < NUM_COMMANDS && commands[i].uses_mpi;
  if (!is_agreed && !is_first_process()) sleep(2);
}

int main(int argc, char **argv) {
  /* A line at a time, also into a file or the pipe of mpirun, so that progress can be followed. */
  setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
  /* `mpirun ulysses plan` is answered once. */
  if (!is_first_process() && !freopen("/dev/null", "w", stdout)) return 1;
  int code = dispatch(argc, argv);
  if ((fflush(stdout) != 0 || ferror(stdout)) && code == 0) {
    print_error("standard output cannot be written");
    code = uly_status_exit_code(ULY_ERR_IO);
  }
  if (code != 0) let_first_speak(argc, argv);
  return code;
}
