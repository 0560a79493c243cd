/* Which MPI the program was built with, as far as starting ranks goes. */
#ifndef ULYSSES_CLI_LAUNCH_H
#define ULYSSES_CLI_LAUNCH_H

#include <stdbool.h>

/* Open MPI; otherwise MPICH, or one of its kin. */
bool launch_is_open_mpi(void);

#endif
