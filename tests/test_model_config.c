/* Tests model configurations: presets, Hugging Face files, and what is refused; the parameter
 * table; initial values and data order as functions of global indices; learning rates. */
#include <jansson.h>
#include <math.h>
#include <unistd.h>

#include "base/rng.h"
#include "testing.h"
#include "train/batch.h"
#include "train/optim.h"

static uly_status load_text(const char *text, uly__model_config *config) {
  char path[256];
  write_scratch_file(path, "config.json", text, strlen(text));
  uly_status status = uly__model_config_load(path, config);
  remove_scratch_file(path);
  return status;
}

/* Every preset, written and read again, is the same. */
static void test_presets(void **state) {
  (void)state;
  for (const char *const *name = uly_model_presets(); *name; name++) {
    uly__model_config config, again;
    assert_non_null(uly_model_preset_about(*name));
    assert_ok(uly__model_config_load(*name, &config));
    char *text = uly__model_config_json(&config);
    assert_ok(load_text(text, &again));
    char *text_again = uly__model_config_json(&again);
    assert_string_equal(text, text_again);
    assert_int_equal(config.head_dim, again.head_dim);
    assert_true(config.qkv_bias == again.qkv_bias && config.o_bias == again.o_bias);
    free(text);
    free(text_again);
  }
  assert_null(uly_model_preset_about("no such preset"));
  assert_null(uly_model_preset_about(NULL));
}

#define LLAMA                                                                                \
  "\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":96,\"vocab_size\":100," \
  "\"num_hidden_layers\":2,\"num_attention_heads\":8,\"max_position_embeddings\":4096"

static void test_reading(void **state) {
  (void)state;
  uly__model_config c;
  assert_ok(load_text("{" LLAMA "}", &c));
  assert_int_equal(c.num_kv_heads, 8);
  assert_int_equal(c.head_dim, 8);
  assert_false(c.tied || c.qkv_bias || c.o_bias || c.mlp_bias);
  assert_true(c.rope && c.gated && c.norm == ULY_NORM_RMS);
  assert_ok(load_text("{" LLAMA
                      ",\"rope_parameters\":{\"rope_theta\":5e5,\"rope_type\":\"default\"},"
                      "\"attention_bias\":true,\"head_dim\":32,\"rope_scaling\":null}",
                      &c));
  assert_true(c.rope_theta == 5e5 && c.qkv_bias && c.o_bias && c.head_dim == 32);
  assert_ok(
      load_text("{\"model_type\":\"gpt2\",\"n_embd\":48,\"n_layer\":1,\"n_head\":4,"
                "\"n_positions\":16,\"vocab_size\":10,\"n_inner\":null}",
                &c));
  assert_true(c.ffn == 192 && c.tied && c.qkv_bias && !c.rope && !c.gated);
}

