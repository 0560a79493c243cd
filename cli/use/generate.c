/* ulysses generate: a trained model continues a prompt, and its output is printed as it comes. All
 * ranks run this file together, and draw the same tokens; rank 0 prints. */
#include <stdlib.h>

#include "common/any_rank.h"
#include "common/clock.h"
#include "common/print_json.h"
#include "common/try.h"
#include "job/signals.h"
#include "job/terminal.h"
#include "options/run_command.h"
#include "use/output.h"

typedef struct generation {
  trained trained;
  generate_options options;
  bool is_first; /* rank 0 */
  vocabulary vocabulary;
  prompt prompt;
  output output; /* of rank 0 */
  uly_mesh *mesh;
  uly_generator *generator;
  int64_t num_generated;
  int32_t *tokens;           /* [max_tokens], for --json */
  double *log_probabilities; /* the same */
  bool is_ended;             /* by an end-of-text token */
  bool is_stopped;           /* by a signal */
  double seconds;            /* from the first token to the last */
} generation;

/* ----------------------------------------------------------------------------- output */

static uly_status print_json(const generation *g) {
  json_t *tokens = json_array(), *log_probabilities = json_array();
  uly_generator_report report = {.size = sizeof report};
  (void)uly_generator_get_report(g->generator, &report);
  for (int64_t i = 0; i < g->num_generated; i++) {
    json_array_append_new(tokens, json_integer(g->tokens[i]));
    json_array_append_new(log_probabilities, json_real(g->log_probabilities[i]));
  }
  json_t *json = json_pack(
      "{s:I, s:o?, s:o, s:o, s:b, s:b, s:f, s:f, s:f}", "prompt_tokens",
      (json_int_t)g->prompt.count, "text", output_json(&g->output, g->tokens), "tokens", tokens,
      "log_probabilities", log_probabilities, "is_ended", g->is_ended, "is_stopped", g->is_stopped,
      "prompt_s", report.prompt_seconds, "generate_s", g->seconds, "load_s", report.load_seconds);
  return print_json_line(json);
}

/* Ends the output. Text has no more bytes than were generated, except for a line end before a
 * shell's prompt. */
static uly_status end_output(generation *g) {
  const vocabulary *v = &g->vocabulary;
  if (!g->is_first) return ULY_OK;
  if (g->options.use.json) return print_json(g);
  int width;
  output_end(&g->output);
  if ((!v->tokenizer && !v->is_bytes) || terminal_is_live(&width)) putchar('\n');
  return ULY_OK;
}

static void print_speed(const generation *g) {
  uly_generator_report report = {.size = sizeof report};
  (void)uly_generator_get_report(g->generator, &report);
  double rate = g->seconds > 0 ? (double)(g->num_generated - 1) / g->seconds : 0;
  if (!g->is_first) return;
  fflush(stdout);
  /* The text ends without a newline, so this begins with one. */
  fprintf(stderr, "\nprompt      %lld tokens in %.3f s\ngenerated   %lld tokens, %.1f tokens/s\n",
          (long long)g->prompt.count, report.prompt_seconds, (long long)g->num_generated, rate);
}

/* ------------------------------------------------------------------------- generation */

/* Draws, prints and keeps a token. */
static uly_status draw(generation *g, int32_t *token) {
  double log_probability;
  int64_t place = g->prompt.count + g->num_generated;
  TRY(uly_sample(uly_generator_logits(g->generator), g->trained.vocab, &g->options.sampling, place,
                 token, &log_probability));
  g->is_ended = !g->options.ignore_eos && vocabulary_is_end(&g->vocabulary, *token);
  if (!g->is_ended && g->is_first) TRY(output_add(&g->output, *token));
  if (g->tokens) {
    g->tokens[g->num_generated] = *token;
    g->log_probabilities[g->num_generated] = log_probability;
  }
  g->num_generated++;
  return ULY_OK;
}

