/* What the files of the MPI backend share. MPI 3.0 or later. A failure of MPI ends the job: where one rank
 * returned, others would wait for it for ever. */
#ifndef ULY_COMM_MPI_H
#define ULY_COMM_MPI_H

#include <mpi.h>
#include <stdbool.h>

#include "comm/comm.h"

/* The collective that is under way. */
typedef struct uly__started {
  bool under_way; /* started, and not waited for: the same on all ranks at the same call */
  bool pending;   /* MPI is at work on request: when it is done differs by rank */
  MPI_Request request;
  /* A reduce_scatter goes in chunks; in an all_gather part is 0. */
  uly_dtype dtype;
  const void *data;             /* [size][part] of dtype */
  int64_t part;                 /* elements of it */
  float *out;                   /* [part] */
  void *workspace;              /* [size][chunk] of dtype */
  int64_t chunk, begin, length; /* most elements of a chunk; where the present one lies in a part */
} uly__started;

typedef struct uly__check uly__check;

struct uly__comm {
  MPI_Comm mpi;
  char name[24];
  int rank, size, node_size;
  uly__traffic *traffic;
  int *send_counts, *send_offsets, *recv_counts, *recv_offsets; /* [size] each */
  void *gathered;     /* [size, ULY_MAX_SUM] values of 8 bytes: small messages of all ranks */
  int64_t unit_bytes; /* of unit */
  MPI_Datatype unit;
  uly__started started;
  uly__check *check; /* shared by the groups of the same ranks; NULL: off */
  int64_t num_calls; /* that were checked */
};

/* Ends the job where it has more than one process; else returns ULY_ERR_COMM. */
uly_status uly__mpi_failed(int code, const char *call, const char *file, int line);

#define MPI_TRY(call)                                                                           \
  do {                                                                                          \
    int mpi_code_ = (call);                                                                     \
    if (mpi_code_ != MPI_SUCCESS) return uly__mpi_failed(mpi_code_, #call, __FILE__, __LINE__); \
  } while (0)

/* Makes comm->unit the type of unit_bytes bytes; kept, since a plan uses the same one at every call. */
uly_status uly__use_unit(uly__comm *comm, int64_t unit_bytes);

/* Every collective but the wait begins with this. The format describes the call: its name, and what all ranks must
 * pass alike. Compares first: where one rank has something under way and others have not, all fail. */
#define BEGIN_COLLECTIVE(comm, ...)                                   \
  do {                                                                \
    if ((comm)->check) ULY_TRY(uly__check_call((comm), __VA_ARGS__)); \
    if ((comm)->started.under_way) return uly__busy(comm);            \
  } while (0)

/* Waits for what is under way, without comparing. */
uly_status uly__finish_started(uly__comm *comm);

uly_status uly__busy(const uly__comm *comm);

/* --- ULYSSES_CHECK=collectives. */

/* Whether the environment of rank 0 asks for it. */
uly_status uly__check_wanted(const uly__comm *comm, bool *wanted);
/* A new check for this group, unless it has one rank. */
uly_status uly__check_create(uly__comm *comm);
/* The check of another group of the same ranks, so that the order among both is compared too. */
void uly__check_share(uly__comm *comm, const uly__comm *with);
/* Compares a call with those of the other ranks. */
uly_status uly__check_call(uly__comm *comm, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Compares the end of the group; false where calls have differed, now or before. Says so on standard
 * error where it is found now. */
bool uly__check_end(uly__comm *comm);
/* Frees the check with the last of its groups. */
void uly__check_leave(uly__comm *comm);

#endif