/* rope_theta as transformers 5 finds it: in rope_scaling, in rope_parameters, or beside them. */
static void test_rope(void **state) {
  (void)state;
  static const struct {
    const char *keys;
    double theta;
  } good[] = {
      {"", 1e4},
      {",\"rope_theta\":7e3", 7e3},
      {",\"rope_parameters\":{\"rope_theta\":5e5}", 5e5},
      {",\"rope_parameters\":{\"rope_theta\":5e5,\"type\":\"default\"}", 5e5},
      {",\"rope_parameters\":{\"rope_theta\":5e5,\"partial_rotary_factor\":1.0}", 5e5},
      {",\"rope_theta\":7e3,\"rope_parameters\":{\"rope_theta\":5e5}", 5e5},
      {",\"rope_theta\":7e3,\"rope_parameters\":{\"rope_type\":\"default\"}", 7e3},
      {",\"rope_theta\":7e3,\"rope_parameters\":{},\"rope_scaling\":{}", 7e3},
      {",\"rope_scaling\":{\"rope_theta\":6e3},\"rope_parameters\":{\"rope_theta\":5e5}", 6e3},
      {",\"rope_scaling\":{},\"rope_parameters\":{\"rope_theta\":5e5}", 5e5},
      {",\"rope_parameters\":{\"full_attention\":{\"rope_theta\":5e5}}", 5e5},
      {",\"rope_parameters\":{\"full_attention\":{\"rope_theta\":5e5},"
       "\"sliding_attention\":{\"rope_theta\":5e5}}",
       5e5},
  };
  static const struct {
    const char *keys, *message;
  } bad[] = {
      {",\"rope_parameters\":{\"rope_theta\":5e5,\"factor\":2}", "\"factor\" and no \"rope_type\""},
      {",\"rope_scaling\":{\"factor\":2}", "\"factor\" and no \"rope_type\""},
      {",\"rope_parameters\":{\"rope_theta\":5e5,\"rope_type\":\"llama3\"}", "llama3"},
      {",\"rope_scaling\":{\"type\":\"mrope\",\"factor\":2}", "mrope"},
      {",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2,\"mrope_section\":1}", "mrope_section"},
      {",\"rope_parameters\":{\"full_attention\":{\"rope_theta\":5e5},"
       "\"sliding_attention\":{\"rope_theta\":1e4}}",
       "differs between kinds of layers"},
      {",\"rope_parameters\":{\"full_attention\":{\"rope_theta\":5e5},\"rope_theta\":1e4}",
       "kinds of layers and other keys"},
      {",\"rope_parameters\":{\"full_attention\":7}", "\"rope_parameters\""},
      {",\"rope_parameters\":{\"partial_rotary_factor\":0.5}", "0.5"},
      {",\"rope_parameters\":{\"rope_type\":7}", "something other than a string"},
      {",\"rope_parameters\":[]", "object"},
  };
  uly__model_config c;
  char text[1024];
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    snprintf(text, sizeof text, "{" LLAMA "%s}", good[i].keys);
    assert_ok(load_text(text, &c));
    if (c.rope_theta != good[i].theta) fail_msg("%s: a base of %g", text, c.rope_theta);
  }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    snprintf(text, sizeof text, "{" LLAMA "%s}", bad[i].keys);
    assert_fails(load_text(text, &c), ULY_ERR_CONFIG, bad[i].message);
  }
}

#define SIZES                                                                         \
  ",\"hidden_size\":64,\"intermediate_size\":96,\"vocab_size\":100,"                  \
  "\"num_hidden_layers\":2,\"num_attention_heads\":8,\"max_position_embeddings\":64," \
  "\"num_key_value_heads\":4"
#define BIASES ",\"attention_bias\":true,\"mlp_bias\":true"

/* Transformers' Qwen2 and Mistral have the biases that they have, whatever the file says. */
static void test_biases(void **state) {
  (void)state;
  uly__model_config c;
  assert_ok(load_text("{\"model_type\":\"llama\"" SIZES BIASES "}", &c));
  assert_true(c.qkv_bias && c.o_bias && c.mlp_bias);
  assert_ok(load_text("{\"model_type\":\"qwen2\"" SIZES BIASES "}", &c));
  assert_true(c.qkv_bias && !c.o_bias && !c.mlp_bias);
  assert_ok(load_text("{\"model_type\":\"mistral\"" SIZES BIASES "}", &c));
  assert_false(c.qkv_bias || c.o_bias || c.mlp_bias);
  assert_ok(load_text("{\"model_type\":\"ulysses_qwen2\"" SIZES BIASES "}", &c));
  assert_true(c.qkv_bias && c.o_bias && c.mlp_bias);
}

static void test_dropout(void **state) {
  (void)state;
  uly__model_config c;
  assert_ok(load_text("{" LLAMA ",\"attention_dropout\":0.0}", &c));
  assert_null(c.dropout);
  assert_ok(load_text("{" LLAMA ",\"attention_dropout\":0.1}", &c));
  assert_string_equal(c.dropout, "attention_dropout");
  static const char *const keys[] = {"attn_pdrop", "embd_pdrop", "resid_pdrop"};
  for (int i = 0; i < 3; i++) {
    char text[256];
    snprintf(text, sizeof text,
             "{\"model_type\":\"gpt2\",\"n_embd\":48,\"n_layer\":1,\"n_head\":4,"
             "\"n_positions\":16,\"vocab_size\":10,\"%s\":0.1}",
             keys[i]);
    assert_ok(load_text(text, &c));
    assert_string_equal(c.dropout, keys[i]);
  }
  assert_fails(load_text("{" LLAMA ",\"attention_dropout\":\"no\"}", &c), ULY_ERR_CONFIG,
               "attention_dropout");
  assert_fails(load_text("{" LLAMA ",\"attention_dropout\":-1}", &c), ULY_ERR_CONFIG,
               "from 0 to 1");
}

