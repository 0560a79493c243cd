/* Prints what is in a checkpoint, as text and as JSON. */
#include "checkpoint/checkpoints.h"

#include <stdlib.h>
#include <string.h>

#include "common/format.h"
#include "common/print_json.h"
#include "common/try.h"

static const char *dtype_name(uly_dtype dtype) {
  return dtype == ULY_F32 ? "f32" : dtype == ULY_BF16 ? "bf16" : "f16";
}

/* ---------------------------------------------------------------------------- text */

/* Says what a token sees. A window that a run was not given is that of config.json. */
static void print_mask(const uly_checkpoint_info *info) {
  const uly_model_info *model = &info->model;
  int64_t window = info->window >= 0 ? info->window : model->window;
  char mask[FORMAT_MASK];
  format_mask(window, &info->sparse, info->pack, mask);
  printf("attention     %s", mask[0] ? mask : "all earlier tokens");
  if (window > 0 && model->num_window_layers > 0 && model->num_window_layers < model->num_layers)
    printf(" in %d of %d layers", model->num_window_layers, model->num_layers);
  printf("\n");
}

static void print_training(const uly_checkpoint_info *info) {
  printf("step          %lld, after %lld sequences of %lld tokens in %s; seed %llu\n",
         (long long)info->step, (long long)info->sequences_done, (long long)info->seq_len,
         dtype_name(info->dtype), (unsigned long long)info->seed);
  print_mask(info);
  if (info->sparse.pattern != ULY_SPARSE_NONE)
    printf("  blocks      %lld local, %lld global, %lld random\n", (long long)info->sparse.local,
           (long long)info->sparse.global, (long long)info->sparse.random);
  if (info->pack && info->doc_end >= 0)
    printf("  documents   end with token %lld\n", (long long)info->doc_end);
}

static void print_rope(const uly_model_info *model) {
  printf("  positions   rotary, theta %g, made for %lld", model->rope_theta,
         (long long)model->max_positions);
  if (model->rope_factor > 0)
    printf("; scaled by %s, factor %g", model->rope_type, model->rope_factor);
  printf("\n");
}

static void print_model(const uly_model_info *model) {
  printf("model         %s\n", model->type);
  printf("  blocks      %d, %lld wide\n", model->num_layers, (long long)model->hidden);
  if (model->num_no_rope_layers > 0)
    printf("              %d of them have no RoPE\n", model->num_no_rope_layers);
  printf("  heads       %d query, %d key/value, of %d elements\n", model->num_q_heads,
         model->num_kv_heads, model->head_dim);
  printf("  MLP         %lld wide, %s\n", (long long)model->ffn,
         model->is_gated ? "SwiGLU" : "GELU");
  printf("  vocabulary  %lld tokens%s\n", (long long)model->vocab,
         model->is_tied ? "; the head is tied to the embedding" : "");
  if (model->rope_theta > 0)
    print_rope(model);
  else
    printf("  positions   learned, %lld\n", (long long)model->max_positions);
  printf("  norm        %s, eps %g%s\n", model->has_layer_norm ? "LayerNorm" : "RMSNorm",
         model->norm_eps, model->has_qk_norm ? "; also for every head of Q and K" : "");
  bool has_biases = model->has_qkv_bias || model->has_o_bias || model->has_mlp_bias;
  printf("  biases     %s%s%s%s\n", model->has_qkv_bias ? " QKV" : "",
         model->has_o_bias ? " O" : "", model->has_mlp_bias ? " MLP" : "",
         has_biases ? "" : " none");
}

/* Tensors that share a line: they have the same file, shape, and name except for the block. */
typedef struct tensor_row {
  char file[64], name[192];
  uly_dtype dtype;
  int num_dims;
  int64_t dims[4], num, bytes;
} tensor_row;

typedef struct tensor_table {
  tensor_row *rows;
  size_t num, capacity;
  bool all, has_failed;
} tensor_table;

/* Replaces the block's number, the first number between dots:
 * "model.layers.*.mlp.up_proj.weight". */
static void hide_block(char name[192]) {
  for (char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.')) {
    size_t digits = strspn(dot + 1, "0123456789");
    if (digits == 0 || dot[1 + digits] != '.') continue;
    dot[1] = '*';
    memmove(dot + 2, dot + 1 + digits, strlen(dot + 1 + digits) + 1);
    return;
  }
}

