/* Finds out where the output appears. Under mpirun, standard output says little: Open MPI gives
 * every rank a terminal of its own, though its own output may go to a file; MPICH gives pipes,
 * though it writes to a terminal. What counts is the output of the starter, which is an ancestor of
 * this process. */
#include "job/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "job/starter.h"

static bool begins_with_one(const char *name, const char *const *beginnings) {
  while (*beginnings && strncmp(name, *beginnings, strlen(*beginnings)) != 0) beginnings++;
  return *beginnings != NULL;
}

/* Returns whether this is the name of a program that starts ranks and passes on what they print,
 * and is the one that the user has started: its output is that of the job. */
static bool is_front(const char *name) {
  static const char *const names[] = {"mpirun", "mpiexec", "orterun", "srun", "prun", NULL};
  return begins_with_one(name, names);
}

static bool is_starter(const char *name) {
  static const char *const others[] = {"orted", "prte", "hydra", "slurmstepd", "pmixrun", NULL};
  return is_front(name) || begins_with_one(name, others);
}

/* Reads name and parent of a process. Returns false at the end of the chain, or if there is no
 * /proc. */
static bool read_process(int pid, char name[64], int *parent) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE *file = fopen(path, "r");
  if (!file) return false;
  bool is_read = fscanf(file, "%*d (%63[^)]) %*c %d", name, parent) == 2; /* NOLINT(cert-err34-c) */
  fclose(file);
  return is_read;
}

/* Returns the starter that is closest to the user, and its name, or 0 if there is none. A rank may
 * have been wrapped in a shell or two. */
static int find_starter(char found_name[64]) {
  enum { MAX_WRAPPERS = 4 };
  int found = 0, wrappers = 0, parent;
  char name[64];
  for (int pid = (int)getppid(); pid > 1 && read_process(pid, name, &parent); pid = parent) {
    if (is_starter(name)) {
      found = pid;
      memcpy(found_name, name, sizeof name);
    } else if (found || ++wrappers > MAX_WRAPPERS) {
      break;
    }
  }
  return found;
}

bool terminal_is_live(int *width) {
  char path[64] = "/proc/self/fd/1", device[64], name[64];
  int starter = find_starter(name);
  if (starter) snprintf(path, sizeof path, "/proc/%d/fd/1", starter);
  ssize_t length = readlink(path, device, sizeof device - 1);
  if (length < 5 || strncmp(device, "/dev/", 5) != 0) return false; /* a file or a pipe */
  device[length] = '\0';
  int fd = open(device, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return false;
  struct winsize size = {0};
  bool is_live = isatty(fd) && ioctl(fd, TIOCGWINSZ, &size) == 0;
  close(fd);
  *width = size.ws_col > 0 ? size.ws_col : 80;
  return is_live;
}

bool terminal_moves(void) {
  const char *term = getenv("TERM");
  return term && *term && strcmp(term, "dumb") != 0;
}

/* Returns whether the other end of a pipe or socket is closed. */
static bool is_cut_off(int fd) {
  struct stat info;
  struct pollfd about = {.fd = fd, .events = 0};
  if (fstat(fd, &info) != 0 || !(S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode))) return false;
  return poll(&about, 1, 0) == 1 && (about.revents & (POLLERR | POLLHUP));
}

/* Returns whether the pipe that the starter writes to has lost its reader. A pipe with a name then
 * refuses another writer. */
static bool is_starter_cut_off(int starter) {
  char path[64];
  struct stat info;
  snprintf(path, sizeof path, "/proc/%d/fd/1", starter);
  if (stat(path, &info) != 0 || !S_ISFIFO(info.st_mode)) return false;
  int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return errno == ENXIO;
  bool is_alone = is_cut_off(fd);
  close(fd);
  return is_alone;
}

bool terminal_is_deserted(void) {
  static int front = -1; /* 0: none; -1: not looked for */
  char name[64];
  struct stat own;
  if (!is_first_process() || fstat(STDOUT_FILENO, &own) != 0 || S_ISREG(own.st_mode)) return false;
  if (is_cut_off(STDOUT_FILENO)) return true;
  if (front < 0) {
    front = find_starter(name);
    if (front > 0 && !is_front(name)) front = 0; /* it is on another machine */
  }
  return front > 0 && is_starter_cut_off(front);
}
