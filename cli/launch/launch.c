/* ulysses launch: starts ranks of a command on this machine with the mpirun of the MPI that the
 * program was built with, and stands between the terminal and the ranks. mpirun would follow Ctrl-C
 * up with KILL; launch sends the ranks USR1 instead, after which they save and end. */
#include "launch/launch.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/say.h"
#include "common/try.h"
#include "job/starter.h"
#include "launch/launch_options.h"
#include "options/messages.h"

#ifndef ULY_MPIRUN
#define ULY_MPIRUN "mpirun"
#endif

/* Arguments of mpirun itself, before those of the command. */
enum { MAX_OWN = 16 };

/* Sets a variable unless the user has set it. */
static void set(const char *name, const char *value) { (void)setenv(name, value, 0); }

/* Sets variables of Open MPI: ranks are not bound to single cores, since they have several threads;
 * more ranks than cores are allowed, and these do not yield inside MPI, since they sleep while they
 * wait; root is allowed, as in containers. */
static void set_environment(int ranks) {
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  if (!launch_is_open_mpi()) return;
  set("OMPI_MCA_hwloc_base_binding_policy", "none");
  if (ranks > cores) {
    set("OMPI_MCA_rmaps_base_oversubscribe", "1");
    set("OMPI_MCA_mpi_yield_when_idle", "0");
    set("OMP_WAIT_POLICY", "passive");
  }
  if (geteuid() == 0) {
    set("OMPI_ALLOW_RUN_AS_ROOT", "1");
    set("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
  }
}

static const char *find_mpirun(void) {
  const char *given = getenv("MPIRUN");
  return given && *given ? given : ULY_MPIRUN;
}

/* Becomes mpirun, in the child. Returns if mpirun cannot be started. */
static void become_mpirun(int num_ranks, int argc, char *const *argv) {
  const char *mpirun = find_mpirun();
  char self[PATH_MAX], ranks[16];
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  char **all = length > 0 ? calloc((size_t)argc + MAX_OWN, sizeof *all) : NULL;
  if (!all) return;
  self[length] = '\0';
  snprintf(ranks, sizeof ranks, "%d", num_ranks);
  int n = 0;
  all[n++] = (char *)(uintptr_t)mpirun;
  /* With -q, Open MPI does not print a page about each exit code. */
  if (launch_is_open_mpi()) all[n++] = (char *)(uintptr_t) "-q";
  all[n++] = (char *)(uintptr_t) "-n";
  all[n++] = ranks;
  all[n++] = self;
  memcpy(all + n, argv, (size_t)argc * sizeof *all);
  /* Signals of the terminal go to the parent alone. */
  (void)setpgid(0, 0);
  /* No run continues without its launcher. */
  (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
  /* Ignored until mpirun is there to forward it. */
  (void)signal(SIGUSR1, SIG_IGN);
  execvp(mpirun, all);
  int error = errno;
  char message[512];
  snprintf(message, sizeof message,
           "'%.200s' cannot be started: %s: install the MPI that this program was built with, or "
           "set MPIRUN to where it is",
           mpirun, strerror(error));
  print_failure(message);
  free(all);
}

/* Returns whether the code is in the table of exit codes. */
static bool is_own_code(int code) {
  char text[16];
  snprintf(text, sizeof text, "%d", code);
  const named_text *known = exit_codes;
  while (known->name && strcmp(known->name, text) != 0) known++;
  return known->name != NULL;
}

/* Returns the signal that an exit code of mpirun stands for, or 0 if it stands for none. Shells and
 * Open MPI add 128 to it, MPICH passes it on as it is. Codes of their own failures are larger than
 * any signal that ends a process. */
static int find_signal(int code) {
  enum { LAST = 31 }; /* real-time signals are higher */
  if (is_own_code(code)) return 0;
  int number = code > 128 ? code - 128 : launch_is_open_mpi() ? 0 : code;
  return number <= LAST ? number : 0;
}

/* Returns the exit code of the table that describes how mpirun ended, and prints a message about
 * it. */
static int describe_end(command cmd, int status, bool was_asked, bool was_ended) {
  const char *hint = cmd == TRAIN ? "; --resume auto goes on from the newest checkpoint" : "";
  int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  int number = find_signal(code);
  char message[1024] = "";
  if (was_asked && !was_ended && number == SIGUSR1) { /* before the ranks handled signals */
    fputs("ulysses: stopped before the first step\n", stderr);
    return EXIT_STOPPED;
  }
  if (was_ended) {
    snprintf(message, sizeof message, "ended at once, as asked%s", hint);
  } else if (number > 0) {
    snprintf(message, sizeof message, "a rank or mpirun was ended by signal %d%s%s", number,
             number == SIGKILL ? " (perhaps because memory ran out)" : "", hint);
  } else if (!is_own_code(code)) {
    snprintf(message, sizeof message,
             "%.200s failed with exit code %d: it could not start the ranks, or lost them; '%.200s "
             "-n 2 ulysses doctor' may tell more%s",
             find_mpirun(), code, find_mpirun(), hint);
  }
  if (message[0]) {
    print_failure(message);
  } else if (code == uly_status_exit_code(ULY_ERR_COMM)) { /* of a rank, or a quiet mpirun */
    print_message(
        "%s ended with exit code %d; if nothing above says why, '%s -n 2 ulysses doctor' does",
        find_mpirun(), code, find_mpirun());
  }
  return message[0] ? uly_status_exit_code(ULY_ERR_COMM) : code;
}

/* Returns whether the process still has children, as far as /proc tells: each of its threads may
 * have some. */
static bool has_children(pid_t pid) {
  char path[300];
  snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
  DIR *threads = opendir(path);
  bool is_known = false, has = false;
  for (struct dirent *entry; threads && (entry = readdir(threads));) {
    snprintf(path, sizeof path, "/proc/%d/task/%.200s/children", (int)pid, entry->d_name);
    FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
    if (!file) continue;
    is_known = true;
    has |= fgetc(file) != EOF;
    fclose(file);
  }
  if (threads) closedir(threads);
  return has || !is_known;
}

/* How far a run has been asked to end. */
typedef struct request {
  bool is_made; /* by a signal or lost reader */
  bool is_final;
} request;

/* Returns whether the signal is to end the ranks at once: a second TERM or INT does, but a closing
 * terminal sends HUP twice by itself. */
static bool is_urgent(int number, const request *r) {
  return r->is_made && (number == SIGTERM || number == SIGINT);
}

/* Waits for the end of mpirun. The first signal asks the ranks to save and end: launch sends USR1,
 * which both MPIs forward, again and again, since the ranks may not be there yet. A second TERM or
 * INT ends them, and so does the first signal if the command does not handle it; but not once they
 * have ended by themselves and mpirun is only slow to report it. */
static int watch(pid_t child, command cmd, const sigset_t *signals, launch_output *output) {
  const struct timespec again = {.tv_nsec = 500000000};
  const char *line = isatty(STDERR_FILENO) ? "\n" : ""; /* after the ^C */
  bool listens = (cmd & (TRAIN | TRAINED)) != 0, has_begun = false;
  request asked = {0};
  int status = 0;
  for (;;) {
    int number = sigtimedwait(signals, NULL, &again);
    pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended < 0) print_failure("it is not known how the run ended");
    if (ended < 0) return uly_status_exit_code(ULY_ERR_COMM);
    if (ended > 0) break;
    if (number < 0 && launch_output_is_deserted(output)) number = SIGPIPE;
    bool is_asked = number > 0 && number != SIGCHLD, has_ranks = has_children(child);
    has_begun |= has_ranks;
    if (is_asked && listens && !asked.is_made && number != SIGPIPE) {
      fprintf(stderr, "%sulysses: stopping after the current work (Ctrl-C again stops at once)\n",
              line);
    } else if (is_asked && (!listens || is_urgent(number, &asked)) && (has_ranks || !has_begun)) {
      asked.is_final = true;
      (void)kill(child, SIGTERM);
    }
    asked.is_made |= is_asked;
    if (asked.is_made && listens && !asked.is_final) (void)kill(child, SIGUSR1);
  }
  launch_output_finish(output);
  return describe_end(cmd, status, listens && asked.is_made, asked.is_final);
}

/* Blocks the signals that launch waits for. HUP is left out if it is ignored, as under nohup. */
static void block_signals(sigset_t *signals, sigset_t *before) {
  static const int numbers[] = {SIGINT, SIGTERM, SIGUSR1, SIGCHLD};
  struct sigaction hang_up;
  sigemptyset(signals);
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) sigaddset(signals, numbers[i]);
  if (sigaction(SIGHUP, NULL, &hang_up) == 0 && hang_up.sa_handler != SIG_IGN)
    sigaddset(signals, SIGHUP);
  sigprocmask(SIG_BLOCK, signals, before);
  /* If SIGCHLD is ignored, there is no way to learn how a child ended. */
  (void)signal(SIGCHLD, SIG_DFL);
}

