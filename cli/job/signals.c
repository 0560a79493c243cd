/* Signals are only recorded here; the run checks for them between two steps. */
#include "job/signals.h"

#include <signal.h>
#include <stddef.h>

#include "job/terminal.h"

const int signals_caught[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGPIPE, 0};

static volatile sig_atomic_t received;

static void note(int number) {
  if (!received) received = number;
}

/* Records a signal. A second TERM or INT ends the process. `launch` sends USR1 repeatedly, and a
 * closing terminal sends HUP twice, by itself and through the shell. */
static void catch (int number) {
  struct sigaction before, action = {.sa_handler = note};
  bool is_final = number == SIGTERM || number == SIGINT;
  if (number == SIGHUP && sigaction(number, NULL, &before) == 0 && before.sa_handler == SIG_IGN)
    return;
  sigemptyset(&action.sa_mask);
  /* Reads and writes of files continue after a signal. */
  action.sa_flags = SA_RESTART | (is_final ? (int)SA_RESETHAND : 0);
  sigaction(number, &action, NULL);
}

void signals_catch(void) {
  for (const int *number = signals_caught; *number; number++)
    if (*number != SIGPIPE) catch (*number);
  /* SIGPIPE would also come from other pipes, such as those of metrics; a failed write tells as
   * much. */
  (void)signal(SIGPIPE, SIG_IGN);
}

int signals_received(void) {
  if (!received && terminal_is_deserted()) note(SIGPIPE);
  return received;
}

int signals_ask(void *unused) {
  (void)unused;
  return signals_received();
}

const char *signals_name(int number) {
  switch (number) {
    case SIGTERM: return "SIGTERM";
    case SIGINT: return "SIGINT";
    case SIGHUP: return "SIGHUP";
    case SIGUSR1: return "SIGUSR1";
    case SIGPIPE: return "the loss of the reader of its output";
  }
  return "a signal";
}
