/* Names tensors: see hf_names.h. */
#include "store/hf_names.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"

/* ---------------------------------------------------------------------------- GPT-2 */

/* The beginning of one of our names, after "model." or "model.layers.<N>.", and of GPT-2's. */
typedef struct renamed {
  const char *ours, *gpt2;
  int part, num_parts;
  bool is_linear; /* a matrix of it is stored [in, out] */
} renamed;

static const renamed gpt2_names[] = {{"embed_tokens.", "wte.", 0, 1, false},
                                     {"embed_positions.", "wpe.", 0, 1, false},
                                     {"norm.", "ln_f.", 0, 1, false},
                                     {"input_layernorm.", "ln_1.", 0, 1, false},
                                     {"self_attn.q_proj.", "attn.c_attn.", 0, 3, true},
                                     {"self_attn.k_proj.", "attn.c_attn.", 1, 3, true},
                                     {"self_attn.v_proj.", "attn.c_attn.", 2, 3, true},
                                     {"self_attn.o_proj.", "attn.c_proj.", 0, 1, true},
                                     {"post_attention_layernorm.", "ln_2.", 0, 1, false},
                                     {"mlp.up_proj.", "mlp.c_fc.", 0, 1, true},
                                     {"mlp.down_proj.", "mlp.c_proj.", 0, 1, true}};
enum { NUM_GPT2_NAMES = sizeof gpt2_names / sizeof gpt2_names[0] };

static const char of_model[] = "model.", of_layers[] = "model.layers.", of_gpt2[] = "transformer.";

