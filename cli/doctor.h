/* ulysses doctor: what its files share. Each rank finds facts about its machine and itself; all ranks get the facts of
 * all, and come to the same findings; rank 0 prints them. */
#ifndef ULYSSES_CLI_DOCTOR_H
#define ULYSSES_CLI_DOCTOR_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "options.h"
#include "ulysses.h"

enum { DOCTOR_TEXT = 128, DOCTOR_MAX_FINDINGS = 32 };

/* What a rank finds: plain bytes without gaps, unused ones 0, so that they can be gathered and compared. Bytes and
 * counts are -1 where the system does not tell, or sets no limit. */
typedef struct doctor_facts {
  char host[DOCTOR_TEXT];
  struct doctor_machine { /* the same for all ranks of a host, and for hosts of a kind */
    char cpu[DOCTOR_TEXT], instructions[DOCTOR_TEXT];
    char mpi[DOCTOR_TEXT], onednn[DOCTOR_TEXT];
    char huge_pages[DOCTOR_TEXT]; /* "always", "madvise", "never" */
    char tmp[DOCTOR_TEXT];
    int packages, numa_nodes, cores, hardware_threads;
    int64_t memory, memory_limit; /* the limit: of the control group */
    int64_t locked_limit;         /* memory that a process may lock */
    int64_t cpu_quota;            /* of the control group, in thousandths of a hardware thread */
    int64_t has_infiniband;
  } machine;
  char name[DOCTOR_TEXT]; /* that is hardest to find, of those that MPI asks for */
  int64_t name_ms;        /* that it takes to find it or to give up */
  uly_machine system;
  int64_t tmp_free, shm_free;
  int name_error; /* of getaddrinfo; 0: it is found */
  int tmp_error;  /* errno of an attempt to write a file there; 0: none */
  char kernels[DOCTOR_TEXT];
  char allowed[DOCTOR_TEXT]; /* hardware threads that the process may run on: "0-3,8" */
  cpu_set_t allowed_set;
  int threads; /* that it computes with */
} doctor_facts;

typedef enum verdict { VERDICT_OK, VERDICT_WARN, VERDICT_FAIL } verdict;

typedef struct finding {
  verdict verdict;
  const char *what;
  char text[1024]; /* what was found and, where that is not good, what to do */
} finding;

typedef struct doctor {
  options options;
  bool is_first; /* rank 0 */
  uly_mesh *world;
  int num_ranks;
  doctor_facts own;    /* of this rank */
  doctor_facts *facts; /* [num_ranks]; NULL where they were not gathered */
  finding findings[DOCTOR_MAX_FINDINGS];
  int num_findings;
} doctor;

/* Adds a finding. All ranks add the same ones; those beyond the limit are dropped. */
void doctor_find(doctor *d, verdict how, const char *what, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* The next host after that of rank `rank` (-1: the first), as its lowest rank; d->num_ranks: there is none. */
int doctor_next_host(const doctor *d, int rank);
bool doctor_same_host(const doctor *d, int a, int b);

/* "ranks 0-3, 7": those that are marked, cut where there are many. marks: [num_ranks] */
void doctor_list_ranks(const doctor *d, const bool *marks, char text[DOCTOR_TEXT]);

/* Fills in what is known without other ranks (doctor_machine.c). */
void doctor_look(doctor_facts *facts, const uly_mesh *world);
/* Parts of it: the version of oneDNN, and names. */
void doctor_onednn_version(char text[DOCTOR_TEXT]); /* doctor_onednn.c */
void doctor_look_at_names(doctor_facts *facts);     /* doctor_names.c */

/* Gathers the facts of all ranks. Collective. */
void doctor_gather(doctor *d);

/* Adds findings about threads, cores, memory, disks, names and kernels, from the facts alone
 * (doctor_checks.c). */
void doctor_check_facts(doctor *d);
void doctor_check_names(doctor *d); /* doctor_names.c */

/* Findings about a small and a large exchange, and a small attention (doctor_exchange.c). Collective. */
void doctor_check_exchange(doctor *d);

/* doctor_print.c */
void doctor_print(const doctor *d);
uly_status doctor_print_json(const doctor *d);

#endif
