/* ulysses COMMAND [OPTIONS]: finds the command, and returns its exit code. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands/commands.h"
#include "common/say.h"
#include "help/help.h"
#include "job/starter.h"
#include "options/messages.h"
#include "options/options_table.h"

#define ROW(name) [COMMAND_##name] = command_##name,
static int (*const run_command[NUM_COMMANDS])(int argc, char *const *argv) = {COMMANDS(ROW)};
#undef ROW

static bool is_help(const char *arg) {
  return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

static int help(const char *name, const char *topic) {
  uly_status status = help_print(stdout, name, topic);
  if (status != ULY_OK) print_last_failure();
  return uly_status_exit_code(status);
}

static int dispatch(int argc, char **argv) {
  if (argc < 2) {
    if (is_first_process()) help_print_usage(stderr);
    return uly_status_exit_code(ULY_ERR_CONFIG);
  }
  const char *name = is_help(argv[1]) ? "help" : argv[1];
  if (strcmp(name, "--version") == 0) {
    puts("ulysses " ULY_VERSION_STRING);
    return 0;
  }
  enum command_id id = command_find(name);
  if (id == NUM_COMMANDS) return help(name, NULL); /* which refuses the name */
  /* This comes before the command runs: MPI may not start on the login node of a cluster. */
  for (int arg = 2; arg < argc; arg++) {
    if (id == COMMAND_launch && command_find(argv[arg]) < NUM_COMMANDS)
      break; /* later flags belong to it */
    bool is_value = strcmp(argv[arg], "-h") == 0 && option_takes_next(argv[arg - 1]);
    if (is_help(argv[arg]) && !is_value) return help(name, argv[arg + 1]); /* NULL after the last */
  }
  return run_command[id](argc - 2, argv + 2);
}

/* mpirun ends all processes once one has failed. Processes of a command without MPI fail
 * independently, and only the first one prints a message: the others give it time. */
static void let_first_speak(int argc, char **argv) {
  enum command_id id = argc > 1 ? command_find(argv[1]) : NUM_COMMANDS;
  bool is_agreed = id < NUM_COMMANDS && command_table[id].uses_mpi && starter_is_joined();
  if (!is_agreed && !is_first_process()) sleep(2);
}

/* Opens descriptors 0 to 2 if the program was started without them. Otherwise files of the run
 * would get these numbers, and everything that is printed would be written into them. The
 * replacements can be neither read nor written. */
static void hold_descriptors(void) {
  for (int fd = 0; fd <= 2; fd++)
    if (fcntl(fd, F_GETFD) < 0) (void)open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

/* Keeps plugins out of hwloc, which MPI uses to examine the machine: they look for graphics cards,
 * for which they connect to X displays, look up host names and start drivers. Nothing here needs
 * them. The user may set the variable to another value. */
static void keep_hwloc_simple(void) { (void)setenv("HWLOC_COMPONENTS", "-gl,-opencl", 0); }

int main(int argc, char **argv) {
  hold_descriptors();
  messages_begin();
  keep_hwloc_simple();
  /* A file beyond `ulimit -f` is an error, like a full disk. */
  (void)signal(SIGXFSZ, SIG_IGN);
  /* Output is flushed after each line, also into a file or the pipe of mpirun, so that progress can
   * be followed. */
  setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
  /* `mpirun ulysses plan` prints its answer once. */
  if (!is_first_process() && !freopen("/dev/null", "w", stdout)) return 1;
  int code = dispatch(argc, argv);
  if ((fflush(stdout) != 0 || ferror(stdout)) && code == 0) {
    print_failure("standard output cannot be written");
    code = uly_status_exit_code(ULY_ERR_IO);
  }
  if (code != 0) let_first_speak(argc, argv);
  return code;
}
