/* Declares what the files of ulysses doctor share. Each rank collects facts about its machine and
 * itself; all ranks get the facts of all ranks, and reach the same findings; rank 0 prints them. */
#ifndef ULYSSES_CLI_DOCTOR_H
#define ULYSSES_CLI_DOCTOR_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "doctor/doctor_options.h"

enum { DOCTOR_TEXT = 128, DOCTOR_MAX_FINDINGS = 32 };

/* The facts of a rank: plain bytes without gaps, with unused ones 0, so that they can be gathered
 * and compared. Bytes and counts are -1 if the system does not tell them, or sets no limit. */
typedef struct doctor_facts {
  char host[DOCTOR_TEXT];
  struct doctor_machine { /* the same on similar hosts */
    char cpu[DOCTOR_TEXT], instructions[DOCTOR_TEXT];
    char mpi[DOCTOR_TEXT], onednn[DOCTOR_TEXT];
    char huge_pages[DOCTOR_TEXT]; /* "always", "madvise", "never" */
    char tmp[DOCTOR_TEXT];
    int packages, numa_nodes, cores, hardware_threads;
    int64_t memory, memory_limit; /* limit of the control group */
    int64_t locked_limit;         /* memory that may be locked */
    /* Thousandths of a hardware thread that the control group allows. */
    int64_t cpu_quota;
    int64_t has_infiniband;
  } machine;
  /* MPI looks up several host names: the one that took longest, or was not found. */
  char name[DOCTOR_TEXT];
  int64_t name_ms; /* time until found or given up */
  uly_machine system;
  int64_t tmp_free, shm_free;
  int name_error; /* of getaddrinfo; 0: found */
  /* errno of an attempt to write a file there; 0: it worked. */
  int tmp_error;
  char kernels[DOCTOR_TEXT];
  /* Hardware threads that the process may run on, such as "0-3,8". */
  char allowed[DOCTOR_TEXT];
  cpu_set_t allowed_set;
  int threads; /* threads that compute */
} doctor_facts;

typedef enum verdict { VERDICT_OK, VERDICT_WARN, VERDICT_FAIL } verdict;

typedef struct finding {
  verdict verdict;
  const char *what;
  /* Says what was found and, if that is not good, what to do. */
  char text[1024];
} finding;

typedef struct doctor {
  doctor_options options;
  bool is_first; /* rank 0 */
  uly_mesh *world;
  int num_ranks;
  doctor_facts own;    /* of this rank */
  doctor_facts *facts; /* [num_ranks]; NULL: not gathered */
  finding findings[DOCTOR_MAX_FINDINGS];
  int num_findings;
} doctor;

/* Adds a finding. All ranks add the same findings; those beyond the limit are dropped. */
void doctor_find(doctor *d, verdict how, const char *what, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Returns the lowest rank of the host that follows the host of `rank` (or of the first host, if
 * `rank` is -1); d->num_ranks if there is none. */
int doctor_next_host(const doctor *d, int rank);
bool doctor_same_host(const doctor *d, int a, int b);

/* Lists the marked ranks, as in "ranks 0-3, 7", and cuts the list if it is long. marks:
 * [num_ranks] */
void doctor_list_ranks(const doctor *d, const bool *marks, char text[DOCTOR_TEXT]);

/* Fills in what a rank knows without the others (doctor_machine.c). */
void doctor_look(doctor_facts *facts, const uly_mesh *world);
/* Fill in the version of oneDNN, and the names. */
void doctor_onednn_version(char text[DOCTOR_TEXT]); /* doctor_onednn.c */
void doctor_look_at_names(doctor_facts *facts);     /* doctor_names.c */

/* Gathers the facts of all ranks. Collective. */
void doctor_gather(doctor *d);

/* Adds findings about threads, cores, memory, disks, names and kernels, from the facts alone
 * (doctor_checks.c). */
void doctor_check_facts(doctor *d);
void doctor_check_names(doctor *d); /* doctor_names.c */

/* Adds findings about a small and a large exchange, and a small attention (doctor_exchange.c).
 * Collective. */
void doctor_check_exchange(doctor *d);

/* Prints the facts and findings (doctor_print.c). */
void doctor_print(const doctor *d);
uly_status doctor_print_json(const doctor *d);

#endif
