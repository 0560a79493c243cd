/* Tests schedules by playing them: each stage does its passes in order, and a pass begins when what
 * it needs has been made and sent. So a schedule that would hang is found, and the time that the
 * stages idle is compared with the formulas of the papers. Passes have the same length, or backward
 * twice that of forward. */
#include <math.h>

#include "parallel/schedule.h"
#include "testing.h"

enum { MAX_STAGES = 9, MAX_CHUNKS = 4, MAX_MICRO_BATCHES = 40 };
enum { MAX_NUMBERS = MAX_STAGES * MAX_CHUNKS };

/* A number of stages, chunks of each, and micro-batches. */
typedef struct shape {
  int stages, chunks;
  int64_t micro_batches;
  int ahead;
} shape;

/* How long what a pass has made takes to the next stage. */
static double latency;

static uly__schedule make(shape s, int stage, bool forward_only) {
  uly__schedule_desc desc = {s.stages, stage, s.chunks, s.ahead, s.micro_batches, forward_only};
  uly__schedule schedule;
  assert_ok(uly__schedule_create(&desc, &schedule));
  return schedule;
}

/* The play: when each pass over each chunk of the model ended; negative: not yet. */
typedef struct play {
  double ended[2][MAX_NUMBERS][MAX_MICRO_BATCHES];
  double now[MAX_STAGES]; /* of each stage */
  int64_t next[MAX_STAGES];
} play;

/* Returns when a pass can begin, or -1 if what it needs has not been made. */
static double find_begin(const play *p, shape s, int stage, uly__schedule_item item) {
  int number = item.chunk * s.stages + stage, last = s.stages * s.chunks - 1;
  double needed = 0;
  if (item.operation == ULY_FORWARD) {
    if (number > 0) needed = p->ended[ULY_FORWARD][number - 1][item.micro_batch];
  } else {
    bool turns = number == last;
    needed =
        p->ended[turns ? ULY_FORWARD : ULY_BACKWARD][turns ? number : number + 1][item.micro_batch];
    if (p->ended[ULY_FORWARD][number][item.micro_batch] < 0) return -1;
    if (turns) return fmax(needed, p->now[stage]);
  }
  if (needed < 0) return -1;
  return fmax(number > 0 || item.operation == ULY_BACKWARD ? needed + latency : 0, p->now[stage]);
}

/* Does a stage's passes for as long as they can begin. Returns how many it did. */
static int advance(play *p, shape s, int stage, const uly__schedule *schedule,
                   const double length[2]) {
  int done = 0;
  for (; p->next[stage] < schedule->num_items; p->next[stage]++, done++) {
    uly__schedule_item item = schedule->items[p->next[stage]];
    double begin = find_begin(p, s, stage, item);
    double *ended = &p->ended[item.operation][item.chunk * s.stages + stage][item.micro_batch];
    if (begin < 0) break;
    assert_true(*ended < 0); /* each pass is made once */
    *ended = p->now[stage] = begin + length[item.operation];
  }
  return done;
}

/* Plays the schedules of all stages, and returns how long they take. */
static double run(shape s, const uly__schedule *schedules, const double length[2]) {
  static play p;
  int done;
  double longest = 0;
  memset(&p, 0, sizeof p);
  for (int i = 0; i < 2; i++)
    for (int n = 0; n < MAX_NUMBERS; n++)
      for (int m = 0; m < MAX_MICRO_BATCHES; m++) p.ended[i][n][m] = -1;
  do {
    done = 0;
    for (int stage = 0; stage < s.stages; stage++)
      done += advance(&p, s, stage, &schedules[stage], length);
  } while (done > 0);
  for (int stage = 0; stage < s.stages; stage++) {
    if (p.next[stage] != schedules[stage].num_items)
      fail_msg("%d stages, %d chunks, %lld micro-batches: stage %d hangs at its pass %lld",
               s.stages, s.chunks, (long long)s.micro_batches, stage, (long long)p.next[stage]);
    longest = fmax(longest, p.now[stage]);
  }
  return longest;
}

/* Checks that a stage makes each pass once, and both kinds in the order that all stages have. */
static void check_order(shape s, const uly__schedule *schedule, const uly__schedule *first) {
  int64_t num = s.micro_batches * s.chunks, at[2] = {0, 0};
  int64_t last[2][MAX_CHUNKS];
  memset(last, 0xff, sizeof last);
  assert_int_equal(schedule->num_items, 2 * num);
  for (int64_t i = 0; i < schedule->num_items; i++) {
    uly__schedule_item item = schedule->items[i], other;
    do other = first->items[at[item.operation]++];
    while (other.operation != item.operation);
    assert_int_equal(item.chunk, other.chunk);
    assert_int_equal(item.micro_batch, other.micro_batch);
    /* In a chunk, micro-batches keep their order. */
    assert_int_equal(item.micro_batch, ++last[item.operation][item.chunk]);
  }
}

