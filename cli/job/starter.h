/* Finds out who started this process, as the environment tells, and whether MPI agrees. */
#ifndef ULYSSES_CLI_STARTER_H
#define ULYSSES_CLI_STARTER_H

#include <stdbool.h>
#include <stddef.h>

#include "ulysses.h"

/* Holds what a program that starts ranks says in the environment. */
typedef struct starter_claim {
  const char *variable; /* NULL: there is none */
  const char *value;    /* of the variable */
  const char *starter;  /* what sets it */
  /* How that starter works with any MPI; NULL: it does not. */
  const char *advice;
  /* There may be more processes than size. */
  bool is_least;
  int size; /* processes of the job */
  int rank;
} starter_claim;

/* Returns whether MPI does not know the processes that the environment speaks of. mpi_size: ranks
 * of MPI's world. */
bool starter_contradicts(int mpi_size, starter_claim *claim);

/* Returns whether this is the first process of a job, or a process alone, as far as the environment
 * tells. This is known before MPI starts, and to commands that do not start it. Only the first
 * process prints. */
bool is_first_process(void);

/* Starts MPI. Returns ULY_ERR_CONFIG if the environment contradicts it, since each process would
 * then do the whole job. */
uly_status starter_init(void);
/* starter_init consists of these two parts. */
uly_status starter_join(void);
uly_status starter_check(void);

/* Returns whether the processes of the job are, or may be, ranks that end together. */
bool starter_is_joined(void);

/* Writes the name of the MPI library, which need not be running: "Open MPI v4.1.4"
 * (starter_mpi.c). */
void starter_mpi_name(char *text, size_t size);

#endif
