/* Declares the parts of ulysses launch. */
#ifndef ULYSSES_CLI_LAUNCH_H
#define ULYSSES_CLI_LAUNCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Returns whether the program was built with Open MPI; otherwise it was built with MPICH or a
 * relative of it (launch_mpi.c). */
bool launch_is_open_mpi(void);

/* The output of mpirun, if standard output is a pipe: launch stands between the two, since mpirun
 * does not survive the end of its reader (launch_output.c). */
typedef struct launch_output {
  int read_end, write_end; /* -1: mpirun writes directly */
  pthread_t thread;
  atomic_bool is_deserted; /* further output is dropped */
  atomic_bool is_ended;    /* mpirun writes no more */
} launch_output;

/* Opens the pipe, before mpirun is started. */
void launch_output_open(launch_output *output);
/* Makes the pipe the standard output of the child that becomes mpirun. */
void launch_output_become(const launch_output *output);
/* Begins to pass on output, in the parent. */
void launch_output_start(launch_output *output);
/* Returns whether the reader of standard output has ended. */
bool launch_output_is_deserted(launch_output *output);
/* Passes on what is left of the output after mpirun has ended. */
void launch_output_finish(launch_output *output);

#endif