/* Checks how many micro-batches are in flight. */
static void check_in_flight(shape s, int stage, const uly__schedule *schedule) {
  int64_t total = 0;
  for (int v = 0; v < s.chunks; v++) {
    int64_t most = 1, now = 0;
    for (int64_t i = 0; i < schedule->num_items; i++) {
      if (schedule->items[i].chunk != v) continue;
      now += schedule->items[i].operation == ULY_FORWARD ? 1 : -1;
      most = now > most ? now : most;
    }
    assert_int_equal(now, 0);
    assert_int_equal(uly__schedule_in_flight(schedule, v), most);
    total += most;
  }
  int64_t later = (1 + s.ahead) * (s.stages - stage - 1) + 1;
  if (s.chunks == 1) assert_int_equal(total, later < s.micro_batches ? later : s.micro_batches);
}

static void check(shape s) {
  uly__schedule schedules[MAX_STAGES];
  static const double even[2] = {1, 1}, twice[2] = {1, 2};
  for (int stage = 0; stage < s.stages; stage++) {
    schedules[stage] = make(s, stage, false);
    check_order(s, &schedules[stage], &schedules[0]);
    check_in_flight(s, stage, &schedules[stage]);
  }
  double work = (double)(s.micro_batches * s.chunks), idle = s.stages - 1;
  double times[2] = {run(s, schedules, even), run(s, schedules, twice)};
  /* (S - 1) / (M + S - 1) of the time, and (S - 1) / (V M + S - 1) with V chunks. With fewer
   * micro-batches than stages, interleaving gains less. */
  bool is_formula = s.chunks == 1 || s.micro_batches >= s.stages;
  for (int i = 0; i < 2; i++) {
    double expected = (i == 0 ? 2 : 3) * (work + idle);
    assert_true(is_formula ? fabs(times[i] - expected) < 1e-9 : times[i] >= expected - 1e-9);
  }
  for (int stage = 0; stage < s.stages; stage++) uly__schedule_destroy(&schedules[stage]);
}

static void test_training(void **state) {
  (void)state;
  for (int stages = 1; stages <= MAX_STAGES; stages++)
    for (int chunks = 1; chunks <= (stages > 1 ? MAX_CHUNKS : 1); chunks++)
      for (int64_t m = 1; m <= MAX_MICRO_BATCHES; m++)
        for (int ahead = 0; ahead < (chunks > 1 ? 1 : 3); ahead++)
          check((shape){stages, chunks, m, ahead});
}

/* Plays all stages where sending takes time; returns the time of each further micro-batch. */
static double find_period(shape s, const double length[2]) {
  double times[2];
  for (int i = 0; i < 2; i++) {
    uly__schedule schedules[MAX_STAGES];
    s.micro_batches = (2 + i) * 2 * s.stages;
    for (int stage = 0; stage < s.stages; stage++) schedules[stage] = make(s, stage, false);
    times[i] = run(s, schedules, length);
    for (int stage = 0; stage < s.stages; stage++) uly__schedule_destroy(&schedules[stage]);
  }
  return (times[1] - times[0]) / (2 * s.stages);
}

/* Where a message takes as long as a quarter or half of both passes, one pass ahead for each later
 * stage hides it, and none does not. An interleaved schedule hides it without more, until messages
 * take a quarter of a chunk's passes. */
static void test_latency(void **state) {
  (void)state;
  static const double twice[2] = {1, 2};
  for (int stages = 2; stages <= 5; stages++)
    for (int i = 1; i <= 2; i++) {
      latency = 0.75 * i;
      assert_true(find_period((shape){stages, 1, 0, 0}, twice) > 3.3);
      assert_true(fabs(find_period((shape){stages, 1, 0, 1}, twice) - 3) < 1e-9);
      for (int chunks = 2; i == 1 && chunks <= MAX_CHUNKS; chunks++) {
        double period = find_period((shape){stages, chunks, 0, 0}, twice);
        if (fabs(period - 3 * chunks) > 1e-9)
          fail_msg("%d stages, %d chunks: %g", stages, chunks, period);
      }
    }
  latency = 0;
}

/* Without backward passes nothing is in flight, and the stages work one behind the other. */
static void test_forward(void **state) {
  (void)state;
  static const double even[2] = {1, 1};
  for (int stages = 1; stages <= 5; stages++)
    for (int chunks = 1; chunks <= (stages > 1 ? 3 : 1); chunks++)
      for (int64_t m = 1; m <= 12; m++) {
        uly__schedule schedules[MAX_STAGES];
        shape s = {stages, chunks, m, 0};
        for (int stage = 0; stage < stages; stage++) {
          schedules[stage] = make(s, stage, true);
          assert_int_equal(schedules[stage].num_items, m * chunks);
          for (int v = 0; v < chunks; v++)
            assert_int_equal(uly__schedule_in_flight(&schedules[stage], v), 1);
        }
        double time = run(s, schedules, even);
        if (chunks == 1 || m >= stages)
          assert_true(fabs(time - (double)(m * chunks + stages - 1)) < 1e-9);
        for (int stage = 0; stage < stages; stage++) uly__schedule_destroy(&schedules[stage]);
      }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_training),
                                     cmocka_unit_test(test_forward),
                                     cmocka_unit_test(test_latency)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
