/* Tests what tells the families of models apart: which layers have a window and which have no RoPE,
 * in the words of each family's config.json; defaults; and the config.json that is exported, which
 * reads as the same model. Expected values follow from the configuration classes of transformers
 * 5.24. */

#include "model/config.h"
#include "testing.h"

#define SIZES                                                                               \
  "\"hidden_size\":64,\"intermediate_size\":96,\"vocab_size\":100,\"num_hidden_layers\":5," \
  "\"num_attention_heads\":8,\"num_key_value_heads\":4,\"max_position_embeddings\":640"

static uly_status read_text(const char *text, uly__model_config *config) {
  return uly__model_config_read(text, (int64_t)strlen(text), "config.json", config);
}

static uly_status read_keys(const char *type, const char *keys, uly__model_config *config) {
  char text[2048];
  snprintf(text, sizeof text, "{\"model_type\":\"%s\"," SIZES "%s}", type, keys);
  return read_text(text, config);
}

/* Writes one letter a layer: w with a window, n without RoPE, b with a window and without RoPE, and
 * f for any other. */
static void describe_layers(const uly__model_config *c, char *out) {
  for (int i = 0; i < c->num_layers; i++) {
    bool window = uly__layer_has_window(c, i), rope = uly__layer_has_rope(c, i);
    *out++ = window ? (rope ? 'w' : 'b') : (rope ? 'f' : 'n');
  }
  *out = '\0';
}

#define KINDS(a, b, c, d, e) ",\"layer_types\":[" a "," b "," c "," d "," e "]"
#define F "\"full_attention\""
#define S "\"sliding_attention\""
#define WINDOW ",\"sliding_window\":9"
#define USED WINDOW ",\"use_sliding_window\":true"

static void check_written(const uly__model_config *config, const char *layers) {
  uly__model_config again;
  char found[ULY_MAX_LAYERS + 1], *text = uly__model_config_json(config);
  assert_ok(read_text(text, &again));
  describe_layers(&again, found);
  assert_string_equal(found, layers);
  assert_string_equal(again.family, config->family);
  free(text);
  assert_ok(uly__model_config_export(config, "bfloat16", &text));
  assert_ok(read_text(text, &again));
  describe_layers(&again, found);
  assert_string_equal(found, layers);
  assert_true(strstr(text, "\"dtype\": \"bfloat16\"") &&
              strstr(text, "\"torch_dtype\": \"bfloat16\""));
  free(text);
}

static void test_layers(void **state) {
  (void)state;
  static const struct {
    const char *type, *keys, *layers;
  } good[] = {
      {"llama", WINDOW, "fffff"},
      {"llama", KINDS(F, F, F, F, F), "fffff"},
      {"mistral", WINDOW, "wwwww"},
      {"mistral", ",\"sliding_window\":null", "fffff"},
      {"mistral", WINDOW ",\"use_sliding_window\":false", "wwwww"},
      {"ministral", WINDOW, "wwwww"},
      {"ministral", WINDOW KINDS(S, F, F, S, F), "wffwf"},
      {"qwen2", WINDOW, "fffff"},
      {"qwen2", USED, "fffff"}, /* the first 28 layers have none */
      {"qwen2", USED ",\"max_window_layers\":3", "fffww"},
      {"qwen2", USED ",\"max_window_layers\":0", "wwwww"},
      {"qwen3", USED ",\"max_window_layers\":3" KINDS(S, F, S, F, S), "wfwfw"},
      {"qwen3", WINDOW KINDS(F, F, F, F, F), "fffff"},
      {"smollm3", "", "fffnf"},
      {"smollm3", ",\"no_rope_layer_interval\":2", "fnfnf"},
      {"smollm3", ",\"no_rope_layers\":[0,1,1,0,1]", "nffnf"},
      {"smollm3", USED ",\"no_rope_layers\":[0,1,1,0,1]", "bffbf"},
      {"smollm3", USED ",\"no_rope_layers\":[0,1,1,0,1]" KINDS(F, S, F, S, F), "nwfbf"},
  };
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    uly__model_config c;
    char found[ULY_MAX_LAYERS + 1];
    if (read_keys(good[i].type, good[i].keys, &c) != ULY_OK)
      fail_msg("row %zu: %s", i, uly_last_error());
    describe_layers(&c, found);
    if (strcmp(found, good[i].layers) != 0) fail_msg("row %zu: %s", i, found);
    check_written(&c, good[i].layers);
  }
}

