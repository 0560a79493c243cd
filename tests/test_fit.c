/* Tests that runs which do not fit are refused before memory is allocated, with settings that
 * fit. */
#include "testing.h"
#include "train/trainer.h"

static uly_mesh *mesh;
static char text_path[256];
static int64_t available; /* what the machine is said to have left */

/* The linker gives calls of uly__device_available_bytes to this (-Wl,--wrap). */
int64_t __wrap_uly__device_available_bytes(void);
int64_t __wrap_uly__device_available_bytes(void) { return available; }

static uly_train_config make_config(void) {
  uly_train_config config = default_config();
  config.model = "llama-1m";
  config.data = text_path;
  config.seq_len = 4096;
  config.threads = 1;
  return config;
}

static int64_t bytes_of(const uly_plan_report *report) {
  int64_t sum = 0;
  for (int i = 0; i < ULY_NUM_ARENAS; i++) sum += report->arena_bytes[i];
  return sum;
}

/* Sets what one alternative says, "config.zero_stage = 3 and config.stash = DIR". */
static void apply(char *settings, uly_train_config *config, uly_mesh_desc *desc) {
  for (char *name = strtok(settings, " "); name; name = strtok(NULL, " ")) {
    if (strcmp(name, "and") == 0) continue;
    char *sign = strtok(NULL, " "), *value = strtok(NULL, " ");
    assert_non_null(sign);
    assert_string_equal(sign, "=");
    assert_non_null(value);
    if (strcmp(name, "config.zero_stage") == 0) {
      config->zero_stage = atoi(value);
    } else if (strcmp(name, "config.recompute") == 0) {
      config->recompute = ULY_RECOMPUTE_FULL;
    } else if (strcmp(name, "config.stash") == 0) {
      config->stash = "/tmp";
    } else if (strcmp(name, "config.offload") == 0) {
      config->offload = "/tmp";
    } else if (strcmp(name, "config.dtype") == 0) {
      config->dtype = ULY_BF16;
    } else if (strcmp(name, "config.pp_chunks") == 0) {
      config->pp_chunks = atoi(value);
    } else if (strcmp(name, "config.pp_ahead") == 0) {
      config->pp_ahead = atoi(value);
    } else if (strcmp(name, "config.seq_len") == 0) {
      config->seq_len = atoll(value);
    } else if (strcmp(name, "mesh.sp") == 0) {
      desc->sp = atoi(value);
      break; /* "with as much memory for each rank" */
    } else if (strcmp(name, "mesh.tp") == 0) {
      desc->tp = atoi(value);
      break;
    } else if (strcmp(name, "mesh.pp") == 0) {
      desc->pp = atoi(value);
      break;
    } else {
      fail_msg("unknown setting %s", name);
    }
  }
}

/* Every alternative that the message names fits on every rank; returns how many there are. */
static int check_alternatives(const uly_train_config *config, int ranks) {
  char message[2048];
  snprintf(message, sizeof message, "%s", uly_last_error());
  char *at = strstr(message, "It would fit with ");
  int count = 0;
  if (!at) return 0;
  for (at += strlen("It would fit with "); at; count++) {
    char *next = strstr(at, "; or ");
    if (next) *next = '\0';
    uly_train_config other = *config;
    uly_mesh_desc desc = {.size = sizeof desc, .dp = 1, .sp = ranks, .tp = 1, .pp = 1};
    apply(at, &other, &desc);
    for (int rank = 0; rank < desc.sp * desc.tp * desc.pp; rank++) {
      uly_mesh *larger;
      uly_plan_report report = {.size = sizeof report};
      assert_ok(uly_mesh_create_offline(&desc, rank, &larger));
      assert_ok(uly_plan(larger, &other, &report));
      assert_true(bytes_of(&report) <= config->memory_limit);
      uly_mesh_destroy(larger);
    }
    at = next ? next + strlen("; or ") : NULL;
  }
  return count;
}

