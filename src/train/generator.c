/* A trained model that continues a sequence: a forward-only run whose model decodes. */
#include <limits.h>
#include <stdlib.h>

#include "base/spans.h"
#include "data/folder.h"
#include "device/device.h"
#include "train/calls.h"
#include "train/checkpoint.h"
#include "train/settings.h"

struct uly_generator {
  uly_trainer *trainer;
  /* The token that ends a document, which the next document does not see; -1: none. */
  int64_t end;
  /* Tokens of all documents; the cache holds those of the latest. */
  int64_t num_tokens, max_tokens;
  int32_t latest;
  double load_seconds, prompt_seconds;
};

/* The fewest tokens of a prompt that goes through all at once, and the leaves with which its bits
 * are the same on as many ranks. */
enum { LEAST_AT_ONCE = 64, LEAVES = 8 };

/* Checks what the ranks must agree about before anything is planned. */
static uly_status check(const uly_mesh *mesh, const uly_train_config *config, const char *dir,
                        const int32_t *tokens, int64_t count, int64_t max_new, int64_t *vocab) {
  uly__model_config model;
  ULY_TRY(uly__settings_check(config, ULY_USE_GENERATION));
  if (uly_mesh_dp(mesh) != 1)
    ULY_FAIL(ULY_ERR_CONFIG,
             "mesh.dp is %d, but one group of ranks generates one sequence: use mesh.dp = 1",
             uly_mesh_dp(mesh));
  if (count < 1 || max_new < 0 || count > (int64_t)1 << 40 || max_new > (int64_t)1 << 40)
    ULY_FAIL(ULY_ERR_CONFIG,
             "a prompt of %lld tokens and %lld more are asked for, but the prompt needs at least "
             "one, and neither may be more than 2^40",
             (long long)count, (long long)max_new);
  bool by_length =
      config->sparse.pattern == ULY_SPARSE_STRIDED || config->sparse.pattern == ULY_SPARSE_FIXED;
  if (by_length && config->sparse.local == 0)
    ULY_FAIL(ULY_ERR_CONFIG,
             "config.sparse.local is 0, but with a %s pattern it follows from the length of the "
             "sequences that the model was trained with: give their number",
             config->sparse.pattern == ULY_SPARSE_FIXED ? "fixed" : "strided");
  ULY_TRY(uly__checkpoint_model(dir, &model));
  *vocab = model.vocab;
  for (int64_t i = 0; i < count; i++)
    if (tokens[i] < 0 || tokens[i] >= model.vocab)
      ULY_FAIL(ULY_ERR_CONFIG,
               "token %lld of the prompt is %d, but the vocabulary of the model has %lld tokens",
               (long long)i, (int)tokens[i], (long long)model.vocab);
  return ULY_OK;
}

/* Checks that all ranks have the same prompt, since otherwise they would not wait for each
 * other. */
static uly_status check_same(uly_mesh *mesh, const uly_train_config *config, const int32_t *tokens,
                             int64_t count, int64_t max_new) {
  int64_t counts[] = {count, max_new};
  ULY_TRY(uly_mesh_same(mesh, counts, sizeof counts, "number of tokens"));
  ULY_TRY(uly__settings_same(mesh, config, ULY_USE_GENERATION));
  return uly_mesh_same(mesh, tokens, (size_t)count * sizeof *tokens, "prompt");
}

/* Keeps only what a generator uses. Sums over a prompt are reproducible if the number of ranks
 * allows it. */
static uly_train_config settle(const uly_mesh *mesh, const uly_train_config *from,
                               const char *model, int64_t count, int64_t end) {
  uly_train_config config = uly__train_config_default();
  uly__settings_take(&config, from, ULY_USE_GENERATION);
  config.model = model;
  config.seq_len = count;
  config.doc_end = end;
  config.forward_only = 1;
  config.leaves = LEAVES;
  config.reproducible = count >= LEAST_AT_ONCE && LEAVES % uly_mesh_sp(mesh) == 0;
  return config;
}

/* Returns where the document of the latest token begins. */
static int64_t find_document(const int32_t *tokens, int64_t count, int64_t end) {
  int64_t begin = count - 1;
  if (end < 0) return 0;
  while (begin > 0 && tokens[begin - 1] != end) begin--;
  return begin;
}

static int64_t find_end(const uly_train_config *config, int64_t vocab) {
  if (!config->pack) return -1;
  return config->doc_end < 0 && vocab == ULY_TEXT_VOCAB ? ULY_TEXT_END_OF_DOCUMENT
                                                        : config->doc_end;
}

