/* Signals that ask a run to save and stop: TERM, INT, USR1. */
#ifndef ULYSSES_CLI_SIGNALS_H
#define ULYSSES_CLI_SIGNALS_H

/* From now on such a signal is remembered instead of ending the process; a second TERM or INT ends
 * it at once. */
void signals_catch(void);

/* Number of the first that came; 0: none. */
int signals_received(void);

/* Those that are caught, ended by 0, and the name of one: "SIGTERM". */
extern const int signals_caught[];
const char *signals_name(int number);

#endif
