/* Who started this process, as the environment tells, and whether MPI says the same. */
#ifndef ULYSSES_CLI_STARTER_H
#define ULYSSES_CLI_STARTER_H

#include <stdbool.h>
#include <stddef.h>

#include "ulysses.h"

/* What a program that starts ranks says in the environment. */
typedef struct starter_claim {
  const char *variable; /* NULL: there is none */
  const char *value;    /* of the variable */
  const char *starter;  /* what sets it */
  const char *advice;   /* how that starter works with any MPI; NULL: it does not */
  bool is_least;        /* there may be more processes than size */
  int size;             /* processes of the job */
  int rank;
} starter_claim;

/* Returns whether MPI does not know of the processes that the environment speaks of. mpi_size:
 * ranks of MPI's world. */
bool starter_contradicts(int mpi_size, starter_claim *claim);

/* Returns whether this is the first process of a job, or alone, as the environment tells: known
 * before MPI starts, and to commands that do not start it. Only the first process speaks. */
bool is_first_process(void);

/* Starts MPI. ULY_ERR_CONFIG where the environment contradicts it: each process would do the
 * whole job. */
uly_status starter_init(void);
/* The two parts of that. */
uly_status starter_join(void);
uly_status starter_check(void);

/* Returns whether the processes of the job are, or may be, ranks that end together. */
bool starter_is_joined(void);

/* "Open MPI v4.1.4": the library, which need not run (starter_mpi.c). */
void starter_mpi_name(char *text, size_t size);

#endif