static bool is_same(const tensor_row *a, const tensor_row *b) {
  return strcmp(a->file, b->file) == 0 && strcmp(a->name, b->name) == 0 && a->dtype == b->dtype &&
         a->num_dims == b->num_dims && memcmp(a->dims, b->dims, sizeof a->dims) == 0;
}

/* Returns the row that the tensor belongs to, or NULL if there is none yet. The tensors of a block
 * lie together, so it is one of the last rows. */
static tensor_row *find_row(const tensor_table *table, const tensor_row *row) {
  enum { LOOKED_AT = 64 };
  size_t first = table->num > LOOKED_AT ? table->num - LOOKED_AT : 0;
  for (size_t i = table->num; !table->all && i > first; i--)
    if (is_same(&table->rows[i - 1], row)) return &table->rows[i - 1];
  return NULL;
}

/* Adds a row at the end of the table and returns it, or NULL if there is no memory. */
static tensor_row *append_row(tensor_table *table, const tensor_row *row) {
  if (table->num == table->capacity) {
    size_t capacity = table->capacity ? 2 * table->capacity : 64;
    tensor_row *rows = realloc(table->rows, capacity * sizeof *rows);
    table->has_failed |= !rows;
    if (!rows) return NULL;
    table->rows = rows;
    table->capacity = capacity;
  }
  table->rows[table->num] = *row;
  return &table->rows[table->num++];
}

static void add_tensor(void *user, const uly_tensor_info *tensor) {
  tensor_table *table = user;
  tensor_row row = {.dtype = tensor->dtype, .num_dims = tensor->num_dims};
  snprintf(row.file, sizeof row.file, "%s", tensor->file);
  snprintf(row.name, sizeof row.name, "%s", tensor->name);
  memcpy(row.dims, tensor->dims, sizeof row.dims);
  if (!table->all) hide_block(row.name);
  tensor_row *found = find_row(table, &row);
  if (!found) found = append_row(table, &row);
  if (!found) return;
  found->num++;
  found->bytes += tensor->bytes;
}

enum { SHAPE = 96 };

/* Writes a shape, such as "[257, 128]". */
static const char *format_shape(const tensor_row *row, char text[SHAPE]) {
  size_t used = (size_t)snprintf(text, SHAPE, "[");
  for (int i = 0; i < row->num_dims; i++)
    used += (size_t)snprintf(text + used, SHAPE - used, "%s%lld", i ? ", " : "",
                             (long long)row->dims[i]);
  snprintf(text + used, SHAPE - used, "]");
  return text;
}

static void widen(int *width, const char *text) {
  int length = (int)strlen(text);
  if (length > *width) *width = length;
}

static void print_table(const tensor_table *table) {
  int name_width = 0, shape_width = 0;
  char shape[SHAPE], human[FORMAT_BYTES];
  for (size_t i = 0; i < table->num; i++) {
    widen(&name_width, table->rows[i].name);
    widen(&shape_width, format_shape(&table->rows[i], shape));
  }
  for (size_t i = 0; i < table->num; i++) {
    const tensor_row *row = &table->rows[i];
    if (i == 0 || strcmp(row->file, table->rows[i - 1].file) != 0) printf("\n%s\n", row->file);
    printf("  %-*s  %s  %-*s  %10s", name_width, row->name, dtype_name(row->dtype), shape_width,
           format_shape(row, shape), format_bytes(row->bytes, human));
    if (row->num > 1) printf(" in %lld", (long long)row->num);
    putchar('\n');
  }
}

static uly_status list_tensors(const char *path, tensor_table *table) {
  TRY(uly_checkpoint_list(path, add_tensor, table));
  return table->has_failed ? uly_fail(ULY_ERR_MEMORY, "no memory for a table") : ULY_OK;
}

/* Says whether the folder is a checkpoint, and then how it was trained, or has only weights. */
static void print_folder(const checkpoint_place *place, const uly_checkpoint_info *info) {
  if (info->is_weights_only) {
    printf("folder        %s, in Hugging Face's format: weights in %d file%s\n", place->path,
           info->num_files, plural(info->num_files));
    print_mask(info);
    return;
  }
  printf("checkpoint    %s%s%s\n", place->path, place->newest_of[0] ? ", the newest of " : "",
         place->newest_of);
  print_training(info);
}