static int launch(int num_ranks, int argc, char *const *argv) {
  sigset_t signals, before;
  launch_output output;
  block_signals(&signals, &before);
  set_environment(num_ranks);
  launch_output_open(&output);
  fflush(stdout);
  pid_t child = fork();
  if (child < 0) {
    print_failure("a new process cannot be started");
    return uly_status_exit_code(ULY_ERR_MEMORY);
  }
  if (child == 0) {
    sigprocmask(SIG_SETMASK, &before, NULL);
    launch_output_become(&output);
    become_mpirun(num_ranks, argc, argv);
    _exit(uly_status_exit_code(ULY_ERR_COMM));
  }
  /* The ranks must be told first. */
  (void)signal(SIGPIPE, SIG_IGN);
  launch_output_start(&output);
  return watch(child, (command)command_table[command_find(argv[0])].bits, &signals, &output);
}

/* Returns the place among the arguments at which the command to start begins. */
static int find_inner(int argc, char *const *argv) {
  int i = 0;
  while (i < argc && strncmp(argv[i], "--", 2) == 0) i += strcmp(argv[i], "--ranks") == 0 ? 2 : 1;
  return i < argc ? i : argc;
}

static uly_status check_inner(const char *name) {
  if (!name)
    return uly_fail(ULY_ERR_CONFIG,
                    "no command to start: expected one, as in 'ulysses launch --ranks 2 train "
                    "--data book.txt'");
  if (strcmp(name, "launch") == 0)
    return uly_fail(ULY_ERR_CONFIG, "'launch' starts other commands, not itself");
  if (name[0] == '-')
    return uly_fail(ULY_ERR_CONFIG,
                    "'%.200s': expected --ranks N or a command, as in 'ulysses launch --ranks 2 "
                    "train'",
                    name);
  if (command_find(name) < NUM_COMMANDS) return ULY_OK;
  suggestion meant = suggest(name);
  command_offer(&meant);
  return uly_fail(ULY_ERR_CONFIG,
                  "'%.200s' is not a command that can be started; 'ulysses help' lists them%s",
                  name, suggest_phrase(&meant));
}

