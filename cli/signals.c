/* Signals are only noted here; the run looks for them between two steps. */
#include "signals.h"

#include <signal.h>
#include <stddef.h>

const int signals_caught[] = {SIGTERM, SIGINT, SIGUSR1, 0};

static volatile sig_atomic_t received;

static void note(int number) {
  if (!received) received = number;
}

void signals_catch(void) {
  /* Files that are being read or written are to go on. */
  struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  for (const int *number = signals_caught; *number; number++) {
    /* `launch` sends USR1 again and again. */
    action.sa_flags = *number == SIGUSR1 ? SA_RESTART : SA_RESTART | (int)SA_RESETHAND;
    sigaction(*number, &action, NULL);
  }
}

int signals_received(void) { return received; }

const char *signals_name(int number) {
  switch (number) {
    case SIGTERM: return "SIGTERM";
    case SIGINT: return "SIGINT";
    case SIGUSR1: return "SIGUSR1";
  }
  return "a signal";
}