static void test_refusals(void **state) {
  (void)state;
  static const struct {
    const char *type, *keys, *message;
  } bad[] = {
      {"llama", KINDS(F, S, F, F, F), "but the model has no window"},
      {"mistral", WINDOW KINDS(S, S, F, S, S), "use \"model_type\" ministral"},
      {"qwen2", WINDOW KINDS(S, S, F, S, S), "set \"use_sliding_window\" and \"sliding_window\""},
      {"qwen3", USED KINDS(S, S, F, S, "\"chunked_attention\""), "\"chunked_attention\", but only"},
      {"qwen3", USED KINDS(S, S, F, S, "3"), "something other than a string"},
      {"qwen3", USED ",\"layer_types\":[" F "]", "one entry for each of the 5 layers"},
      {"qwen3", USED ",\"layer_types\":{}", "one entry for each of the 5 layers"},
      {"qwen3", ",\"use_sliding_window\":1", "true or false"},
      {"qwen3", ",\"max_window_layers\":-1", "max_window_layers"},
      {"smollm3", ",\"no_rope_layers\":[0,1,1,0]", "one entry for each of the 5 layers"},
      {"smollm3", ",\"no_rope_layers\":[0,1,1,0,2]", "entry 4 of \"no_rope_layers\""},
      {"smollm3", ",\"no_rope_layers\":[0,1,true,0,1]", "entry 2 of \"no_rope_layers\""},
      {"smollm3", ",\"no_rope_layer_interval\":0", "no_rope_layer_interval"},
      {"gemma3_text", "",
       "supported are llama, mistral, ministral, qwen2, qwen3, smollm3 and gpt2"},
  };
  uly__model_config c;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    assert_fails(read_keys(bad[i].type, bad[i].keys, &c), ULY_ERR_CONFIG, bad[i].message);
}

/* Keys that are missing have the defaults of the family's class; null stands for what follows. */
static void test_defaults(void **state) {
  (void)state;
#define FEW                                                                                   \
  "\"hidden_size\":4096,\"intermediate_size\":96,\"vocab_size\":100,\"num_hidden_layers\":2," \
  "\"num_attention_heads\":64,\"max_position_embeddings\":640"
  static const struct {
    const char *type, *keys;
    int kv_heads, head_dim;
    double theta;
    bool tied;
  } rows[] = {
      {"llama", "", 64, 64, 1e4, false},
      {"mistral", "", 8, 64, 1e4, false},
      {"ministral", "", 8, 64, 1e4, false},
      {"qwen2", "", 32, 64, 1e4, false},
      {"qwen3", "", 32, 128, 1e4, false},
      {"smollm3", "", 4, 64, 2e6, true},
      {"qwen3", ",\"head_dim\":null,\"num_key_value_heads\":null", 64, 64, 1e4, false},
      {"smollm3", ",\"tie_word_embeddings\":false,\"head_dim\":96", 4, 96, 2e6, false},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    uly__model_config c;
    char text[1024];
    snprintf(text, sizeof text, "{\"model_type\":\"%s\"," FEW "%s}", rows[i].type, rows[i].keys);
    assert_ok(read_text(text, &c));
    if (c.num_kv_heads != rows[i].kv_heads || c.head_dim != rows[i].head_dim ||
        c.rope_theta != rows[i].theta || c.tied != rows[i].tied)
      fail_msg("row %zu: %d, %d, %g, %d", i, c.num_kv_heads, c.head_dim, c.rope_theta, c.tied);
    assert_true(c.qk_norm == (strcmp(rows[i].type, "qwen3") == 0));
  }
}