uly_status checkpoint_print(const checkpoint_place *place, const uly_checkpoint_info *info,
                            bool all) {
  char human[FORMAT_BYTES];
  tensor_table table = {.all = all};
  uly_status status = list_tensors(place->path, &table);
  if (status == ULY_OK) {
    print_folder(place, info);
    printf("parameters    %lld; %lld tensors%s, %s\n", (long long)info->num_params,
           (long long)info->num_tensors, info->is_weights_only ? "" : " with the moments",
           format_bytes(info->bytes, human));
    print_model(&info->model);
    print_table(&table);
  }
  free(table.rows);
  return status;
}

/* ---------------------------------------------------------------------------- JSON */

static json_t *make_model(const uly_model_info *model) {
  return json_pack(
      "{s:s, s:I, s:I, s:I, s:I, s:i, s:i, s:i, s:i, s:s, s:f, s:f, s:s, s:f, s:I, s:i, s:i, s:b, "
      "s:b, s:b, s:b, s:b, s:b}",
      "type", model->type, "hidden", (json_int_t)model->hidden, "ffn", (json_int_t)model->ffn,
      "vocab", (json_int_t)model->vocab, "max_positions", (json_int_t)model->max_positions,
      "layers", model->num_layers, "q_heads", model->num_q_heads, "kv_heads", model->num_kv_heads,
      "head_dim", model->head_dim, "norm", model->has_layer_norm ? "layer" : "rms", "norm_eps",
      model->norm_eps, "rope_theta", model->rope_theta, "rope_type", model->rope_type,
      "rope_factor", model->rope_factor, "window", (json_int_t)model->window, "window_layers",
      model->num_window_layers, "no_rope_layers", model->num_no_rope_layers, "qk_norm",
      model->has_qk_norm, "gated", model->is_gated, "tied", model->is_tied, "qkv_bias",
      model->has_qkv_bias, "o_bias", model->has_o_bias, "mlp_bias", model->has_mlp_bias);
}

/* Returns all settings of attention, whether or not they mask anything. */
static json_t *make_attention(const uly_checkpoint_info *info) {
  const uly_sparse *sparse = &info->sparse;
  return json_pack("{s:I, s:b, s:I, s:s, s:I, s:I, s:I, s:I}", "window", (json_int_t)info->window,
                   "pack", info->pack, "doc_end", (json_int_t)info->doc_end, "sparse",
                   sparse_name(sparse->pattern), "sparse_block", (json_int_t)sparse->block,
                   "sparse_local", (json_int_t)sparse->local, "sparse_global",
                   (json_int_t)sparse->global, "sparse_random", (json_int_t)sparse->random);
}

static void append_tensor(void *user, const uly_tensor_info *tensor) {
  json_t *shape = json_array();
  for (int i = 0; i < tensor->num_dims; i++)
    json_array_append_new(shape, json_integer(tensor->dims[i]));
  json_array_append_new(user, json_pack("{s:s, s:s, s:s, s:o, s:I}", "file", tensor->file, "name",
                                        tensor->name, "dtype", dtype_name(tensor->dtype), "shape",
                                        shape, "bytes", (json_int_t)tensor->bytes));
}

static uly_status make_tensors(const char *path, json_t **tensors) {
  *tensors = json_array();
  return uly_checkpoint_list(path, append_tensor, *tensors);
}

uly_status checkpoint_print_json(const checkpoint_place *place, const uly_checkpoint_info *info,
                                 bool has_tensors) {
  char seed[32];
  json_t *tensors = NULL, *path = json_string(place->path); /* NULL if not UTF-8 */
  uly_status status = has_tensors ? make_tensors(place->path, &tensors) : ULY_OK;
  /* Seeds beyond 2^63 are not integers in JSON. */
  snprintf(seed, sizeof seed, "%llu", (unsigned long long)info->seed);
  json_t *json = json_pack(
      "{s:o?, s:b, s:I, s:I, s:I, s:s, s:s, s:o, s:I, s:I, s:I, s:o, s:o*}", "path", path,
      "is_weights_only", info->is_weights_only, "step", (json_int_t)info->step, "sequences_done",
      (json_int_t)info->sequences_done, "seq_len", (json_int_t)info->seq_len, "seed", seed, "dtype",
      dtype_name(info->dtype), "attention", make_attention(info), "num_params",
      (json_int_t)info->num_params, "num_tensors", (json_int_t)info->num_tensors, "bytes",
      (json_int_t)info->bytes, "model", make_model(&info->model), "tensors", tensors);
  if (status == ULY_OK) return print_json_line(json);
  json_decref(json);
  return status;
}
