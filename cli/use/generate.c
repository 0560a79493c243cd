/* ulysses generate: a trained model continues a prompt, and its output is printed as it comes. All
 * ranks run this file together, and draw the same tokens; rank 0 prints. */
#include <jansson.h>
#include <stdlib.h>

#include "commands/commands.h"
#include "common/clock.h"
#include "common/say.h"
#include "job/signals.h"
#include "job/starter.h"
#include "job/terminal.h"
#include "options/messages.h"
#include "use/prompt.h"

typedef struct generation {
  trained trained;
  bool is_first;
  prompt prompt;
  uly_mesh *mesh;
  uly_generator *generator;
  int64_t num_generated;
  int32_t *tokens;           /* [max_tokens], for --json */
  double *log_probabilities; /* the same */
  bool is_ended;             /* by the end of a document */
  bool stopped;              /* by a signal */
  double seconds;            /* from the first token to the last */
} generation;

/* ----------------------------------------------------------------------------- output */

/* Prints a token as its byte or its number, and flushes it so that a reader can follow. */
static void print_token(const generation *g, int32_t token) {
  if (!g->is_first || g->trained.options.json) return;
  if (g->trained.vocab == BYTE_VOCAB) {
    putchar(token);
  } else {
    printf("%s%d", g->num_generated > 0 ? " " : "", (int)token);
  }
  fflush(stdout);
}

static uly_status print_json(const generation *g) {
  json_t *tokens = json_array(), *log_probabilities = json_array();
  uly_generator_report report = {.size = sizeof report};
  (void)uly_generator_get_report(g->generator, &report);
  for (int64_t i = 0; i < g->num_generated; i++) {
    json_array_append_new(tokens, json_integer(g->tokens[i]));
    json_array_append_new(log_probabilities, json_real(g->log_probabilities[i]));
  }
  json_t *json = json_pack("{s:I, s:o, s:o, s:b, s:b, s:f, s:f}", "prompt_tokens",
                           (json_int_t)g->prompt.count, "tokens", tokens, "log_probabilities",
                           log_probabilities, "is_ended", g->is_ended, "is_stopped", g->stopped,
                           "prompt_s", report.prompt_seconds, "generate_s", g->seconds);
  int failed = !json || json_dumpf(json, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER) != 0;
  putchar('\n');
  json_decref(json);
  return failed ? uly_fail(ULY_ERR_IO, "standard output cannot be written") : ULY_OK;
}

/* Ends the output. Text has no more bytes than were generated, except for a line end before a
 * shell's prompt. */
static uly_status end_output(const generation *g) {
  if (!g->is_first) return ULY_OK;
  if (g->trained.options.json) return print_json(g);
  int width;
  if (g->trained.vocab != BYTE_VOCAB || terminal_is_live(&width)) putchar('\n');
  return ULY_OK;
}

static void print_speed(const generation *g) {
  uly_generator_report report = {.size = sizeof report};
  (void)uly_generator_get_report(g->generator, &report);
  double rate = g->seconds > 0 ? (double)(g->num_generated - 1) / g->seconds : 0;
  if (!g->is_first) return;
  fflush(stdout);
  /* The text ends without a line end of ours. */
  fprintf(stderr, "\nprompt      %lld tokens in %.3f s\ngenerated   %lld tokens, %.1f tokens/s\n",
          (long long)g->prompt.count, report.prompt_seconds, (long long)g->num_generated, rate);
}

/* ------------------------------------------------------------------------- generation */

/* Returns whether the token ends a document: the vocabulary must be that of bytes, and the model
 * must have been trained on documents. */
static bool ends_document(const generation *g, int32_t token) {
  const uly_train_config *config = &g->trained.options.config;
  if (config->pack && config->doc_end >= 0) return token == config->doc_end;
  return g->trained.vocab == BYTE_VOCAB && token == END_OF_DOCUMENT;
}

/* Draws, prints and keeps a token. */
static uly_status draw(generation *g, int32_t *token) {
  const options *o = &g->trained.options;
  double log_probability;
  int64_t place = g->prompt.count + g->num_generated;
  uly_status status = uly_sample(uly_generator_logits(g->generator), g->trained.vocab, &o->sampling,
                                 place, token, &log_probability);
  if (status != ULY_OK) return status;
  g->is_ended = ends_document(g, *token);
  if (!g->is_ended) print_token(g, *token);
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
  uly_status status = uly_mesh_agree(g->mesh, drawn);
  bool goes_on = !g->is_ended && g->num_generated < g->trained.options.max_tokens;
  if (status == ULY_OK && goes_on) g->stopped = trained_is_stopped(g->mesh);
  return status;
}

static uly_status go_on(generation *g) {
  int64_t max_tokens = g->trained.options.max_tokens;
  int32_t token;
  uly_status status = agree_on_draw(g, draw(g, &token));
  double begin = clock_seconds();
  while (status == ULY_OK && !g->is_ended && !g->stopped && g->num_generated < max_tokens) {
    status = uly_generator_next(g->generator, token);
    if (status == ULY_OK) status = agree_on_draw(g, draw(g, &token));
    g->seconds = clock_seconds() - begin;
  }
  return status;
}

static uly_status make_room(generation *g) {
  const options *o = &g->trained.options;
  if (!o->json) return ULY_OK;
  g->tokens = calloc((size_t)o->max_tokens, sizeof *g->tokens);
  g->log_probabilities = calloc((size_t)o->max_tokens, sizeof *g->log_probabilities);
  if (g->tokens && g->log_probabilities) return ULY_OK;
  return uly_fail(ULY_ERR_MEMORY, "no memory for %lld tokens: use fewer --max-tokens",
                  (long long)o->max_tokens);
}

static uly_status generate(generation *g) {
  const options *o = &g->trained.options;
  uly_mesh_desc ranks = o->mesh;
  ranks.dp = 1;
  uly_status status = uly_mesh_create(&ranks, &g->mesh);
  if (status != ULY_OK) return status;
  status = prompt_read(&g->trained, &g->prompt);
  if (status == ULY_OK) status = make_room(g);
  status = uly_mesh_agree(g->mesh, status);
  /* The last token that is drawn needs no logits after it. */
  if (status == ULY_OK) {
    status = uly_generator_create(g->mesh, &o->config, g->trained.checkpoint, g->prompt.tokens,
                                  g->prompt.count, o->max_tokens - 1, &g->generator);
  }
  if (status == ULY_OK) status = go_on(g);
  if (status == ULY_OK) status = end_output(g);
  if (status == ULY_OK) print_speed(g);
  return status;
}

int command_generate(int argc, char *const *argv) {
  signals_catch(); /* starting takes a while, too */
  uly_status status = starter_init();
  if (status != ULY_OK) {
    print_failure(last_failure());
    return uly_status_exit_code(status);
  }
  generation g = {.is_first = uly_world_rank() == 0};
  status = trained_find(&g.trained, GENERATE, argc, argv);
  if (status == ULY_OK) status = generate(&g);
  if (status != ULY_OK && g.is_first) print_failure(last_failure());
  uly_generator_destroy(g.generator);
  uly_mesh_destroy(g.mesh);
  free(g.prompt.tokens);
  free(g.tokens);
  free(g.log_probabilities);
  trained_free(&g.trained);
  uly_finalize();
  return status == ULY_OK && g.stopped ? EXIT_STOPPED : uly_status_exit_code(status);
}
