/* Parts of ulysses launch. */
#ifndef ULYSSES_CLI_LAUNCH_H
#define ULYSSES_CLI_LAUNCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Returns whether the program was built with Open MPI; otherwise with MPICH, or one of its kin
 * (launch_mpi.c). */
bool launch_is_open_mpi(void);

/* What mpirun prints, where standard output is a pipe: launch stands between the two, since
 * mpirun does not survive the reader of its output (launch_output.c). */
typedef struct launch_output {
  int read_end, write_end; /* -1: mpirun writes directly */
  pthread_t thread;
  atomic_bool is_deserted; /* what still comes is dropped */
  atomic_bool is_ended;    /* mpirun writes no more */
} launch_output;

/* Before mpirun is there. */
void launch_output_open(launch_output *output);
/* In the child that becomes mpirun: makes the pipe its standard output. */
void launch_output_become(const launch_output *output);
/* In the parent: begins to hand on. */
void launch_output_start(launch_output *output);
/* Returns whether the reader of standard output has gone. */
bool launch_output_is_deserted(launch_output *output);
/* Hands on what is left of a mpirun that has ended. */
void launch_output_finish(launch_output *output);

#endif
