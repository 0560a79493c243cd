/* Plans exports: see export_plan.h. */
#include "store/export_plan.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "store/run_folder.h"

/* The modules of a block of the Llama family, in the order in which transformers creates them. */
static const char *const modules[] = {
    "self_attn.q_proj.", "self_attn.k_proj.", "self_attn.v_proj.",        "self_attn.o_proj.",
    "self_attn.q_norm.", "self_attn.k_norm.", "mlp.gate_proj.",           "mlp.up_proj.",
    "mlp.down_proj.",    "input_layernorm.",  "post_attention_layernorm."};
enum { NUM_MODULES = sizeof modules / sizeof modules[0] };

/* Returns the place of a parameter's module in its unit. Parameters around the blocks are listed in
 * their order already, as are those of GPT-2. */
static int order_of(const uly__param *param, bool is_gpt2) {
  int module = 0;
  while (!is_gpt2 && module < NUM_MODULES && !strstr(param->name, modules[module])) module++;
  return param->unit * (NUM_MODULES + 1) + module;
}

static uly__export_tensor describe(const uly__param *param, int index, bool is_gpt2,
                                   uly_dtype dtype) {
  uly__hf_name name = {.num_parts = 1};
  snprintf(name.text, sizeof name.text, "%s", param->name);
  if (is_gpt2) name = uly__hf_gpt2_name(param);
  uly__export_tensor tensor = {.info = {.dtype = dtype, .num_dims = param->num_dims},
                               .order = order_of(param, is_gpt2),
                               .parts = {index},
                               .num_parts = 1,
                               .is_transposed = name.is_transposed};
  int64_t rows = param->dims[0] * name.num_parts, cols = param->dims[1];
  snprintf(tensor.info.name, sizeof tensor.info.name, "%s", name.text);
  tensor.info.dims[0] = name.is_transposed ? cols : rows;
  tensor.info.dims[1] = name.is_transposed ? rows : cols;
  return tensor;
}

/* Adds a parameter: to the tensor that has its other parts, or as a tensor of its own. */
static void add(uly__export_plan *plan, const uly__export_tensor *tensor) {
  enum { LOOKED_AT = 8 }; /* the parts of a tensor are near each other */
  for (int i = plan->num_tensors - 1; i >= 0 && i >= plan->num_tensors - LOOKED_AT; i--) {
    uly__export_tensor *whole = &plan->tensors[i];
    if (strcmp(whole->info.name, tensor->info.name) != 0) continue;
    whole->parts[whole->num_parts++] = tensor->parts[0];
    return;
  }
  plan->tensors[plan->num_tensors++] = *tensor;
}

static int compare_orders(const void *a, const void *b) {
  const uly__export_tensor *x = a, *y = b;
  return x->order != y->order ? x->order - y->order : x->parts[0] - y->parts[0];
}

static int compare_files(const void *a, const void *b) {
  const uly__export_tensor *x = a, *y = b;
  return x->file != y->file ? x->file - y->file : strcmp(x->info.name, y->info.name);
}

/* Gives those of the tensors [begin, end) that have no file yet the next number. A file gets its
 * number only when it is full: large tensors that came meanwhile have earlier numbers. */
static void close_file(uly__export_plan *plan, int begin, int end) {
  int num = 0;
  for (int i = begin; i < end; i++) {
    if (plan->tensors[i].file >= 0) continue;
    plan->tensors[i].file = plan->num_files;
    num++;
  }
  if (num > 0) plan->num_files++;
}

static void fill_files(uly__export_plan *plan, int64_t shard_bytes) {
  int64_t used = 0;
  int begin = 0; /* of the current file */
  for (int i = 0; i < plan->num_tensors; i++) {
    uly__export_tensor *tensor = &plan->tensors[i];
    int64_t bytes = tensor->info.bytes;
    plan->bytes += bytes;
    tensor->file = bytes > shard_bytes ? plan->num_files++ : -1;
    if (tensor->file >= 0) continue;
    if (used + bytes > shard_bytes) {
      close_file(plan, begin, i);
      begin = i;
      used = 0;
    }
    used += bytes;
  }
  close_file(plan, begin, plan->num_tensors);
}

/* Lays out the tensors of each file. */
static void lay_out(uly__export_plan *plan) {
  for (int i = 0; i < plan->num_tensors; i++) {
    uly__tensor_info *info = &plan->tensors[i].info;
    bool is_first = i == 0 || plan->tensors[i].file != plan->tensors[i - 1].file;
    const uly__tensor_info *before = is_first ? NULL : &plan->tensors[i - 1].info;
    info->begin = before ? before->begin + before->bytes : 0;
  }
}

static uly_status fill(const uly__model_config *config, const uly__params *params, uly_dtype dtype,
                       int64_t shard_bytes, uly__export_plan *plan) {
  bool is_gpt2 = strcmp(config->family, "gpt2") == 0;
  for (int i = 0; i < params->num; i++) {
    uly__export_tensor tensor = describe(&params->list[i], i, is_gpt2, dtype);
    add(plan, &tensor);
  }
  for (int i = 0; i < plan->num_tensors; i++)
    if (uly__safetensors_layout(&plan->tensors[i].info, 1) < 0)
      ULY_FAIL(ULY_ERR_INTERNAL, "tensor %s is too large", plan->tensors[i].info.name);
  size_t num = (size_t)plan->num_tensors;
  qsort(plan->tensors, num, sizeof *plan->tensors, compare_orders);
  fill_files(plan, shard_bytes);
  qsort(plan->tensors, num, sizeof *plan->tensors, compare_files);
  lay_out(plan);
  return ULY_OK;
}

uly_status uly__export_plan_create(const uly__model_config *config, const uly__params *params,
                                   uly_dtype dtype, int64_t shard_bytes, uly__export_plan *out) {
  *out = (uly__export_plan){0};
  out->tensors = calloc((size_t)params->num, sizeof *out->tensors);
  if (!out->tensors) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a table of %d tensors", params->num);
  uly_status status = fill(config, params, dtype, shard_bytes, out);
  if (status != ULY_OK) uly__export_plan_destroy(out);
  return status;
}

void uly__export_plan_destroy(uly__export_plan *plan) {
  free(plan->tensors);
  *plan = (uly__export_plan){0};
}

const char *uly__export_file_name(const uly__export_plan *plan, int file,
                                  char name[ULY_EXPORT_NAME]) {
  if (plan->num_files == 1)
    snprintf(name, ULY_EXPORT_NAME, "%s", uly__model_file);
  else
    snprintf(name, ULY_EXPORT_NAME, "model-%05d-of-%05d.safetensors", file + 1, plan->num_files);
  return name;
}

char *uly__export_index(const uly__export_plan *plan, int64_t num_params) {
  json_t *map = json_object();
  for (int i = 0; i < plan->num_tensors; i++) {
    char name[ULY_EXPORT_NAME];
    const uly__export_tensor *tensor = &plan->tensors[i];
    json_object_set_new(map, tensor->info.name,
                        json_string(uly__export_file_name(plan, tensor->file, name)));
  }
  json_t *json =
      json_pack("{s:{s:I, s:I}, s:o}", "metadata", "total_parameters", (json_int_t)num_params,
                "total_size", (json_int_t)plan->bytes, "weight_map", map);
  char *text = json_dumps(json, JSON_INDENT(2) | JSON_SORT_KEYS);
  json_decref(json);
  return text;
}