static bool begins_with(const char *text, const char *prefix) {
  return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool ends_with(const char *text, const char *suffix) {
  size_t length = strlen(text), tail = strlen(suffix);
  return length >= tail && strcmp(text + length - tail, suffix) == 0;
}

/* Passes over "model.", or over "model.layers.<N>.", and returns N, or -1 if there is none. */
static int take_prefix(const char **name) {
  int64_t layer = -1;
  if (begins_with(*name, of_layers)) {
    char *end;
    layer = strtol(*name + strlen(of_layers), &end, 10);
    *name = end + 1;
  } else if (begins_with(*name, of_model)) {
    *name += strlen(of_model);
  }
  return (int)layer;
}

uly__hf_name uly__hf_gpt2_name(const uly__param *param) {
  uly__hf_name name = {.num_parts = 1};
  const char *rest = param->name;
  int layer = take_prefix(&rest);
  for (int i = 0; i < NUM_GPT2_NAMES; i++) {
    const renamed *row = &gpt2_names[i];
    if (!begins_with(rest, row->ours)) continue;
    const char *kind = rest + strlen(row->ours);
    if (layer >= 0)
      snprintf(name.text, sizeof name.text, "%sh.%d.%s%s", of_gpt2, layer, row->gpt2, kind);
    else
      snprintf(name.text, sizeof name.text, "%s%s%s", of_gpt2, row->gpt2, kind);
    name.part = row->part;
    name.num_parts = row->num_parts;
    name.is_transposed = row->is_linear && param->num_dims == 2;
    return name;
  }
  snprintf(name.text, sizeof name.text, "%s", param->name);
  return name;
}

/* ---------------------------------------------------------------------------- places */

/* A search for the parameters of a model. */
typedef struct search {
  const uly__hf_folder *folder;
  const uly__model_config *config;
  bool is_gpt2;
  size_t skipped; /* bytes of names that the folder lacks: "model." or "transformer." */
  bool *is_used;  /* [folder->num_tensors] */
} search;

/* Finds out how the tensors of the folder are named. */
static uly_status find_naming(search *s) {
  static const char *const embeddings[] = {"model.embed_tokens.weight", "transformer.wte.weight"};
  for (int i = 0; i < 2; i++) {
    size_t prefix = strlen(i ? of_gpt2 : of_model);
    bool is_whole = uly__hf_folder_find(s->folder, embeddings[i]);
    if (!is_whole && !uly__hf_folder_find(s->folder, embeddings[i] + prefix)) continue;
    s->is_gpt2 = i == 1;
    s->skipped = is_whole ? 0 : prefix;
    if (s->is_gpt2 && strcmp(s->config->family, "gpt2") != 0)
      ULY_FAIL(ULY_ERR_DATA,
               "'%s' holds the tensors of a GPT-2, but its config.json describes a %s: they do not "
               "belong together",
               s->folder->dir, s->config->family);
    return ULY_OK;
  }
  ULY_FAIL(ULY_ERR_DATA,
           "'%s' has no tensor model.embed_tokens.weight or transformer.wte.weight, which the "
           "supported families have: it holds another kind of model",
           s->folder->dir);
}

static const char *without_prefix(const search *s, const char *name) {
  const char *prefix = s->is_gpt2 ? of_gpt2 : of_model;
  return s->skipped && begins_with(name, prefix) ? name + s->skipped : name;
}

enum { SHAPE = 64 };

static const char *format_shape(int num_dims, const int64_t *dims, char text[SHAPE]) {
  size_t used = (size_t)snprintf(text, SHAPE, "[");
  for (int i = 0; i < num_dims && used < SHAPE; i++)
    used +=
        (size_t)snprintf(text + used, SHAPE - used, "%s%lld", i ? ", " : "", (long long)dims[i]);
  if (used < SHAPE) snprintf(text + used, SHAPE - used, "]");
  return text;
}

static uly_status check_tensor(const search *s, const uly__hf_tensor *tensor, int num_dims,
                               const int64_t dims[ULY_SAFETENSORS_MAX_DIMS]) {
  const uly__tensor_info *info = tensor->info;
  char where[ULY_HF_WHERE], is[SHAPE], must[SHAPE];
  if (info->num_dims != num_dims || memcmp(info->dims, dims, (size_t)num_dims * sizeof *dims) != 0)
    ULY_FAIL(ULY_ERR_DATA,
             "%s has the shape %s, but the model's configuration gives it %s: the two do not "
             "belong together",
             uly__hf_where(s->folder, tensor, where), format_shape(info->num_dims, info->dims, is),
             format_shape(num_dims, dims, must));
  if (info->other)
    ULY_FAIL(ULY_ERR_DATA,
             "%s is of type %s, but weights can be read only from F32, BF16 and F16: convert the "
             "model to one of these",
             uly__hf_where(s->folder, tensor, where), info->other);
  return ULY_OK;
}

static uly_status find_place(search *s, const uly__param *param, uly__hf_place *place) {
  uly__hf_name name = {.num_parts = 1};
  snprintf(name.text, sizeof name.text, "%s", param->name);
  if (s->is_gpt2) name = uly__hf_gpt2_name(param);
  const char *text = without_prefix(s, name.text);
  const uly__hf_tensor *tensor = uly__hf_folder_find(s->folder, text);
  if (!tensor)
    ULY_FAIL(ULY_ERR_DATA,
             "'%s' lacks tensor %s, which the model needs: download or save the "
             "folder again",
             s->folder->dir, text);
  int64_t rows = param->dims[0] * name.num_parts, cols = param->num_dims == 2 ? param->dims[1] : 1;
  int64_t dims[ULY_SAFETENSORS_MAX_DIMS] = {rows, cols};
  if (name.is_transposed) {
    dims[0] = cols;
    dims[1] = rows;
  }
  ULY_TRY(check_tensor(s, tensor, param->num_dims, dims));
  s->is_used[tensor - s->folder->tensors] = true;
  *place = (uly__hf_place){.tensor = tensor,
                           .rows = dims[0],
                           .cols = dims[1],
                           .first = name.part * param->dims[0],
                           .is_transposed = name.is_transposed};
  return ULY_OK;
}

/* Checks that the head of a tied model, which its files may hold, is the embedding once more. */
static uly_status check_tied_head(const search *s) {
  const uly__hf_tensor *head = uly__hf_folder_find(s->folder, "lm_head.weight");
  const char *name = s->is_gpt2 ? "transformer.wte.weight" : "model.embed_tokens.weight";
  const uly__hf_tensor *embedding = uly__hf_folder_find(s->folder, without_prefix(s, name));
  char where[ULY_HF_WHERE];
  bool is_same = true;
  if (!head || !s->config->tied) return ULY_OK;
  ULY_TRY(uly__hf_same(s->folder, head, embedding, &is_same));
  if (!is_same)
    ULY_FAIL(ULY_ERR_DATA,
             "%s differs from the embedding, although \"tie_word_embeddings\" of the config.json "
             "says that they are one: set it to false to use both",
             uly__hf_where(s->folder, head, where));
  return ULY_OK;
}

/* Returns whether a tensor that is no parameter may be there: a buffer, which the model computes
 * itself, or the head, if it is the embedding once more. */
static bool is_ignored(const search *s, const char *name) {
  if (strcmp(name, "lm_head.weight") == 0) return s->config->tied;
  if (!s->is_gpt2) return ends_with(name, ".rotary_emb.inv_freq");
  return ends_with(name, ".attn.bias") || ends_with(name, ".attn.masked_bias");
}

static uly_status check_rest(const search *s) {
  for (int i = 0; i < s->folder->num_tensors; i++) {
    const uly__hf_tensor *tensor = &s->folder->tensors[i];
    char where[ULY_HF_WHERE];
    if (s->is_used[i] || is_ignored(s, tensor->info->name)) continue;
    ULY_FAIL(
        ULY_ERR_DATA,
        "%s is not a part of the model that the configuration describes (a %s with %d layers): "
        "leaving it out would change what the model computes",
        uly__hf_where(s->folder, tensor, where), s->config->family, s->config->num_layers);
  }
  return ULY_OK;
}

static uly_status find_all(search *s, const uly__params *params, uly__hf_place *places) {
  ULY_TRY(find_naming(s));
  for (int i = 0; i < params->num; i++) ULY_TRY(find_place(s, &params->list[i], &places[i]));
  ULY_TRY(check_rest(s));
  return check_tied_head(s);
}

uly_status uly__hf_find_places(const uly__hf_folder *folder, const uly__model_config *config,
                               const uly__params *params, uly__hf_place *places) {
  search s = {.folder = folder, .config = config};
  s.is_used = calloc((size_t)folder->num_tensors + 1, sizeof *s.is_used);
  if (!s.is_used) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a table of tensors");
  uly_status status = find_all(&s, params, places);
  free(s.is_used);
  return status;
}
