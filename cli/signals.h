/* What asks a run to save and stop: the signals TERM, INT, HUP and USR1, and an output that
 * nobody reads any more. */
#ifndef ULYSSES_CLI_SIGNALS_H
#define ULYSSES_CLI_SIGNALS_H

/* From now on such a signal is remembered instead of ending the process; a second TERM or INT ends
 * it at once. HUP stays ignored where it is, as by nohup. */
void signals_catch(void);

/* Number of the first that came; 0: none. SIGPIPE stands for a reader of standard output that
 * has gone, and is found whether or not anything is written. */
int signals_received(void);

/* Lists the signals that are received, ended by 0, and names one: "SIGTERM". */
extern const int signals_caught[];
const char *signals_name(int number);

#endif
