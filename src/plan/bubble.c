/* Plays the schedules of a pipeline: see bubble.h. */
#include "plan/bubble.h"

#include <math.h>
#include <stdlib.h>

/* The most micro-batches per stage that are played. Each further one takes as long as the work of
 * the busiest stage on it. */
enum { MOST_PLAYED = 8 };

/* A play of all schedules. Chunk v of stage s is number v S + s of the model. */
typedef struct play {
  int num_stages, num_chunks; /* S, V */
  int64_t num_micro_batches;
  uly__schedule *schedules; /* [S] */
  int64_t *next;            /* [S]: the stage's next pass */
  double *now;              /* [S]: when the stage's latest pass ended */
  double *length[2];        /* [S V]: of a pass over a chunk, by operation */
  double *ended[2];         /* [S V][micro-batches]; negative: not yet */
} play;

static void free_play(play *p) {
  for (int s = 0; p->schedules && s < p->num_stages; s++) uly__schedule_destroy(&p->schedules[s]);
  for (int i = 0; i < 2; i++) {
    free(p->length[i]);
    free(p->ended[i]);
  }
  free(p->schedules);
  free(p->next);
  free(p->now);
}

static uly_status make_play(const uly__run *run, play *p) {
  size_t stages = (size_t)p->num_stages, chunks = stages * (size_t)p->num_chunks;
  size_t passes = chunks * (size_t)p->num_micro_batches;
  p->schedules = calloc(stages, sizeof *p->schedules);
  p->next = calloc(stages, sizeof *p->next);
  p->now = calloc(stages, sizeof *p->now);
  for (int i = 0; i < 2; i++) {
    p->length[i] = calloc(chunks, sizeof *p->length[i]);
    p->ended[i] = calloc(passes, sizeof *p->ended[i]);
    if (!p->length[i] || !p->ended[i]) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a play");
    for (size_t k = 0; k < passes; k++) p->ended[i][k] = -1;
  }
  if (!p->schedules || !p->next || !p->now) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a play");
  for (int s = 0; s < p->num_stages; s++) {
    uly__schedule_desc desc = {.num_stages = p->num_stages,
                               .stage = s,
                               .num_chunks = p->num_chunks,
                               .ahead = run->model_run.ahead,
                               .num_micro_batches = p->num_micro_batches,
                               .forward_only = uly__model_is_forward_only(run->model)};
    ULY_TRY(uly__schedule_create(&desc, &p->schedules[s]));
  }
  return ULY_OK;
}

/* Sets how long the passes over the chunks of a stage take. The head runs at the beginning of
 * backward. A run that only goes forward has no backward passes, and a third of the head's work. */
static uly_status set_lengths(const uly__run *run, play *p, int s) {
  const uly__model *model = run->model;
  bool trains = !uly__model_is_forward_only(model);
  uly__model_work work = uly__model_find_work(model, run->model_run.recompute);
  uly__deal deal = uly__model_deal(model, run->mesh, &run->model_run);
  uly__stage layers;
  ULY_TRY(uly__stage_deal(&deal, s, &layers));
  for (int v = 0; v < p->num_chunks; v++) {
    int number = v * p->num_stages + s;
    double num = uly__chunk_layers(layers.chunks[v]);
    double head = uly__chunk_has_head(layers.chunks[v], &model->config) ? work.head : 0;
    p->length[ULY_FORWARD][number] = num * work.forward + (trains ? 0 : head / 3);
    p->length[ULY_BACKWARD][number] = trains ? num * work.backward + head : 0;
  }
  return ULY_OK;
}

static double *ended_of(const play *p, uly__operation operation, int number, int64_t micro_batch) {
  return &p->ended[operation][number * p->num_micro_batches + micro_batch];
}

/* Returns when what a pass needs has been made; negative: not yet. */
static double find_needed(const play *p, uly__schedule_item pass, int number) {
  bool is_last = number == p->num_stages * p->num_chunks - 1;
  if (pass.operation == ULY_FORWARD)
    return number == 0 ? 0 : *ended_of(p, ULY_FORWARD, number - 1, pass.micro_batch);
  return is_last ? *ended_of(p, ULY_FORWARD, number, pass.micro_batch)
                 : *ended_of(p, ULY_BACKWARD, number + 1, pass.micro_batch);
}

/* Makes the passes of a stage for as long as they can begin; returns whether it made any. */
static bool advance(play *p, int s) {
  const uly__schedule *schedule = &p->schedules[s];
  int64_t before = p->next[s];
  for (; p->next[s] < schedule->num_items; p->next[s]++) {
    uly__schedule_item pass = schedule->items[p->next[s]];
    int number = pass.chunk * p->num_stages + s;
    double needed = find_needed(p, pass, number);
    if (needed < 0) break;
    p->now[s] = fmax(p->now[s], needed) + p->length[pass.operation][number];
    *ended_of(p, pass.operation, number, pass.micro_batch) = p->now[s];
  }
  return p->next[s] > before;
}

/* Plays all passes. */
static void play_all(play *p) {
  bool advances = true;
  while (advances) {
    advances = false;
    for (int s = 0; s < p->num_stages; s++) advances |= advance(p, s);
  }
}

/* Returns the part of the time in which the stages idle, when `more` micro-batches follow those
 * that were played. */
static double find_idle(const play *p, int64_t more) {
  double longest = 0, most = 0, all = 0;
  for (int s = 0; s < p->num_stages; s++) {
    double work = 0;
    for (int v = 0; v < p->num_chunks; v++)
      work += p->length[ULY_FORWARD][v * p->num_stages + s] +
              p->length[ULY_BACKWARD][v * p->num_stages + s];
    longest = fmax(longest, p->now[s]);
    most = fmax(most, work);
    all += work;
  }
  double time = longest + (double)more * most;
  return 1 - (double)(p->num_micro_batches + more) * all / (p->num_stages * time);
}

uly_status uly__plan_bubble(const uly__run *run, double *bubble) {
  bool trains = !uly__model_is_forward_only(run->model);
  int64_t most = MOST_PLAYED * (int64_t)uly_mesh_pp(run->mesh);
  int64_t num = trains ? run->passes : uly__run_eval_sequences(run);
  play p = {.num_stages = uly_mesh_pp(run->mesh),
            .num_chunks = run->model->stage.num_chunks,
            .num_micro_batches = num < most ? num : most};
  *bubble = 0;
  if (p.num_stages == 1) return ULY_OK;
  uly_status status = make_play(run, &p);
  for (int s = 0; s < p.num_stages && status == ULY_OK; s++) status = set_lengths(run, &p, s);
  if (status == ULY_OK) {
    play_all(&p);
    *bubble = find_idle(&p, num - p.num_micro_batches);
  }
  free_play(&p);
  return status;
}
