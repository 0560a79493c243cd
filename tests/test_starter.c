/* Compares what the environment says about the start of a process with what MPI says, in
 * environments as Open MPI 4.1, MPICH 4.0 and Slurm 22.05 make them. */
#include <stdlib.h>

#include "../cli/job/starter.h"
#include "testing.h"

static const char *const names[] = {"OMPI_COMM_WORLD_SIZE",
                                    "OMPI_COMM_WORLD_RANK",
                                    "MV2_COMM_WORLD_SIZE",
                                    "MV2_COMM_WORLD_RANK",
                                    "PMI_SIZE",
                                    "PMI_RANK",
                                    "PMIX_RANK",
                                    "PMIX_NAMESPACE",
                                    "SLURM_NTASKS",
                                    "SLURM_PROCID",
                                    "SLURM_STEP_NUM_TASKS",
                                    "SLURM_JOB_ID"};

/* "NAME=VALUE ..." and nothing else of that kind. */
static void set_environment(const char *text) {
  char copy[512], *rest = copy;
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) unsetenv(names[i]);
  snprintf(copy, sizeof copy, "%s", text);
  for (char *word; (word = strtok_r(rest, " ", &rest));) {
    char *value = strchr(word, '=');
    assert_non_null(value);
    *value = '\0';
    setenv(word, value + 1, 1);
  }
}

typedef struct row {
  const char *environment;
  int mpi_size;
  const char *variable; /* that contradicts; NULL: none does */
  int size;
  int is_first;
} row;

static const row rows[] = {
    {"", 1, NULL, 0, 1},
    /* Starters that MPI listens to. */
    {"OMPI_COMM_WORLD_SIZE=1 OMPI_COMM_WORLD_RANK=0 PMIX_RANK=0", 1, NULL, 0, 1},
    {"OMPI_COMM_WORLD_SIZE=3 OMPI_COMM_WORLD_RANK=2 PMIX_RANK=2", 3, NULL, 0, 0},
    {"PMI_SIZE=1 PMI_RANK=0", 1, NULL, 0, 1},
    {"PMI_SIZE=2 PMI_RANK=1", 2, NULL, 0, 0},
    {"SLURM_STEP_NUM_TASKS=4 SLURM_NTASKS=4 SLURM_PROCID=3 PMIX_RANK=3", 4, NULL, 0, 0},
    /* Those that it does not. */
    {"PMI_SIZE=2 PMI_RANK=0", 1, "PMI_SIZE", 2, 1},
    {"PMI_SIZE=2 PMI_RANK=1", 1, "PMI_SIZE", 2, 0},
    {"OMPI_COMM_WORLD_SIZE=3 OMPI_COMM_WORLD_RANK=0 PMIX_RANK=0", 1, "OMPI_COMM_WORLD_SIZE", 3, 1},
    {"MV2_COMM_WORLD_SIZE=8 MV2_COMM_WORLD_RANK=7 PMI_SIZE=8 PMI_RANK=7", 1, "MV2_COMM_WORLD_SIZE",
     8, 0},
    {"PMIX_RANK=2 PMIX_NAMESPACE=prterun-1", 1, "PMIX_RANK", 3, 0},
    {"SLURM_STEP_NUM_TASKS=2 SLURM_NTASKS=2 SLURM_PROCID=1", 1, "SLURM_STEP_NUM_TASKS", 2, 0},
    {"SLURM_STEP_NUM_TASKS=2 SLURM_NTASKS=2 SLURM_PROCID=0", 1, "SLURM_STEP_NUM_TASKS", 2, 1},
    /* A batch script, and the shells of salloc without and with a step of their own. */
    {"SLURM_JOB_ID=7 SLURM_NTASKS=4 SLURM_PROCID=0", 1, NULL, 0, 1},
    {"SLURM_JOB_ID=7 SLURM_NTASKS=4", 1, NULL, 0, 1},
    {"SLURM_JOB_ID=7 SLURM_NTASKS=4 SLURM_STEP_NUM_TASKS=1 SLURM_PROCID=0", 1, NULL, 0, 1},
    /* mpirun in these, which srun has helped to start its ranks; and the wrong one. */
    {"SLURM_NTASKS=4 SLURM_STEP_NUM_TASKS=1 SLURM_PROCID=0 PMI_SIZE=2 PMI_RANK=1", 1, "PMI_SIZE", 2,
     0},
    {"SLURM_STEP_NUM_TASKS=3 SLURM_PROCID=2 OMPI_COMM_WORLD_SIZE=1 OMPI_COMM_WORLD_RANK=0", 1, NULL,
     0, 1},
    /* mpirun in a script that another one has started. */
    {"OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=1 PMI_SIZE=1 PMI_RANK=0", 1, NULL, 0, 0},
    /* Each by itself on purpose: one variable is unset, as the message says. */
    {"PMI_RANK=1", 1, NULL, 0, 1},
    {"SLURM_NTASKS=2 SLURM_PROCID=1", 1, NULL, 0, 1},
    /* What makes no sense says nothing. */
    {"PMI_SIZE=many PMI_RANK=1", 1, NULL, 0, 1},
    {"PMI_SIZE= PMI_RANK=1", 1, NULL, 0, 1},
    {"PMI_SIZE=0 PMI_RANK=1", 1, NULL, 0, 1},
    {"PMI_SIZE=-2 PMI_RANK=1", 1, NULL, 0, 1},
    {"PMI_SIZE=99999999999999999999 PMI_RANK=1", 1, NULL, 0, 1},
    {"SLURM_STEP_NUM_TASKS=2(x3) SLURM_PROCID=1", 1, NULL, 0, 1},
    {"PMI_SIZE=2", 1, "PMI_SIZE", 2, 1},
};

static void test_rows(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    const row *r = &rows[i];
    starter_claim claim;
    set_environment(r->environment);
    bool contradicts = starter_contradicts(r->mpi_size, &claim);
    if (contradicts != (r->variable != NULL)) fail_msg("'%s': %d", r->environment, contradicts);
    if (is_first_process() != r->is_first) fail_msg("'%s': first or not", r->environment);
    if (!contradicts) continue;
    assert_string_equal(claim.variable, r->variable);
    assert_string_equal(claim.value, getenv(r->variable));
    assert_int_equal(claim.size, r->size);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
