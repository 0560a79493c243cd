/* Shared by the tests of the program's options. */
#ifndef ULY_OPTIONS_TESTING_H
#define ULY_OPTIONS_TESTING_H

#include "bench/bench_options.h"
#include "checkpoint/checkpoint_options.h"
#include "options/options_table.h"
#include "plan/plan_options.h"
#include "testing.h"
#include "train/train_options.h"

#define NUM_ARGS(...) ((int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)))

/* The options of any command of the tests. */
typedef union any_options {
  options base;
  struct {
    options before_run;
    run_options run;
  }; /* of train, plan and bench */
  train_options train;
  plan_options plan;
  bench_options bench;
  checkpoint_options checkpoint;
} any_options;

/* Parses the flags given after the command into a fresh o. */
#define PARSE(o, cmd, ...) \
  parse_options(o, cmd, NUM_ARGS(__VA_ARGS__), (char *const[]){__VA_ARGS__})

uly_status parse_options(any_options *o, command cmd, int argc, char *const *argv);

void expect_ok(uly_status status);

/* The status and every one of the texts, the last of which is NULL; frees o. */
void expect_failure(any_options *o, uly_status got, uly_status want, ...);

#define EXPECT_USAGE_ERROR(cmd, args, ...)                                                     \
  do {                                                                                         \
    any_options failing;                                                                       \
    uly_status got_ = parse_options(&failing, cmd, NUM_ARGS args, (char *const[])BRACED args); \
    expect_failure(&failing, got_, ULY_ERR_CONFIG, __VA_ARGS__, NULL);                         \
  } while (0)
#define BRACED(...) \
  { __VA_ARGS__ }

/* A configuration file of this test; the teardown removes it. */
extern char yaml_path[256];
void write_yaml(const char *text);
int remove_yaml(void **state);

/* What a function prints into a stream; to be freed. */
char *printed_by(void (*print)(FILE *file));

#endif
