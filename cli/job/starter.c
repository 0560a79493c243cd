/* Finds out who started this process. A program that is started by the mpirun of another MPI than
 * its own knows nothing of the other processes: each is a job of its own, and does all the work.
 * Only the environment tells. */
#include "job/starter.h"

#include <stdlib.h>
#include <string.h>

#ifndef ULY_MPIRUN
#define ULY_MPIRUN "mpirun"
#endif

/* The variables that a kind of starter sets. The size may be missing; then all that is known is
 * that there are more processes than the number of the rank. Slurm's variables of an allocation
 * (SLURM_NTASKS) are of no use, since a batch script, which runs once, has them too. */
typedef struct kind {
  const char *size, *rank, *starter, *advice;
} kind;

static const kind mpis[] = {
    {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "Open MPI's mpirun", NULL},
    {"MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK", "MVAPICH's mpirun", NULL},
    {"PMI_SIZE", "PMI_RANK", "MPICH's mpiexec, or a relative of it,", NULL},
    {NULL, "PMIX_RANK", "a starter with PMIx", NULL},
};

/* srun may start any program, including mpirun. */
static const kind slurm = {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "srun",
                           "srun --mpi=TYPE, for a TYPE of 'srun --mpi=list' that this MPI knows"};

enum { NUM_MPIS = sizeof mpis / sizeof mpis[0], MAX_SIZE = 1 << 30 };

static int joined_size = 1; /* ranks of MPI's world */

/* Returns the number in an environment variable if there is one that is at least `least`, and -1
 * otherwise. */
static int read_number(const char *name, int least) {
  const char *text = name ? getenv(name) : NULL;
  if (!text || *text < '0' || *text > '9') return -1;
  char *end;
  long number = strtol(text, &end, 10);
  return *end == '\0' && number >= least && number <= MAX_SIZE ? (int)number : -1;
}

static bool read_claim(const kind *k, starter_claim *claim) {
  int rank = read_number(k->rank, 0), size = read_number(k->size, 1);
  bool is_there = k->size ? size > 0 : rank > 0;
  *claim = (starter_claim){.variable = NULL};
  if (!is_there) return false;
  *claim = (starter_claim){.variable = k->size ? k->size : k->rank,
                           .starter = k->starter,
                           .advice = k->advice,
                           .is_least = !k->size,
                           .size = k->size ? size : rank + 1,
                           .rank = rank < 0 ? 0 : rank};
  claim->value = getenv(claim->variable);
  return true;
}

/* Compares the starters with MPI. A starter that agrees with MPI is the one that counts: others
 * left their variables from further out, as when a script that mpirun has started starts mpirun. */
bool starter_contradicts(int mpi_size, starter_claim *claim) {
  starter_claim one;
  *claim = (starter_claim){.variable = NULL};
  if (mpi_size > 1) return false;
  for (int i = 0; i < NUM_MPIS; i++) {
    if (!read_claim(&mpis[i], &one)) continue;
    if (one.size == mpi_size) return false;
    if (!claim->variable) *claim = one;
  }
  if (!claim->variable) (void)read_claim(&slurm, claim);
  return claim->variable && claim->size != mpi_size;
}

bool is_first_process(void) {
  starter_claim claim;
  for (int i = 0; i < NUM_MPIS; i++)
    if (read_claim(&mpis[i], &claim)) return claim.rank == 0;
  return !read_claim(&slurm, &claim) || claim.rank == 0;
}

uly_status starter_join(void) {
  uly_status status = uly_init(NULL, NULL);
  joined_size = uly_world_size();
  return status;
}

uly_status starter_check(void) {
  starter_claim claim;
  char mpi[128];
  if (!starter_contradicts(joined_size, &claim)) return ULY_OK;
  starter_mpi_name(mpi, sizeof mpi);
  return uly_fail(
      ULY_ERR_CONFIG,
      "%s=%.20s says that %s started %s%d processes, but MPI (%s) says that this one is alone: "
      "each of them would do the whole job. Start them with the mpirun of that MPI (%s; 'ulysses "
      "launch --ranks %d' finds it)%s%s, or unset %s if each is to run by itself",
      claim.variable, claim.value, claim.starter, claim.is_least ? "at least " : "", claim.size,
      mpi, ULY_MPIRUN, claim.size, claim.advice ? ", or with " : "",
      claim.advice ? claim.advice : "", claim.variable);
}

uly_status starter_init(void) {
  uly_status status = starter_join();
  if (status == ULY_OK) status = starter_check();
  if (status != ULY_OK) uly_finalize();
  return status;
}

bool starter_is_joined(void) {
  starter_claim claim;
  return !starter_contradicts(joined_size, &claim);
}
