/* Starts and ends MPI for this process, and handles MPI's failures. */
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "base/spans.h"
#include "comm/group_mpi.h"

static int mpi_started_here;

bool uly__mpi_is_running(void) {
  int started = 0, ended = 0;
  MPI_Initialized(&started);
  if (started) MPI_Finalized(&ended);
  return started && !ended;
}

uly_status uly__mpi_failed(int code, const char *call, const char *file, int line) {
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  (void)uly__fail(ULY_ERR_COMM, file, line, "line %d: MPI: %s: %.*s", line, call, length, text);
  if (uly_world_size() > 1) {
    uly__warn("%s; the job ends, since other ranks may be waiting", uly_last_error());
    uly_abort(uly_status_exit_code(ULY_ERR_COMM));
  }
  return ULY_ERR_COMM;
}

uly_status uly_init(int *argc, char ***argv) {
  int started = 0, ended = 0, provided = 0;
  MPI_TRY(MPI_Initialized(&started));
  MPI_TRY(MPI_Finalized(&ended));
  if (ended)
    ULY_FAIL(ULY_ERR_CONFIG, "MPI has ended, and cannot be started twice: call uly_finalize last");
  if (started) return ULY_OK;
  MPI_TRY(MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided));
  mpi_started_here = 1;
  if (provided < MPI_THREAD_FUNNELED)
    ULY_FAIL(ULY_ERR_COMM,
             "this MPI cannot be used by a program with threads (MPI_THREAD_FUNNELED): install a "
             "build that supports them");
  return ULY_OK;
}

void uly_finalize(void) {
  if (mpi_started_here && uly__mpi_is_running()) MPI_Finalize();
}

void uly_abort(int exit_code) {
  if (uly__mpi_is_running()) MPI_Abort(MPI_COMM_WORLD, exit_code);
  exit(exit_code);
}

int uly_world_size(void) {
  int size = 1;
  if (uly__mpi_is_running()) MPI_Comm_size(MPI_COMM_WORLD, &size);
  return size;
}

int uly_world_rank(void) {
  int rank = 0;
  if (uly__mpi_is_running()) MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

/* MPICH declares statuses as an array, so GCC takes MPI_STATUSES_IGNORE for one without room. */
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wstringop-overflow"
#endif

uly_status uly__mpi_test(int num, MPI_Request *requests, bool *done) {
  int flag = 0;
  MPI_TRY(MPI_Testall(num, requests, &flag, MPI_STATUSES_IGNORE));
  *done = flag;
  return ULY_OK;
}

/* How many seconds a rank with a core of its own checks again and again before it sleeps; and how
 * many nanoseconds the first sleep lasts and, where ranks outnumber cores, the longest. */
static const double patience = 1e-3;
enum { FIRST_SLEEP = 20000, LONGEST_SLEEP = 500000 };

/* Where ranks outnumber cores: how many times a rank checks before it sleeps, if it yields between
 * the checks; how many seconds a yield may take; and how many yields a rank leaves out after one
 * that took longer. */
enum { LOOKS_IN_A_CROWD = 20, YIELDS_LEFT_OUT = 100 };
static const double short_yield = 0.5e-3;

/* Yields the core to whichever process waits for it and returns true; or, for a while after a yield
 * that took long, returns false at once. A rank that yields to a program that computes gets the
 * core back only at the end of a time slice, whereas a rank that sleeps gets it as soon as it
 * wakes. */
static bool yield(void) {
  static int left_out;
  if (left_out > 0) {
    left_out--;
    return false;
  }
  double begin = uly__now();
  sched_yield();
  if (uly__now() - begin > short_yield) left_out = YIELDS_LEFT_OUT;
  return true;
}

static uly_status wait_for(const uly__group *group, int num, MPI_Request *requests) {
  double begin = uly__now();
  long sleep = FIRST_SLEEP;
  for (int looks = 0;; looks++) {
    bool done = false;
    ULY_TRY(uly__mpi_test(num, requests, &done));
    if (done) return ULY_OK;
    if (group->is_crowded ? looks < LOOKS_IN_A_CROWD && yield() : uly__now() - begin < patience)
      continue;
    (void)nanosleep(&(struct timespec){.tv_nsec = sleep}, NULL);
    if (group->is_crowded && sleep < LONGEST_SLEEP) sleep += sleep / 4;
  }
}

uly_status uly__mpi_wait(const uly__group *group, int num, MPI_Request *requests) {
  double begin = uly__now();
  ULY_TRY(wait_for(group, num, requests));
  group->traffic->wait_seconds += uly__now() - begin;
  return ULY_OK;
}

uly_status uly__check_online(const uly__group *group) {
  if (group->mpi == MPI_COMM_NULL)
    ULY_FAIL(ULY_ERR_INTERNAL, "a call on the %s group, which is offline: it only plans",
             group->name);
  return ULY_OK;
}