/* Ranks of 3 have different numbers of heads and of tokens. */
static void check_what_would_fit(int ranks) {
  uly_train_config config = make_config();
  uly_mesh *alone;
  uly_plan_report report = {.size = sizeof report};
  assert_ok(uly_mesh_create_offline(MESH(.dp = 1, .sp = ranks), 0, &alone));
  assert_ok(uly_plan(alone, &config, &report));
  int64_t needed = bytes_of(&report);
  config.memory_limit = needed;
  assert_ok(uly_plan(alone, &config, &report));
  int most = 0;
  for (int percent = 99; percent > 0; percent -= ranks == 1 ? 7 : 1) {
    config.memory_limit = needed * percent / 100;
    char bytes[64];
    snprintf(bytes, sizeof bytes, "needs %lld bytes", (long long)needed);
    assert_fails(uly_plan(alone, &config, &report), ULY_ERR_CONFIG, bytes);
    int count = check_alternatives(&config, ranks);
    if (count > most) most = count;
  }
  assert_true(most >= (ranks == 1 ? 5 : 4)); /* 6 ranks are more than the heads */
  config.memory_limit = 1000;
  assert_fails(uly_plan(alone, &config, &report), ULY_ERR_CONFIG, "Use a smaller model");
  uly_mesh_destroy(alone);
}

/* A vocabulary that is too large for one rank, however many ranks share the sequence, but fits when
 * it is divided over the expected number of ranks. */
static void check_wide_model(int heads, int parts, const char *expected) {
  char path[256], json[512];
  snprintf(json, sizeof json,
           "{\"model_type\":\"llama\",\"hidden_size\":32,\"intermediate_size\":64,"
           "\"num_hidden_layers\":1,\"num_attention_heads\":%d,\"num_key_value_heads\":2,"
           "\"head_dim\":8,\"max_position_embeddings\":64,\"vocab_size\":100003}",
           heads);
  write_scratch_file(path, "wide.json", json, strlen(json));
  uly_train_config config = make_config();
  uly_plan_report report = {.size = sizeof report};
  uly_mesh *alone;
  config.model = path;
  config.seq_len = 64;
  assert_ok(uly_mesh_create_offline(MESH(.dp = 1), 0, &alone));
  assert_ok(uly_plan(alone, &config, &report));
  config.memory_limit = bytes_of(&report) / parts;
  assert_fails(uly_plan(alone, &config, &report), ULY_ERR_CONFIG, expected);
  assert_true(check_alternatives(&config, 1) > 0);
  uly_mesh_destroy(alone);
  assert_ok(uly_mesh_agree(mesh, ULY_OK)); /* no rank reads the file any more */
  remove_scratch_file(path);
}

static void test_wide_model(void **state) {
  (void)state;
  check_wide_model(4, 3, "mesh.tp = 4 with as much");
  check_wide_model(6, 5,
                   "mesh.tp = 6 with as much"); /* 8 ranks would be more than there are heads */
}

static void test_what_would_fit(void **state) {
  (void)state;
  check_what_would_fit(1);
  check_what_would_fit(3);
}

/* Without a limit, a rank may take its share of what is left on its machine. */
static void test_free_memory(void **state) {
  (void)state;
  uly_train_config config = make_config();
  uly_trainer *trainer;
  available = 0; /* unknown */
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  int64_t needed = 0;
  for (int i = 0; i < ULY_NUM_ARENAS; i++)
    needed += uly__run_arena_bytes(&trainer->run, (uly_arena)i);
  uly_trainer_destroy(trainer);
  available = needed * uly_mesh_size(mesh) * 3 / 4;
  assert_fails(uly_trainer_create(mesh, &config, &trainer), ULY_ERR_CONFIG, "free on this machine");
  assert_null(trainer);
  config.memory_limit = 2 * needed;
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  uly_trainer_destroy(trainer);
  config.memory_limit = 0;
  available = 2 * needed * uly_mesh_size(mesh);
  assert_ok(uly_trainer_create(mesh, &config, &trainer));
  uly_trainer_destroy(trainer);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_what_would_fit),
      cmocka_unit_test(test_wide_model),
      cmocka_unit_test(test_free_memory),
  };
  begin_ranks(&argc, &argv, &mesh);
  char text[9000];
  memset(text, 'x', sizeof text);
  write_scratch_file(text_path, "fit.txt", text, sizeof text);
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  remove_scratch_file(text_path);
  return end_ranks(mesh, failed);
}