/* Makes all ranks agree on the status of a draw, which may fail on one rank alone, and on whether a
 * signal came to any of them. */
static uly_status agree_on_draw(generation *g, uly_status drawn) {
  TRY(uly_mesh_agree(g->mesh, drawn));
  bool goes_on = !g->is_ended && g->num_generated < g->options.max_tokens;
  if (goes_on) g->is_stopped = any_rank(g->mesh, signals_received() != 0);
  return ULY_OK;
}

static uly_status go_on(generation *g) {
  int32_t token;
  TRY(agree_on_draw(g, draw(g, &token)));
  double begin = clock_seconds();
  while (!g->is_ended && !g->is_stopped && g->num_generated < g->options.max_tokens) {
    TRY(uly_generator_next(g->generator, token));
    TRY(agree_on_draw(g, draw(g, &token)));
    g->seconds = clock_seconds() - begin;
  }
  return ULY_OK;
}

/* Generates everything. If that fails after text was printed, the message gets its own line. */
static uly_status generate_tokens(generation *g) {
  uly_status status = go_on(g);
  if (status == ULY_OK || !g->output.is_printed || g->num_generated == 0) return status;
  putchar('\n');
  fflush(stdout);
  return status;
}

static uly_status make_room(generation *g) {
  size_t num = (size_t)g->options.max_tokens;
  if (!g->options.use.json) return ULY_OK;
  g->tokens = calloc(num, sizeof *g->tokens);
  g->log_probabilities = calloc(num, sizeof *g->log_probabilities);
  if (g->tokens && g->log_probabilities) return ULY_OK;
  return uly_fail(ULY_ERR_MEMORY, "no memory for %zu tokens: use a smaller --max-tokens", num);
}

/* Reads the files that each rank reads by itself. */
static uly_status read_prompt(generation *g) {
  const generate_options *o = &g->options;
  TRY(prompt_check(o));
  TRY(vocabulary_open(o, &g->trained, &g->vocabulary));
  TRY(prompt_read(o, &g->vocabulary, &g->prompt));
  g->output.is_printed = g->is_first && !o->use.json;
  g->output.skip_special = o->skip_special != 0;
  if (g->is_first) TRY(output_begin(&g->output, &g->vocabulary, &g->prompt));
  return make_room(g);
}

static uly_status generate(void *state, int argc, char *const *argv) {
  generation *g = state;
  run_options *run = &g->options.use.run;
  g->is_first = uly_world_rank() == 0;
  TRY(trained_find(&g->trained, &g->options.use, GENERATE, argc, argv));
  /* --seed is the seed of these draws; those of the run stay as they were. */
  g->options.sampling.seed = run->config.seed;
  run->config.seed = g->trained.seed;
  run->mesh.dp = 1;
  TRY(uly_mesh_create(&run->mesh, &g->mesh));
  TRY(uly_mesh_agree(g->mesh, read_prompt(g)));
  /* The last token that is drawn needs no logits after it. */
  TRY(uly_generator_create(g->mesh, &run->config, g->trained.checkpoint, g->prompt.tokens,
                           g->prompt.count, g->options.max_tokens - 1, &g->generator));
  TRY(generate_tokens(g));
  TRY(end_output(g));
  print_speed(g);
  return ULY_OK;
}

static void clean_up(void *state) {
  generation *g = state;
  uly_generator_destroy(g->generator);
  uly_mesh_destroy(g->mesh);
  output_free(&g->output);
  vocabulary_close(&g->vocabulary);
  free(g->prompt.tokens);
  free(g->tokens);
  free(g->log_probabilities);
  free(g->trained.checkpoint);
  options_free(&g->options.use.base);
}

int command_generate(int argc, char *const *argv) {
  generation g = {.is_stopped = false};
  ranks_work work = {.run = generate, .clean_up = clean_up, .is_stopped = &g.is_stopped};
  signals_catch(); /* since starting takes a while, too */
  return run_on_ranks(&work, &g, argc, argv);
}
