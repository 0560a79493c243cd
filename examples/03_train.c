/* Trains through the C API: configures and creates a trainer, makes steps, evaluates, saves a
 * checkpoint, and continues from it.
 *
 * A small model learns a made-up text in a few seconds. Everything is written to the folder
 * 03_train.out. 03_train.md explains the program. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <ulysses.h>

#define OUT "03_train.out"

enum { STEPS = 12, SAVED_AT = 8 };

static void check(uly_status status) {
  if (status == ULY_OK) return;
  fprintf(stderr, "%s\n", uly_last_error());
  uly_abort(uly_status_exit_code(status));
}

/* Writes sentences of a few words each, drawn by a small random number generator. */
static uly_status write_text(const char *path, int num_sentences, unsigned state) {
  static const char *const words[] = {"the sea", "a ship", "the wind",
                                      "sings",   "sleeps", "returns"};
  FILE *file = fopen(path, "w");
  for (int i = 0; file && i < num_sentences; i++) {
    state = state * 1664525u + 1013904223u;
    fprintf(file, "%s %s. ", words[state >> 16 & 1], words[3 + (state >> 20) % 3]);
  }
  if (!file || fclose(file) != 0)
    return uly_fail(ULY_ERR_IO, "cannot write '%s': %s", path, strerror(errno));
  return ULY_OK;
}

static uly_status prepare(void) {
  if (mkdir(OUT, 0777) != 0 && errno != EEXIST)
    return uly_fail(ULY_ERR_IO, "cannot create '%s': %s", OUT, strerror(errno));
  uly_status status = write_text(OUT "/text.txt", 2000, 1);
  return status == ULY_OK ? write_text(OUT "/held_out.txt", 100, 2) : status;
}

/* Performs the steps up to `last`, and returns the loss of the last one. */
static double train(uly_trainer *trainer, int64_t last) {
  uly_step_report report = {.size = sizeof report};
  while (uly_trainer_steps_done(trainer) < last) check(uly_trainer_step(trainer, &report));
  return report.loss;
}

static double evaluate(uly_trainer *trainer) {
  uly_eval_report report = {.size = sizeof report};
  check(uly_trainer_evaluate(trainer, NULL, NULL, &report));
  return report.loss;
}

static void say(int rank, const char *what, int is_so) {
  if (rank == 0) printf("%s: %s\n", what, is_so ? "yes" : "no");
}

int main(int argc, char **argv) {
  uly_mesh *mesh = NULL;
  check(uly_init(&argc, &argv));
  check(uly_mesh_create(NULL, &mesh));
  int rank = uly_mesh_rank(mesh);

  /* One rank writes the text; all ranks agree on whether it could. */
  check(uly_mesh_agree(mesh, rank == 0 ? prepare() : ULY_OK));

  uly_train_config config;
  uly_train_config_default(&config, sizeof config);
  config.model = "llama-1m";
  config.data = OUT "/text.txt";
  config.eval_data = OUT "/held_out.txt";
  config.seq_len = 256;
  config.steps = STEPS;
  config.warmup = 2;
  config.lr = 3e-3;

  uly_trainer *trainer = NULL;
  check(uly_trainer_create(mesh, &config, &trainer));
  if (rank == 0)
    printf("%lld parameters, %lld sequences of %lld tokens\n",
           (long long)uly_trainer_num_params(trainer), (long long)uly_trainer_num_windows(trainer),
           (long long)config.seq_len);
  double first = train(trainer, 1);
  double loss = train(trainer, SAVED_AT);
  say(rank, "the loss begins near that of guessing, ln 257 = 5.5", first > 5 && first < 6.5);
  say(rank, "after 8 steps it is below 3.5", loss < 3.5);

  check(uly_trainer_save(trainer, OUT));
  double at_save = evaluate(trainer), at_end = train(trainer, STEPS);
  uly_trainer_destroy(trainer);

  /* Resume, as another program might do later, possibly on another number of ranks. */
  char newest[1000];
  check(uly_mesh_agree(mesh, uly_checkpoint_latest(OUT, newest, sizeof newest)));
  check(uly_trainer_create(mesh, &config, &trainer));
  check(uly_trainer_load(trainer, newest));
  if (rank == 0)
    printf("%s, step %lld of %d\n", newest, (long long)uly_trainer_steps_done(trainer), STEPS);
  say(rank, "evaluation after the resume gives the same bits", evaluate(trainer) == at_save);
  say(rank, "the last 4 steps give the same bits", train(trainer, STEPS) == at_end);

  uly_trainer_destroy(trainer);
  uly_mesh_destroy(mesh);
  uly_finalize();
  return 0;
}