static uly_status read_prompt(uly_trainer *trainer, const int32_t *tokens, int64_t count) {
  uly__model *model = trainer->model;
  model->failure = ULY_OK;
  uly__zero_forget_weights(model->zero);
  if (model->use == ULY_MODEL_PREFILLS) {
    const uly_token_run *runs = uly__token_cut_runs(model->cut, model->cut->rank);
    int32_t *mine = trainer->windows;
    for (int r = 0; r < model->cut->num_runs; mine += runs[r++].count)
      memcpy(mine, tokens + runs[r].begin, (size_t)runs[r].count * sizeof *tokens);
    uly__prefill(trainer->decoder, trainer->windows);
  } else {
    for (int64_t i = 0; i < count; i++) uly__decode(trainer->decoder, tokens[i]);
  }
  return uly__agree(uly__mesh_world(trainer->mesh), model->failure);
}

static uly_status make(uly_mesh *mesh, const uly_train_config *config, const char *dir,
                       const int32_t *tokens, int64_t count, int64_t max_new,
                       uly_generator *generator) {
  char model[PATH_MAX];
  double begin = uly__now();
  ULY_TRY(uly__agree(uly__mesh_world(mesh),
                     uly__path_join(model, sizeof model, dir, uly__config_file)));
  int64_t vocab = 0;
  ULY_TRY(
      uly__agree(uly__mesh_world(mesh), check(mesh, config, dir, tokens, count, max_new, &vocab)));
  ULY_TRY(check_same(mesh, config, tokens, count, max_new));
  generator->end = find_end(config, vocab);
  generator->num_tokens = count;
  generator->max_tokens = count + max_new;
  generator->latest = tokens[count - 1];
  int64_t document = find_document(tokens, count, generator->end);
  tokens += document;
  count -= document;
  uly_train_config own = settle(mesh, config, model, count, generator->end);
  uly__decode_run decode = {.capacity = count + max_new, .prefills = count >= LEAST_AT_ONCE};
  ULY_TRY(uly__trainer_make(mesh, &own, decode, &generator->trainer));
  ULY_TRY(uly__trainer_load(generator->trainer, dir));
  generator->load_seconds = uly__now() - begin;
  begin = uly__now();
  ULY_TRY(read_prompt(generator->trainer, tokens, count));
  generator->prompt_seconds = uly__now() - begin;
  return ULY_OK;
}

uly_status uly__generator_create(uly_mesh *mesh, const uly_train_config *config, const char *dir,
                                 const int32_t *tokens, int64_t count, int64_t max_new,
                                 uly_generator **out) {
  uly_generator *generator = calloc(1, sizeof *generator);
  uly_status status =
      uly__agree(uly__mesh_world(mesh), uly__check_memory(generator, "a generator"));
  if (status == ULY_OK && generator)
    status = make(mesh, config, dir, tokens, count, max_new, generator);
  if (status != ULY_OK)
    uly_generator_destroy(generator);
  else
    *out = generator;
  return status;
}

void uly_generator_destroy(uly_generator *generator) {
  if (!generator) return;
  uly_trainer_destroy(generator->trainer);
  free(generator);
}

const uly_mesh *uly__generator_mesh(const uly_generator *generator) {
  return generator->trainer->mesh;
}

const float *uly__generator_logits(const uly_generator *generator) {
  return generator->trainer->decoder->all_logits;
}

static uly_status check_token(const uly_generator *generator, int32_t token) {
  int64_t vocab = generator->trainer->model->config.vocab;
  if (token < 0 || token >= vocab)
    ULY_FAIL(ULY_ERR_CONFIG,
             "token %d cannot be added, because the vocabulary of the model has %lld tokens",
             (int)token, (long long)vocab);
  if (generator->num_tokens >= generator->max_tokens)
    ULY_FAIL(ULY_ERR_CONFIG, "all the %lld tokens are there that the generator was made for",
             (long long)generator->max_tokens);
  return ULY_OK;
}

uly_status uly__generator_next(uly_generator *generator, int32_t token) {
  uly__model *model = generator->trainer->model;
  uly__group *world = uly__mesh_world(generator->trainer->mesh);
  ULY_TRY(uly__agree(world, check_token(generator, token)));
  ULY_TRY(uly__same(world, (uint64_t)token, "token"));
  if (generator->latest == generator->end) generator->trainer->decoder->cache.num_tokens = 0;
  uly__decode(generator->trainer->decoder, token);
  generator->num_tokens++;
  generator->latest = token;
  return uly__agree(world, model->failure);
}

uly_generator_report uly__generator_report(const uly_generator *generator) {
  const uly_trainer *trainer = generator->trainer;
  uly_generator_report report = {.vocab = trainer->model->config.vocab,
                                 .num_tokens = generator->num_tokens,
                                 .num_params = trainer->model->params.count,
                                 .load_seconds = generator->load_seconds,
                                 .prompt_seconds = generator->prompt_seconds};
  for (int i = 0; i < ULY_NUM_ARENAS; i++)
    report.arena_bytes[i] = uly__trainer_bytes(trainer, (uly_arena)i);
  return report;
}