/* A window that a run sets is that of the layers that have one; if none has one, of all. */
static void test_window_of_run(void **state) {
  (void)state;
  uly__model_config c;
  char found[ULY_MAX_LAYERS + 1];
  assert_ok(read_keys("qwen3", USED KINDS(F, S, F, F, F), &c));
  uly__model_config_set_window(&c, 33);
  describe_layers(&c, found);
  assert_string_equal(found, "fwfff");
  assert_int_equal(c.window, 33);
  uly__model_config_set_window(&c, 0);
  describe_layers(&c, found);
  assert_string_equal(found, "fffff");
  check_written(&c, "fffff");
  assert_ok(read_keys("llama", "", &c));
  uly__model_config_set_window(&c, 33);
  describe_layers(&c, found);
  assert_string_equal(found, "wwwww");
}

/* Tokens that begin, end and pad a text are kept as the file has them. */
static void test_special_tokens(void **state) {
  (void)state;
  uly__model_config c;
  char *text;
  assert_ok(read_keys("qwen3",
                      ",\"rms_norm_eps\":1e-06,\"eos_token_id\":[7,99],\"pad_token_id\":null", &c));
  assert_ok(uly__model_config_export(&c, "float32", &text));
  assert_non_null(strstr(text, "\"eos_token_id\": [\n    7,\n    99\n  ]"));
  assert_non_null(strstr(text, "\"pad_token_id\": null"));
  assert_null(strstr(text, "bos_token_id"));
  assert_non_null(strstr(text, "\"rms_norm_eps\": 9.9999999999999995e-7"));
  free(text);
  static const char *const bad[] = {"\"</s>\"", "[[1]]", "[1,null]", "2.5", "{}"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    char keys[64];
    snprintf(keys, sizeof keys, ",\"eos_token_id\":%s", bad[i]);
    assert_fails(read_keys("llama", keys, &c), ULY_ERR_CONFIG, "must be a token");
  }
  char many[512] = ",\"eos_token_id\":[10";
  for (int i = 0; i < 90; i++) strcat(many, ",10");
  strcat(many, "]");
  assert_fails(read_keys("llama", many, &c), ULY_ERR_CONFIG, "a short list");
  assert_ok(uly__model_config_load("llama-1m", &c));
  text = uly__model_config_json(&c);
  assert_non_null(strstr(text, "\"eos_token_id\": null"));
  free(text);
}

/* Some models of ours are none of transformers'. */
static void test_export(void **state) {
  (void)state;
  uly__model_config c, again;
  char *text;
  assert_ok(uly__model_config_load("gpt2-3m", &c));
  assert_ok(uly__model_config_export(&c, "float32", &text));
  assert_true(strstr(text, "\"GPT2LMHeadModel\"") && strstr(text, "\"model_type\": \"gpt2\""));
  assert_ok(read_text(text, &again));
  assert_true(again.num_q_heads == c.num_q_heads && again.max_positions == c.max_positions);
  free(text);
  uly__model_config_set_window(&c, 8);
  assert_fails(uly__model_config_export(&c, "float32", &text), ULY_ERR_CONFIG, "has a window");
  assert_null(text);
  assert_ok(uly__model_config_load("llama-1m", &c));
  c.qkv_bias = c.o_bias = true;
  assert_ok(uly__model_config_export(&c, "float32", &text));
  free(text);
  uly__model_config_set_window(&c, 8);
  assert_fails(uly__model_config_export(&c, "float32", &text), ULY_ERR_CONFIG,
               "has biases together with a window");
  c.o_bias = false;
  assert_fails(uly__model_config_export(&c, "float32", &text), ULY_ERR_CONFIG,
               "has biases that other models of its family lack");
  assert_ok(uly__model_config_load("llama-1m", &c));
  c.sparse = ULY_SPARSE_BIGBIRD;
  assert_fails(uly__model_config_export(&c, "float32", &text), ULY_ERR_CONFIG, "sparse blocks");
  assert_ok(read_keys("ulysses_qwen2", ",\"mlp_bias\":true", &c));
  assert_fails(uly__model_config_export(&c, "float32", &text), ULY_ERR_CONFIG, "biases that");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_layers),         cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_defaults),       cmocka_unit_test(test_window_of_run),
      cmocka_unit_test(test_special_tokens), cmocka_unit_test(test_export),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