/* A window is what transformers makes of sliding_window. */
static void test_windows(void **state) {
  (void)state;
  static const struct {
    const char *type, *keys;
    int64_t window;
  } good[] = {
      {"mistral", ",\"sliding_window\":9", 9},
      {"mistral", ",\"sliding_window\":null", 0},
      {"mistral", "", 4096},
      {"llama", ",\"sliding_window\":9", 0},
      {"qwen2", ",\"sliding_window\":9,\"use_sliding_window\":false", 0},
      {"ulysses_llama", ",\"sliding_window\":9", 9},
      {"ulysses_qwen2", ",\"sliding_window\":9", 9},
      {"ulysses_qwen2", "", 0},
  };
  static const struct {
    const char *type, *keys, *message;
  } bad[] = {
      {"mistral", ",\"sliding_window\":0", "sliding_window"},
      {"mistral", ",\"sliding_window\":2.5", "sliding_window"},
      {"llama", ",\"sliding_window\":9,\"use_sliding_window\":true", "use_sliding_window"},
      {"ulysses_llama", ",\"sparse\":\"star\"", "star"},
      {"ulysses_llama", ",\"sparse\":3", "\"sparse\" is something other than a string, "},
      {"ulysses_bert", "", "ulysses_bert"},
      {"ulysses_", "", "supported are"},
  };
  uly__model_config c;
  char text[1024];
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    snprintf(text, sizeof text, "{\"model_type\":\"%s\"" SIZES "%s}", good[i].type, good[i].keys);
    assert_ok(load_text(text, &c));
    if (c.window != good[i].window) fail_msg("%s: a window of %lld", text, (long long)c.window);
  }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    snprintf(text, sizeof text, "{\"model_type\":\"%s\"" SIZES "%s}", bad[i].type, bad[i].keys);
    assert_fails(load_text(text, &c), ULY_ERR_CONFIG, bad[i].message);
  }
}

/* Transformers reads what is written where it computes the same, and refuses the rest (tried with
 * versions 4.45 to 5.24). Read again here it is the same model, which attends alike. */
