/* ulysses doctor: describes the machines, MPI, threads and CPU features, and says whether a small
 * exchange works. */
#include "doctor/doctor.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/say.h"
#include "common/try.h"
#include "job/starter.h"
#include "options/messages.h"

/* Returns a hash of the program's own file, or 0 if it cannot be read. */
static uint64_t hash_program(void) {
  FILE *file = fopen("/proc/self/exe", "rb");
  if (!file) return 0;
  static char piece[1 << 16];
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  for (size_t got; (got = fread(piece, 1, sizeof piece, file)) > 0;)
    XXH3_64bits_update(&state, piece, got);
  fclose(file);
  return XXH3_64bits_digest(&state);
}

/* Returns whether all ranks run the same program. A different program may know different facts, so
 * nothing more is exchanged with it. */
static bool check_program(doctor *d) {
  struct program {
    char version[32];
    uint64_t hash;
  } program = {ULY_VERSION_STRING, hash_program()};
  if (uly_mesh_same(d->world, &program, sizeof program, "ulysses program") != ULY_OK) {
    doctor_find(d, VERDICT_FAIL, "program", "%s: install the same one on all hosts",
                last_failure());
    return false;
  }
  doctor_find(d, VERDICT_OK, "program", "%s, the same file on all ranks", ULY_VERSION_STRING);
  return true;
}

/* Finds out whether the processes that were started together have found each other. */
static void check_start(doctor *d) {
  bool is_whole = starter_check() == ULY_OK;
  doctor_find(d, is_whole ? VERDICT_OK : VERDICT_FAIL, "start", "%s",
              is_whole ? "MPI knows all processes that were started together" : last_failure());
}

/* Examines everything. Returns ULY_OK whatever was found. */
static uly_status examine(doctor *d) {
  check_start(d);
  if (!check_program(d)) return ULY_OK;
  d->facts = calloc((size_t)d->num_ranks, sizeof *d->facts);
  uly_status status = d->facts ? ULY_OK : uly_fail(ULY_ERR_MEMORY, "no memory for facts");
  TRY(uly_mesh_agree(d->world, status));
  doctor_look(&d->own, d->world);
  omp_set_num_threads(d->own.threads); /* as in a training run */
  doctor_gather(d);
  doctor_check_facts(d);
  doctor_check_exchange(d);
  return ULY_OK;
}

static uly_status read_options(doctor *d, int argc, char *const *argv) {
  TRY(options_init(&d->options.base, DOCTOR));
  return options_parse(&d->options.base, argc, argv);
}

static uly_status print(const doctor *d) {
  if (!d->is_first) return ULY_OK;
  if (d->options.json) return doctor_print_json(d);
  doctor_print(d);
  return ULY_OK;
}

static uly_status run(doctor *d, int argc, char *const *argv) {
  TRY(uly_mesh_create(NULL, &d->world));
  d->num_ranks = uly_mesh_size(d->world);
  TRY(uly_mesh_agree(d->world, read_options(d, argc, argv)));
  uly_status status = examine(d);
  return uly_mesh_agree(d->world, status == ULY_OK ? print(d) : status);
}

int command_doctor(int argc, char *const *argv) {
  uly_status status = starter_join();
  if (status != ULY_OK) {
    print_last_failure();
    return uly_status_exit_code(status);
  }
  doctor *d = calloc(1, sizeof *d);
  if (!d) {
    print_failure("no memory for what the ranks find");
    uly_abort(uly_status_exit_code(ULY_ERR_MEMORY));
    return 1;
  }
  d->is_first = uly_world_rank() == 0;
  status = run(d, argc, argv);
  if (status != ULY_OK && d->is_first) print_last_failure();
  int code = uly_status_exit_code(status);
  for (int i = 0; i < d->num_findings; i++)
    if (d->findings[i].verdict == VERDICT_FAIL) code = uly_status_exit_code(ULY_ERR_COMM);
  uly_mesh_destroy(d->world);
  options_free(&d->options.base);
  free(d->facts);
  free(d);
  uly_finalize();
  return code;
}
