/* Finds the name of the MPI that the program runs with. */
#include <mpi.h>
#include <string.h>

#include "job/starter.h"

/* Takes the first line, or what is before the first comma: the rest says how it was built. */
void starter_mpi_name(char *text, size_t size) {
  char version[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  MPI_Get_library_version(version, &length);
  size_t used = strcspn(version, ",\n");
  if (used >= size) used = size - 1;
  memcpy(text, version, used);
  text[used] = '\0';
  for (char *at = text; *at; at++)
    if (*at == '\t') *at = ' ';
}
