/* Continues a sequence with a trained model: see generator.h. A prompt that is long enough goes
 * through in one pass; a shorter one is decoded token by token, like everything after it. */
#include "infer/generator.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/folder.h"
#include "base/spans.h"
#include "data/token_file.h"
#include "device/device.h"
#include "device/process.h"
#include "infer/decode.h"
#include "model/weights.h"
#include "plan/fit.h"
#include "store/attends_alike.h"
#include "store/checkpoint_load.h"
#include "store/checkpoint_model.h"
#include "store/settings.h"

/* Tells how a generator decodes: how many tokens are cached, and whether the prompt goes through at
 * once. */
typedef struct decoding {
  int64_t capacity;
  bool prefills;
} decoding;

struct uly_generator {
  uly_mesh *mesh;
  char model[PATH_MAX]; /* what run.config.model points to */
  uly__run run;
  uly__decoder *decoder;
  /* [T], in the host's memory: this rank's tokens of a prompt that goes through at once. */
  int32_t *prompt;
  /* The token that ends a document, beyond which the next document does not see; -1 if there is
   * none. */
  int64_t end;
  /* The number of tokens of all documents; the cache holds those of the latest document. */
  int64_t num_tokens, max_tokens;
  int32_t latest;
  double load_seconds, prompt_seconds;
};

/* The fewest tokens of a prompt that goes through at once, and the number of leaves with which its
 * bits are the same on up to that many ranks. */
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
  if (uly__mesh_extent(mesh, ULY_AXIS_RING) > 1)
    ULY_FAIL(ULY_ERR_CONFIG,
             "mesh.%s is %d, but generation divides heads among the ranks, and not the keys: use "
             "mesh.ulysses or mesh.tp",
             mesh->gathers ? "gather" : "ring", uly__mesh_extent(mesh, ULY_AXIS_RING));
  if (count < 1 || max_new < 0 || count > (int64_t)1 << 40 || max_new > (int64_t)1 << 40)
    ULY_FAIL(ULY_ERR_CONFIG,
             "a prompt of %lld tokens and %lld more were requested, but the prompt needs at least "
             "one token, and neither number may be above 2^40",
             (long long)count, (long long)max_new);
  bool by_length =
      config->sparse.pattern == ULY_SPARSE_STRIDED || config->sparse.pattern == ULY_SPARSE_FIXED;
  if (by_length && config->sparse.local == 0)
    ULY_FAIL(ULY_ERR_CONFIG,
             "config.sparse.local is 0, but with a %s pattern it follows from the length of the "
             "sequences that the model was trained with: give their number",
             config->sparse.pattern == ULY_SPARSE_FIXED ? "fixed" : "strided");
  bool is_checkpoint;
  ULY_TRY(uly__folder_model(dir, &model, &is_checkpoint));
  *vocab = model.vocab;
  if (!model.rope && count > model.max_positions)
    ULY_FAIL(ULY_ERR_CONFIG,
             "the prompt has %lld tokens, but the model has learned positions for %lld: use a "
             "shorter prompt, or a model with RoPE",
             (long long)count, (long long)model.max_positions);
  for (int64_t i = 0; i < count; i++)
    if (tokens[i] < 0 || tokens[i] >= model.vocab)
      ULY_FAIL(ULY_ERR_CONFIG,
               "token %lld of the prompt is %d, but the vocabulary of the model has %lld tokens",
               (long long)i, (int)tokens[i], (long long)model.vocab);
  return ULY_OK;
}

/* Checks that all ranks have the same prompt, since otherwise their calls would not match. */
static uly_status check_same(uly_mesh *mesh, const uly_train_config *config, const int32_t *tokens,
                             int64_t count, int64_t max_new) {
  int64_t counts[] = {count, max_new};
  ULY_TRY(uly_mesh_same(mesh, counts, sizeof counts, "number of tokens"));
  ULY_TRY(uly__settings_same(mesh, config, ULY_USE_GENERATION));
  return uly_mesh_same(mesh, tokens, (size_t)count * sizeof *tokens, "prompt");
}

/* Keeps only the settings that a generator uses. Sums over a prompt are reproducible if the number
 * of ranks allows it. */
