/* Passes on what mpirun prints. If the reader of its output ends, Open MPI's mpirun crashes and
 * MPICH's ends, and both end the ranks before these have saved. So launch stands between mpirun and
 * the reader. A thread of its own passes on the output, since a reader may be slow while signals
 * must be handled. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "job/terminal.h"
#include "launch/launch.h"

void launch_output_open(launch_output *output) {
  struct stat info;
  int ends[2];
  *output = (launch_output){.read_end = -1, .write_end = -1};
  if (fstat(STDOUT_FILENO, &info) != 0 || !(S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode)))
    return;
  if (pipe2(ends, O_CLOEXEC) != 0) return;
  output->read_end = ends[0];
  output->write_end = ends[1];
}

void launch_output_become(const launch_output *output) {
  if (output->write_end >= 0) (void)dup2(output->write_end, STDOUT_FILENO);
}

/* Writes the bytes, and returns whether all of them could be written. */
static bool write_all(const char *bytes, size_t count) {
  for (size_t done = 0; done < count;) {
    ssize_t written = write(STDOUT_FILENO, bytes + done, count - done);
    if (written < 0 && errno != EINTR) return false;
    if (written > 0) done += (size_t)written;
  }
  return true;
}

/* Passes on output until the pipe has no writer, or until mpirun, which may leave other writers
 * behind, has ended. */
static void *hand_on(void *user) {
  enum { POLL_MS = 100 };
  launch_output *output = user;
  char bytes[1 << 14];
  struct pollfd about = {.fd = output->read_end, .events = POLLIN};
  for (;;) {
    bool is_last = output->is_ended;
    if (poll(&about, 1, is_last ? 0 : POLL_MS) <= 0) {
      if (is_last) return NULL;
      continue;
    }
    ssize_t got = read(output->read_end, bytes, sizeof bytes);
    if (got == 0 || (got < 0 && errno != EINTR)) return NULL;
    if (got > 0 && !output->is_deserted && !write_all(bytes, (size_t)got))
      output->is_deserted = true;
  }
}

void launch_output_start(launch_output *output) {
  if (output->read_end < 0) return;
  close(output->write_end);
  output->write_end = -1;
  if (pthread_create(&output->thread, NULL, hand_on, output) == 0) return;
  close(output->read_end); /* mpirun's output has no reader */
  output->read_end = -1;
}

bool launch_output_is_deserted(launch_output *output) {
  if (!output->is_deserted && terminal_is_deserted()) output->is_deserted = true;
  return output->is_deserted;
}

void launch_output_finish(launch_output *output) {
  if (output->read_end < 0) return;
  output->is_ended = true;
  pthread_join(output->thread, NULL);
  close(output->read_end);
  output->read_end = -1;
}