static void test_written_types(void **state) {
  (void)state;
  static const struct {
    const char *model; /* a preset, or the keys of a file */
    int64_t window;
    uly_sparse_pattern sparse;
    const char *type, *class_name;
  } rows[] = {
      {"llama-1m", 0, ULY_SPARSE_NONE, "llama", "LlamaForCausalLM"},
      {"llama-1m", 9, ULY_SPARSE_NONE, "mistral", "MistralForCausalLM"},
      {"llama-1m", 0, ULY_SPARSE_FIXED, "ulysses_llama", "UlyssesForCausalLM"},
      {"llama-1m", 9, ULY_SPARSE_BIGBIRD, "ulysses_llama", "UlyssesForCausalLM"},
      {"\"llama\"" SIZES BIASES, 0, ULY_SPARSE_NONE, "llama", "LlamaForCausalLM"},
      {"\"llama\"" SIZES BIASES, 9, ULY_SPARSE_NONE, "ulysses_llama", "UlyssesForCausalLM"},
      {"\"mistral\"" SIZES, 0, ULY_SPARSE_NONE, "mistral", "MistralForCausalLM"},
      {"\"mistral\"" SIZES, 9, ULY_SPARSE_NONE, "mistral", "MistralForCausalLM"},
      {"\"qwen2\"" SIZES BIASES, 0, ULY_SPARSE_NONE, "qwen2", "Qwen2ForCausalLM"},
      {"\"qwen2\"" SIZES, 9, ULY_SPARSE_NONE, "qwen2", "Qwen2ForCausalLM"},
      {"\"ulysses_qwen2\"" SIZES BIASES, 9, ULY_SPARSE_NONE, "ulysses_qwen2", "UlyssesForCausalLM"},
      {"\"ulysses_qwen2\"" SIZES BIASES, 0, ULY_SPARSE_NONE, "ulysses_qwen2", "UlyssesForCausalLM"},
      {"\"ulysses_qwen2\"" SIZES, 0, ULY_SPARSE_NONE, "qwen2", "Qwen2ForCausalLM"},
      {"gpt2-3m", 0, ULY_SPARSE_NONE, "ulysses_gpt2", "UlyssesForCausalLM"},
      {"gpt2-3m", 9, ULY_SPARSE_LONGFORMER, "ulysses_gpt2", "UlyssesForCausalLM"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    uly__model_config config, again;
    char text[1024];
    snprintf(text, sizeof text, "{\"model_type\":%s}", rows[i].model);
    assert_ok(*rows[i].model == '"' ? load_text(text, &config)
                                    : uly__model_config_load(rows[i].model, &config));
    uly__model_config_set_window(&config, rows[i].window);
    config.sparse = rows[i].sparse;
    char *written = uly__model_config_json(&config);
    json_t *json = json_loads(written, 0, NULL);
    const char *type = json_string_value(json_object_get(json, "model_type"));
    const json_t *classes = json_object_get(json, "architectures");
    if (strcmp(type, rows[i].type) != 0) fail_msg("row %zu: written as %s", i, type);
    assert_int_equal(json_array_size(classes), 1);
    assert_string_equal(json_string_value(json_array_get(classes, 0)), rows[i].class_name);
    const json_t *rope = json_object_get(json, "rope_parameters");
    assert_true(config.rope == (rope != NULL));
    if (rope) {
      assert_true(json_real_value(json_object_get(json, "rope_theta")) == config.rope_theta);
      assert_true(json_real_value(json_object_get(rope, "rope_theta")) == config.rope_theta);
      assert_string_equal(json_string_value(json_object_get(rope, "rope_type")), "default");
    }
    assert_true(json_integer_value(json_object_get(json, "sliding_window")) == rows[i].window);
    assert_ok(load_text(written, &again));
    bool is_same = false;
    assert_ok(uly__model_config_is_same(&config, &again, &is_same));
    assert_true(is_same && again.window == config.window && again.sparse == config.sparse);
    json_decref(json);
    free(written);
  }
}

/* Weights fit a model that computes something else from them, but not one of another shape. */
static void test_fits(void **state) {
  (void)state;
  uly__model_config a, b;
  assert_ok(uly__model_config_load("llama-1m", &a));
  b = a;
  b.max_positions = 7;
  b.rope_theta = 7;
  b.norm_eps = 7;
  assert_ok(uly__model_config_scale_rope(&b, ULY_ROPE_YARN, 4));
  assert_true(uly__model_config_fits(&a, &b));
  b.qk_norm = true;
  assert_false(uly__model_config_fits(&a, &b));
  b = a;
  b.tied = !a.tied;
  assert_false(uly__model_config_fits(&a, &b));
  b = a;
  b.num_kv_heads = 1;
  assert_false(uly__model_config_fits(&a, &b));
  assert_ok(uly__model_config_load("gpt2-3m", &a));
  b = a;
  b.max_positions = 7;
  assert_false(uly__model_config_fits(&a, &b));
}

/* Positions make another model only where they have a table. */
static void test_same(void **state) {
  (void)state;
  uly__model_config a, b;
  bool is_same;
  assert_ok(uly__model_config_load("llama-1m", &a));
  b = a;
  b.max_positions = 7;
  b.window = 3;
  assert_ok(uly__model_config_is_same(&a, &b, &is_same));
  assert_true(is_same);
  b.rope_theta = 7;
  assert_ok(uly__model_config_is_same(&a, &b, &is_same));
  assert_false(is_same);
  assert_ok(uly__model_config_load("gpt2-3m", &a));
  b = a;
  b.max_positions = 7;
  assert_ok(uly__model_config_is_same(&a, &b, &is_same));
  assert_false(is_same);
}

static void test_refusals(void **state) {
  (void)state;
  static const struct {
    const char *text, *message;
  } bad[] = {
      {"", "line 1"},
      {"[]", "model_type"},
      {"{\"model_type\":\"bert\"}", "llama, mistral, ministral, qwen2, "},
      {"{\"model_type\":\"llama\"}", "must all be given"},
      {"{" LLAMA ",\"hidden_size\":64}", "duplicate"},
      {"{" LLAMA ",\"head_dim\":7}", "even"},
      {"{" LLAMA ",\"head_dim\":512}", "256"},
      {"{" LLAMA ",\"num_key_value_heads\":3}", "multiple"},
      {"{" LLAMA ",\"num_key_value_heads\":0}", "num_key_value_heads"},
      {"{" LLAMA ",\"num_key_value_heads\":2.5}", "integer"},
      {"{" LLAMA ",\"rms_norm_eps\":-1}", "positive"},
      {"{" LLAMA ",\"is_causal\":false}", "is_causal"},
      {"{" LLAMA ",\"quantization_config\":{}}", "quantized weights"},
      {"{" LLAMA ",\"per_layer_config\":{}}", "per_layer_config"},
      {"{" LLAMA ",\"hidden_act\":\"relu\"}", "relu"},
      {"{" LLAMA ",\"use_sliding_window\":true}", "sliding"},
      {"{" LLAMA ",\"tie_word_embeddings\":1}", "true or false"},
      {"{\"model_type\":\"llama\",\"hidden_size\":99999999999999999999}", "line 1"},
      {"{\"model_type\":\"llama\",\"hidden_size\":9999999999999}", "hidden_size"},
      {"{" LLAMA ",\"hidden_act\":7}", "is something other than a string, but only \"silu\""},
      {"{" LLAMA ",\"hidden_act\":\"x\"}", "is \"x\", but only \"silu\""},
      {"{}", "\"model_type\" is missing; "},
      {"[]", "\"model_type\" is missing; "},
      {"{\"model_type\":7}", "\"model_type\" is something other than a string; "},
      {"{" LLAMA ",\"layer_types\":\"sliding_attention\"}", "\"layer_types\" must be a list"},
      {"{" LLAMA ",\"layer_types\":[\"full_attention\",\"sliding_attention\"]}",
       "sliding_attention"},
      {"{" LLAMA ",\"partial_rotary_factor\":0.5}", "0.5"},
      {"{\"model_type\":\"llama\",\"hidden_size\":1048576,\"intermediate_size\":4194304,"
       "\"vocab_size\":1073741824,\"num_hidden_layers\":4096,\"num_attention_heads\":1048576,"
       "\"head_dim\":256,\"max_position_embeddings\":4096}",
       "2^44"},
      {"{\"model_type\":\"gpt2\",\"n_embd\":4,\"scale_attn_weights\":false}", "scale_attn_weights"},
      {"{\"model_type\":\"gpt2\",\"activation_function\":\"relu\",\"n_embd\":4}", "relu"},
  };
  uly__model_config c;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    assert_fails(load_text(bad[i].text, &c), ULY_ERR_CONFIG, bad[i].message);
  assert_fails(uly__model_config_load("/no/such/config.json", &c), ULY_ERR_CONFIG, "llama-1m");
}

/* Tensors lie one after the other, blocks are alike, and the count is that of the literature. */
static void test_parameter_table(void **state) {
  (void)state;
  for (const char *const *name = uly_model_presets(); *name; name++) {
    uly__model_config config;
    uly__params params;
    assert_ok(uly__model_config_load(*name, &config));
    assert_ok(uly__params_create(&config, NULL, NULL, &params));
    int64_t next = 0;
    assert_int_equal(params.num_units, config.num_layers + 2);
    for (int u = 0; u < params.num_units; u++) {
      int64_t in_unit = 0;
      assert_int_equal(params.units[u].begin, next);
      for (int i = params.units[u].first; i < params.units[u].first + params.units[u].num; i++) {
        const uly__param *p = &params.list[i];
        assert_int_equal(p->unit, u);
        assert_int_equal(p->offset, in_unit);
        assert_int_equal(p->count, p->dims[0] * (p->num_dims == 2 ? p->dims[1] : 1));
        in_unit += p->count;
      }
      assert_int_equal(params.units[u].count, in_unit);
      next += in_unit;
    }
    assert_int_equal(next, params.count);
    if (strcmp(*name, "gpt2-124m") == 0) assert_int_equal(params.count, 124439808);
    if (strcmp(*name, "llama-1b") == 0) assert_int_equal(params.count, 1235814400);
    uly__params_destroy(&params);
  }
}

/* Any piece of the weights is the same as that piece of the whole; values are normal. */
static void test_initial_values(void **state) {
  (void)state;
  uly__model_config config;
  uly__params params;
  assert_ok(uly__model_config_load("llama-1m", &config));
  assert_ok(uly__params_create(&config, NULL, NULL, &params));
  const uly__param *embed = &params.list[0], *norm = &params.list[params.num - 1];
  const uly__ops *ops = uly__ops_get();
  uly__stream *stream = uly__stream_get();
  int64_t all = embed->count;
  float *whole = malloc((size_t)all * 4), *piece = malloc((size_t)all * 4);
  uly__param_init(embed, ops, stream, 7, 0, all, whole);
  int64_t begins[] = {0, 1, 3, 20895, 20897, all - 5};
  for (int i = 0; i < 6; i++) {
    int64_t count = all - begins[i] < 10001 ? all - begins[i] : 10001;
    uly__param_init(embed, ops, stream, 7, begins[i], count, piece);
    assert_memory_equal(piece, whole + begins[i], (size_t)count * 4);
  }
  double sum = 0, squares = 0, within = 0;
  int64_t n = config.vocab * config.hidden;
  for (int64_t i = 0; i < n; i++) {
    sum += (double)whole[i];
    squares += (double)whole[i] * (double)whole[i];
    within += fabs((double)whole[i]) < 0.02;
  }
  assert_true(fabs(sum / (double)n) < 4 * 0.02 / sqrt((double)n));
  assert_true(fabs(sqrt(squares / (double)n) / 0.02 - 1) < 0.02);
  assert_true(fabs(within / (double)n - 0.6827) < 0.01);
  assert_string_equal(norm->name, "model.norm.weight");
  uly__param_init(norm, ops, stream, 7, 0, 1, piece);
  assert_float_equal(piece[0], 1.0f, 0);
  uly__param_init(embed, ops, stream, 8, 0, 100, piece);
  assert_memory_not_equal(piece, whole, 400);
  free(whole);
  free(piece);
  uly__params_destroy(&params);
}

/* Each epoch takes every window once, in an order that the seed and the epoch decide. */
static void test_data_order(void **state) {
  (void)state;
  int64_t counts[] = {1, 2, 3, 10, 1000, 4097};
  for (int c = 0; c < 6; c++) {
    int64_t n = counts[c], moved = 0, differs = 0;
    char *seen = calloc((size_t)n, 1);
    for (int64_t i = 0; i < 2 * n; i++) {
      int64_t window = uly__batch_window(5, n, i);
      assert_true(window >= 0 && window < n);
      assert_int_equal(seen[window], i < n ? 0 : 1);
      seen[window]++;
      moved += window != i % n;
      differs += window != uly__batch_window(6, n, i);
    }
    if (n >= 1000) assert_true(moved > 2 * n - 20 && differs > 2 * n - 20);
    free(seen);
  }
}

static void test_learning_rates(void **state) {
  (void)state;
  uly_train_config c = default_config();
  c.lr = 2;
  c.min_lr_ratio = 0.25;
  c.warmup = 4;
  c.steps = 12;
  assert_true(uly__learning_rate(&c, 1) == 0.5 && uly__learning_rate(&c, 4) == 2);
  assert_true(fabs(uly__learning_rate(&c, 8) - 1.25) < 1e-12);
  assert_true(fabs(uly__learning_rate(&c, 12) - 0.5) < 1e-12);
  assert_true(fabs(uly__learning_rate(&c, 99) - 0.5) < 1e-12);
  c.schedule = ULY_SCHEDULE_LINEAR;
  assert_true(fabs(uly__learning_rate(&c, 6) - 1.625) < 1e-12);
  c.schedule = ULY_SCHEDULE_CONSTANT;
  assert_true(uly__learning_rate(&c, 11) == 2);
  c.warmup = 0;
  c.steps = 0;
  c.schedule = ULY_SCHEDULE_COSINE;
  assert_true(isfinite(uly__learning_rate(&c, 1)));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_presets),
      cmocka_unit_test(test_reading),
      cmocka_unit_test(test_rope),
      cmocka_unit_test(test_biases),
      cmocka_unit_test(test_dropout),
      cmocka_unit_test(test_windows),
      cmocka_unit_test(test_written_types),
      cmocka_unit_test(test_same),
      cmocka_unit_test(test_fits),
      cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_parameter_table),
      cmocka_unit_test(test_initial_values),
      cmocka_unit_test(test_data_order),
      cmocka_unit_test(test_learning_rates),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