/* Refuses to be one of several processes, each of which would start its own ranks. */
static uly_status check_starter(void) {
  starter_claim claim;
  if (!starter_contradicts(1, &claim)) return ULY_OK;
  return uly_fail(ULY_ERR_CONFIG,
                  "'launch': %s=%.20s says that %s started %s%d processes of it, each of which "
                  "would start the whole job: start it once, or start the command without "
                  "'launch'; unset %s if each is to run by itself",
                  claim.variable, claim.value, claim.starter, claim.is_least ? "at least " : "",
                  claim.size, claim.variable);
}

/* Reads the options of launch itself, and checks the command that begins at `inner`. */
static uly_status read_options(launch_options *o, int inner, int argc, char *const *argv) {
  TRY(options_init(&o->base, LAUNCH));
  TRY(options_parse(&o->base, inner, argv));
  TRY(check_inner(inner < argc ? argv[inner] : NULL));
  return check_starter();
}

int command_launch(int argc, char *const *argv) {
  launch_options o;
  int inner = find_inner(argc, argv);
  uly_status status = read_options(&o, inner, argc, argv);
  int num_ranks = o.ranks;
  options_free(&o.base);
  if (status == ULY_OK) return launch(num_ranks, argc - inner, argv + inner);
  print_last_failure();
  return uly_status_exit_code(status);
}
