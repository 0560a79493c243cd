/* Notices what asks a run to save and stop: the signals TERM, INT, HUP and USR1, and an output that
 * has lost its reader. */
#ifndef ULYSSES_CLI_SIGNALS_H
#define ULYSSES_CLI_SIGNALS_H

/* Begins to record these signals, which no longer end the process; a second TERM or INT ends it at
 * once. HUP stays ignored if it already is, as under nohup. */
void signals_catch(void);

/* Returns the number of the first signal that came, or 0 if none has. SIGPIPE stands for a standard
 * output that has lost its reader, which is noticed whether or not anything is written. */
int signals_received(void);

/* Answers calls of the library that ask whether to stop, in the same way. */
int signals_ask(void *unused);

/* Lists the signals that are received, ending with 0; and returns the name of one, such as
 * "SIGTERM". */
extern const int signals_caught[];
const char *signals_name(int number);

#endif
