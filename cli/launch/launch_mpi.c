/* Finds out the kind of MPI, which only its header shows. */
#include <mpi.h>

#include "launch/launch.h"

bool launch_is_open_mpi(void) {
#ifdef OPEN_MPI
  return true;
#else
  return false;
#endif
}
