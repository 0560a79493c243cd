/* Runs a schedule: see pipeline.h. */
#include "model/pipeline.h"

#include "base/spans.h"
#include "model/passes.h"

/* A run under way. */
typedef struct runner {
  uly__model *model;
  uly__pipeline_run *run;
  int64_t prepared; /* micro-batch; -1: none */
  uly__micro_batch current;
  /* The remaining members are by operation: the first item whose receive has not been started; */
  int64_t next_to_receive[2];
  /* the number of passes whose receives have been started, */
  int64_t num_receives[2];
  /* and the number of passes that have been made. */
  int64_t num_made[2];
} runner;

static void note(runner *r, uly_status status) { uly__model_note(r->model, status); }

/* Returns the room in which the k-th backward pass works. */
static int room_of(const runner *r, int64_t k) { return (int)(k % r->model->boundary.num_rooms); }

/* Starts to receive what a forward pass begins with. Without backward passes, the place may still
 * be the one that an earlier output leaves from. */
static void receive_input(runner *r, uly__schedule_item pass) {
  uly__boundary *boundary = &r->model->boundary;
  uly__stash *stash = &r->model->stash;
  uly__chunk_passages *of = &boundary->chunks[pass.chunk];
  int64_t place = uly__stash_input_place(stash, pass.chunk, pass.micro_batch);
  if (!stash->keeps_x) note(r, uly__boundary_wait(boundary, false, &of->departures[place]));
  note(r, uly__boundary_receive(boundary, pass, stash->chunks[pass.chunk].inputs[place],
                                &of->arrivals[place]));
}

static void receive_gradient(runner *r, uly__schedule_item pass) {
  uly__boundary *boundary = &r->model->boundary;
  int room = room_of(r, r->num_receives[ULY_BACKWARD]);
  note(r, uly__boundary_wait(boundary, false, &boundary->departures[room]));
  note(r, uly__boundary_receive(boundary, pass, boundary->rooms[room], &boundary->arrivals[room]));
}

/* Starts receives of passes of one kind, until `ahead` passes that have not been made have
 * theirs. */
static void receive_ahead(runner *r, uly__operation operation, int64_t ahead) {
  const uly__schedule *schedule = r->run->schedule;
  int64_t goal = r->num_made[operation] + ahead;
  while (r->num_receives[operation] < goal && r->next_to_receive[operation] < schedule->num_items) {
    uly__schedule_item pass = schedule->items[r->next_to_receive[operation]++];
    if (pass.operation != operation) continue;
    if (operation == ULY_FORWARD)
      receive_input(r, pass);
    else
      receive_gradient(r, pass);
    r->num_receives[operation]++;
  }
}

/* Prepares the micro-batch of a pass, unless the pass before was over the same one. */
static void prepare(runner *r, int64_t micro_batch) {
  if (r->prepared == micro_batch) return;
  r->current = r->run->prepare(r->run->context, micro_batch);
  r->prepared = micro_batch;
  uly__input_set_tokens(&r->model->input, r->current.tokens, r->current.labels);
}

static bool has_head(const runner *r, int chunk) {
  return uly__chunk_has_head(r->model->stage.chunks[chunk], &r->model->config);
}

static void forward(runner *r, uly__schedule_item pass) {
  uly__model *model = r->model;
  uly__boundary *boundary = &model->boundary;
  const uly__chunk_passages *of = &boundary->chunks[pass.chunk];
  int64_t input = uly__stash_input_place(&model->stash, pass.chunk, pass.micro_batch);
  int64_t output = uly__stash_output_place(&model->stash, pass.chunk, pass.micro_batch);
  int last = model->stage.chunks[pass.chunk].last;
  bool goes_back = r->run->scale != 0.0f;
  if (boundary->size > 1) {
    note(r, uly__boundary_wait(boundary, true, &of->arrivals[input]));
    note(r, uly__boundary_wait(boundary, false, &of->departures[output]));
  }
  note(r, uly__stash_use(&model->stash, pass.chunk, pass.micro_batch, false));
  uly__pass_forward(model, pass.chunk, goes_back);
  if (pass.chunk == 0) r->run->pairs += model->pairs;
  if (!goes_back && r->current.losses && has_head(r, pass.chunk))
    uly__pass_losses(model, r->current.losses);
  if (boundary->size > 1)
    note(r, uly__boundary_send(boundary, pass, uly__stash_at(&model->stash, last)->x,
                               &of->departures[output]));
}

static void backward(runner *r, uly__schedule_item pass) {
  uly__model *model = r->model;
  uly__boundary *boundary = &model->boundary;
  int room = room_of(r, r->num_made[ULY_BACKWARD]);
  note(r, uly__boundary_wait(boundary, true, &boundary->arrivals[room]));
  note(r, uly__stash_use(&model->stash, pass.chunk, pass.micro_batch, true));
  model->d_x = boundary->rooms[room];
  uly__pass_backward(model, pass.chunk, r->run->scale, r->current.losses);
  note(r, uly__boundary_send(boundary, pass, model->d_x, &boundary->departures[room]));
}

static void run_pass(runner *r, uly__schedule_item pass) {
  if (r->model->boundary.size > 1) {
    receive_ahead(r, pass.operation, 2);
    receive_ahead(r, pass.operation == ULY_FORWARD ? ULY_BACKWARD : ULY_FORWARD, 1);
  }
  prepare(r, pass.micro_batch);
  r->model->micro_batch = pass.micro_batch;
  if (pass.operation == ULY_FORWARD)
    forward(r, pass);
  else
    backward(r, pass);
  r->num_made[pass.operation]++;
}

void uly__pipeline_run_schedule(uly__model *model, uly__pipeline_run *run) {
  runner r = {.model = model, .run = run, .prepared = -1};
  double begin = uly__now(), waited = model->boundary.wait_seconds;
  run->pairs = 0;
  note(&r, uly__boundary_begin(&model->boundary));
  for (int64_t i = 0; i < run->schedule->num_items; i++) run_pass(&r, run->schedule->items[i]);
  note(&r, uly__boundary_finish(&model->boundary));
  run->seconds = uly__now() - begin;
  run->wait_seconds = model->boundary.wait_seconds - waited;
}
