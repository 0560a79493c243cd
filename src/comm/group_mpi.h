/* Declares what the files of the MPI backend share. They need MPI 3.0 or later. A failure of MPI
 * ends the job: if one rank returned, others would wait for it forever. */
#ifndef ULY_GROUP_MPI_H
#define ULY_GROUP_MPI_H

#include <mpi.h>
#include <stdbool.h>

#include "comm/group.h"

/* A call that is under way, or a place for one. */
typedef struct uly__started {
  uly__group *group;
  uly_traffic kind;
  bool is_taken;      /* from its start to its wait; for collectives, the same on all ranks */
  bool is_pending;    /* MPI is at work on requests: when it is done differs by rank */
  bool is_collective; /* its wait is compared too */
  int num_requests;
  MPI_Request *requests; /* [2 * size] */
  int *counts;           /* [4][size]: MPI reads them until the call ends */
} uly__started;

/* The MPI type of a unit of so many bytes. */
typedef struct uly__unit_type {
  int64_t bytes; /* 0: none */
  MPI_Datatype type;
} uly__unit_type;

enum { ULY_MAX_UNIT_TYPES = 8 };

/* The last tag that MPI guarantees, for gathers by messages. */
enum { ULY_GATHER_TAG = 32767 };

typedef struct uly__check uly__check;

struct uly__group {
  MPI_Comm mpi; /* MPI_COMM_NULL: offline */
  char name[24];
  int rank, size, node_size;
  bool is_crowded; /* more ranks than cores share this machine */
  uly__traffic *traffic;
  void *gathered; /* [size, ULY_MAX_SUM] values of 8 bytes: small messages of all ranks */
  int *counts;    /* [4][size]: of the call that waits */
  uly__unit_type units[ULY_MAX_UNIT_TYPES];
  int next_unit;          /* the place that the next new type takes */
  uly__started **started; /* [num_started] */
  int num_started;
  int next_tag;
  uly__check *check; /* NULL: off */
  int64_t num_calls; /* checked calls so far */
};

bool uly__mpi_is_running(void);

/* Ends the job if it has more than one process, and returns ULY_ERR_COMM otherwise. */
uly_status uly__mpi_failed(int code, const char *call, const char *file, int line);

#define MPI_TRY(call)                                                                           \
  do {                                                                                          \
    int mpi_code_ = (call);                                                                     \
    if (mpi_code_ != MPI_SUCCESS) return uly__mpi_failed(mpi_code_, #call, __FILE__, __LINE__); \
  } while (0)

/* Waits until all requests are done, and counts the time. A rank that waits for more than a moment
 * sleeps between looks, so that others get its core; MPI would keep the core busy. */
uly_status uly__mpi_wait(const uly__group *group, int num, MPI_Request *requests);
/* Finds out whether all requests are done; never waits. */
uly_status uly__mpi_test(int num, MPI_Request *requests, bool *done);

/* Finds or makes the type of unit_bytes bytes. Types are kept, since plans use few. */
uly_status uly__unit_type_of(uly__group *group, int64_t unit_bytes, MPI_Datatype *type);

/* Tells MPI about an exchange: four lists of [size], made of one array. */
typedef struct uly__exchange_counts {
  int *send, *send_offsets, *recv, *recv_offsets;
} uly__exchange_counts;

/* Fills counts, [4][size], for MPI, and counts the traffic. A rank's own block is left out: it is
 * copied by uly__copy_own, which has more threads than MPI. */
uly_status uly__take_blocks(uly__group *group, uly_traffic kind, int64_t unit_bytes,
                            const uly__blocks *send_blocks, const uly__blocks *recv_blocks,
                            int *counts, uly__exchange_counts *out);
/* Refuses one buffer for both ends of a collective exchange. MPI takes two buffers with one address
 * for the same buffer, so an empty one gets an address of its own. */
uly_status uly__part_buffers(const uly__group *group, const void **send,
                             const uly__blocks *send_blocks, void **recv,
                             const uly__blocks *recv_blocks);
void uly__copy_own(const uly__group *group, uly__stream *stream, int64_t unit_bytes,
                   const void *send, const uly__blocks *send_blocks, void *recv,
                   const uly__blocks *recv_blocks);

/* Begins every collective. The format describes the call: its name, and what all ranks must pass
 * alike. */
#define BEGIN_COLLECTIVE(group, ...)                                    \
  do {                                                                  \
    ULY_TRY(uly__check_online(group));                                  \
    if ((group)->check) ULY_TRY(uly__check_call((group), __VA_ARGS__)); \
  } while (0)

/* Refuses an offline group. */
uly_status uly__check_online(const uly__group *group);

/* Makes room for calls that are started. uly__started_free ends those that are under way, unless
 * `leave` is set: then they are left until the process ends, and so is their memory. */
uly_status uly__started_create(uly__group *group, int num);
void uly__started_free(uly__group *group, bool leave);

/* --- ULYSSES_CHECK=collectives. (check_mpi.c) */

/* Finds out whether the environment of rank 0 asks for it. */
uly_status uly__check_wanted(const uly__group *group, bool *wanted);
/* Makes a check for this group, unless it has only one rank. */
uly_status uly__check_create(uly__group *group);
/* Compares a call with those of the other ranks. */
uly_status uly__check_call(uly__group *group, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Compares the end of the group. Returns false if calls have differed, now or before, and says so
 * on standard error if this call found it. */
bool uly__check_end(uly__group *group);
void uly__check_free(uly__group *group);

#endif
