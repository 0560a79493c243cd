/* What ulysses doctor needs of MPI itself. */
#include <mpi.h>
#include <string.h>

#include "doctor.h"

/* The first line, or what is before the first comma: the rest says how it was built. */
void doctor_mpi_version(char text[DOCTOR_TEXT]) {
  char version[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  MPI_Get_library_version(version, &length);
  size_t used = strcspn(version, ",\n");
  if (used >= DOCTOR_TEXT) used = DOCTOR_TEXT - 1;
  memcpy(text, version, used);
  text[used] = '\0';
  for (char *at = text; *at; at++) {
    if (*at == '\t') *at = ' ';
  }
}

void doctor_gather(doctor *d) {
  int bytes = (int)sizeof d->own;
  MPI_Allgather(&d->own, bytes, MPI_BYTE, d->facts, bytes, MPI_BYTE, MPI_COMM_WORLD);
}
