/* Whether somebody watches. Under mpirun, standard output says little: Open MPI gives every rank a terminal of
 * its own, though its own output may go to a file; MPICH gives pipes, though it writes to a terminal. What counts
 * is the output of the starter, which is an ancestor of this process. */
#include "terminal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Beginnings of the names of programs that start ranks and hand on what they print. */
static bool is_starter(const char *name) {
  static const char *const names[] = {"mpirun", "mpiexec", "orterun", "orted",      "prte",
                                      "hydra",  "srun",    "prun",    "slurmstepd", "pmixrun"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (strncmp(name, names[i], strlen(names[i])) == 0) return true;
  }
  return false;
}

/* Name and parent of a process; false at the end of the chain, or where there is no /proc. */
static bool read_process(int pid, char name[64], int *parent) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE *file = fopen(path, "r");
  if (!file) return false;
  bool is_read = fscanf(file, "%*d (%63[^)]) %*c %d", name, parent) == 2; /* NOLINT(cert-err34-c) */
  fclose(file);
  return is_read;
}

/* The starter that is closest to the user; 0: there is none. A rank may have been wrapped in a shell or two. */
static int find_starter(void) {
  enum { MAX_WRAPPERS = 4 };
  int found = 0, wrappers = 0, parent;
  char name[64];
  for (int pid = (int)getppid(); pid > 1 && read_process(pid, name, &parent); pid = parent) {
    if (is_starter(name)) {
      found = pid;
    } else if (found || ++wrappers > MAX_WRAPPERS) {
      break;
    }
  }
  return found;
}

bool terminal_is_live(int *width) {
  char path[64] = "/proc/self/fd/1", device[64];
  int starter = find_starter();
  if (starter) snprintf(path, sizeof path, "/proc/%d/fd/1", starter);
  ssize_t length = readlink(path, device, sizeof device - 1);
  if (length < 5 || strncmp(device, "/dev/", 5) != 0) return false; /* a file, a pipe */
  device[length] = '\0';
  int fd = open(device, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return false;
  struct winsize size = {0};
  bool is_live = isatty(fd) && ioctl(fd, TIOCGWINSZ, &size) == 0;
  close(fd);
  *width = size.ws_col > 0 ? size.ws_col : 80;
  return is_live;
}