static uly_train_config settle(const uly_mesh *mesh, const uly_train_config *from,
                               const char *model, int64_t count, int64_t end) {
  uly_train_config config = uly__train_config_default();
  uly__settings_take(&config, from, ULY_USE_GENERATION);
  config.model = model;
  config.seq_len = count;
  config.doc_end = end;
  config.forward_only = 1;
  config.leaves = LEAVES;
  config.reproducible =
      count >= LEAST_AT_ONCE && LEAVES % uly_mesh_sp(mesh) == 0 && uly_mesh_tp(mesh) == 1;
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

/* ------------------------------------------------------------------------------- memory */

static void carve(uly_generator *g) {
  uly__run *run = &g->run;
  uly__arena *scratch = &run->arenas[ULY_ARENA_SCRATCH];
  uly__run_carve_states(run);
  int64_t mark = uly__arena_mark(scratch);
  uly__decoder_carve(g->decoder, &run->arenas[ULY_ARENA_ACTIVATIONS], scratch, &run->host);
  /* The prompt has been processed before the first token is decoded. */
  uly__arena_release(scratch, mark);
  uly__run_carve_passes(run);
  if (run->model->use == ULY_MODEL_PREFILLS)
    g->prompt = uly__arena_carve(&run->host, run->model->num_tokens * (int64_t)sizeof *g->prompt);
}

static void destroy_plan(uly_generator *g) {
  uly__decoder_destroy(g->decoder);
  uly__run_destroy(&g->run);
}

/* Plans model, decoder and memory. */
static uly_status plan(uly_mesh *mesh, const uly_train_config *config, decoding how,
                       uly_generator *g) {
  uly__model_use use = how.prefills ? ULY_MODEL_PREFILLS : ULY_MODEL_DECODES;
  ULY_TRY(uly__run_create(mesh, config, use, how.capacity, &g->run));
  uly_status status =
      uly__decoder_create(g->run.model, &g->run.model_run, how.capacity, &g->decoder);
  if (status == ULY_OK)
    carve(g);
  else
    destroy_plan(g);
  return status;
}

static int64_t measure_bytes(const void *context, uly_mesh *mesh, const uly_train_config *config,
                             int halvings) {
  decoding how = *(const decoding *)context;
  uly_generator other = {0};
  uly_train_config shorter = *config;
  how.capacity >>= halvings;
  /* The prompt can keep its length, since a shorter one needs no more memory. */
  if (shorter.seq_len > how.capacity) shorter.seq_len = how.capacity;
  if (plan(mesh, &shorter, how, &other) != ULY_OK) return INT64_MAX;
  int64_t bytes = uly__run_bytes(&other.run);
  destroy_plan(&other);
  return bytes;
}

/* Plans a generator, and checks that it fits. */
static uly_status prepare(uly_mesh *mesh, const uly_train_config *config, decoding how,
                          uly_generator *g) {
  uly__measure measure = {measure_bytes, &how, how.capacity, "", " tokens, prompt and text"};
  ULY_TRY(plan(mesh, config, how, g));
  g->mesh = uly__mesh_use(mesh);
  return uly__check_fit(&g->run, &measure, uly__group_node_size(uly__mesh_world(mesh)));
}

static uly_status start(uly_generator *g) {
  ULY_TRY(uly__run_commit(&g->run));
  carve(g);
  return ULY_OK;
}

/* ------------------------------------------------------------------------------- weights */

static uly_status read_checkpoint(uly_generator *g, const char *dir, uly__loading **from) {
  uly_train_config config = g->run.config;
  ULY_TRY(uly__loading_open(g->run.model, g->run.states.num, dir, from));
  const uly__checkpoint_run *run = uly__loading_run(*from);
  config.sparse = uly__run_sparse(&config);
  if (run && g->mesh->rank == 0)
    uly__warn_if_it_attends_otherwise(&config, config.doc_end, dir, run);
  if (run) ULY_TRY(uly__check_same_blocks(&config, dir, run));
  return uly__loading_read(*from, g->mesh, g->run.model, &g->run.states);
}

static uly_status load(uly_generator *g, const char *dir) {
  uly__loading *from = NULL;
  uly_status status = uly__agree(uly__mesh_world(g->mesh), read_checkpoint(g, dir, &from));
  if (status == ULY_OK) status = uly__loading_finish(from, g->mesh, g->run.model, &g->run.states);
  uly__loading_close(from);
  return status;
}

/* -------------------------------------------------------------------------------- tokens */

static uly_status read_prompt(uly_generator *g, const int32_t *tokens, int64_t count) {
  uly__model *model = g->run.model;
  model->failure = ULY_OK;
  uly__zero_forget_weights(model->zero);
  if (model->use == ULY_MODEL_PREFILLS) {
    for (int64_t t = 0; t < model->num_tokens; t++)
      g->prompt[t] = tokens[uly__token_cut_at(model->cut, t)];
    uly__prefill(g->decoder, g->prompt);
  } else {
    for (int64_t i = 0; i < count; i++) uly__decode(g->decoder, tokens[i]);
  }
  return uly__agree(uly__mesh_world(g->mesh), model->failure);
}

static uly_status make(uly_mesh *mesh, const uly_train_config *config, const char *dir,
                       const int32_t *tokens, int64_t count, int64_t max_new,
                       uly_generator *generator) {
  char *model = generator->model;
  uly__group *world = uly__mesh_world(mesh);
  double begin = uly__now();
  ULY_TRY(uly__agree(world, uly__path_join(model, PATH_MAX, dir, uly__config_file)));
  int64_t vocab = 0;
  ULY_TRY(uly__agree(world, check(mesh, config, dir, tokens, count, max_new, &vocab)));
  ULY_TRY(check_same(mesh, config, tokens, count, max_new));
  generator->end = find_end(config, vocab);
  generator->num_tokens = count;
  generator->max_tokens = count + max_new;
  generator->latest = tokens[count - 1];
  int64_t document = find_document(tokens, count, generator->end);
  tokens += document;
  count -= document;
  uly_train_config own = settle(mesh, config, model, count, generator->end);
  decoding how = {.capacity = count + max_new, .prefills = count >= LEAST_AT_ONCE};
  uly__device_use_threads(uly__run_threads(mesh, &own));
  ULY_TRY(uly__agree(world, prepare(mesh, &own, how, generator)));
  const char *isa = generator->run.model->ops->name;
  if (own.reproducible) ULY_TRY(uly_mesh_same(mesh, isa, strlen(isa) + 1, "instruction set"));
  ULY_TRY(uly__agree(world, start(generator)));
  ULY_TRY(load(generator, dir));
  generator->load_seconds = uly__now() - begin;
  begin = uly__now();
  ULY_TRY(read_prompt(generator, tokens, count));
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
  if (generator->mesh) {
    destroy_plan(generator);
    uly__mesh_leave(generator->mesh);
  }
  free(generator);
}

const uly_mesh *uly__generator_mesh(const uly_generator *generator) { return generator->mesh; }

const float *uly__generator_logits(const uly_generator *generator) {
  return generator->decoder->next_logits;
}

static uly_status check_token(const uly_generator *generator, int32_t token) {
  int64_t vocab = generator->run.model->config.vocab;
  if (token < 0 || token >= vocab)
    ULY_FAIL(ULY_ERR_CONFIG,
             "token %d cannot be added, because the vocabulary of the model has %lld tokens",
             (int)token, (long long)vocab);
  if (generator->num_tokens >= generator->max_tokens)
    ULY_FAIL(ULY_ERR_CONFIG,
             "another token cannot be added, because the generator has all the %lld tokens that it "
             "was made for",
             (long long)generator->max_tokens);
  return ULY_OK;
}

uly_status uly__generator_next(uly_generator *generator, int32_t token) {
  uly__model *model = generator->run.model;
  uly__group *world = uly__mesh_world(generator->mesh);
  ULY_TRY(uly__agree(world, check_token(generator, token)));
  ULY_TRY(uly__same(world, (uint64_t)token, "token"));
  if (generator->latest == generator->end) generator->decoder->cache.num_tokens = 0;
  uly__decode(generator->decoder, token);
  generator->num_tokens++;
  generator->latest = token;
  return uly__agree(world, model->failure);
}

uly_generator_report uly__generator_report(const uly_generator *generator) {
  const uly__run *run = &generator->run;
  uly_generator_report report = {.vocab = run->model->config.vocab,
                                 .num_tokens = generator->num_tokens,
                                 .num_params = run->model->params.count,
                                 .load_seconds = generator->load_seconds,
                                 .prompt_seconds = generator->prompt_seconds};
  for (int i = 0; i < ULY_NUM_ARENAS; i++)
    report.arena_bytes[i] = uly__run_arena_bytes(run, (uly_arena)i);
  return report;
}
