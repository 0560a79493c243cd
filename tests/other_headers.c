/* A program that other_headers.sh compiles with headers of other ages. It trains, plans and
 * attends, and prints the results; after each struct there is a guard that must stay as it is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ulysses.h>

static void check(uly_status status) {
  if (status == ULY_OK) return;
  printf("%s: %s\n", uly_status_name(status), uly_last_error());
  exit(3);
}

/* A struct and its guard. */
#define GUARDED(type, name)                       \
  struct {                                        \
    type x;                                       \
    unsigned char guard[256];                     \
  } name;                                         \
  memset(&(name), 0, sizeof(name));               \
  memset((name).guard, 0xa5, sizeof(name).guard); \
  (name).x.size = sizeof(type)

#define CHECK_GUARD(name)                         \
  for (size_t i = 0; i < sizeof(name).guard; i++) \
    if ((name).guard[i] != 0xa5) printf("the guard of " #name " was overwritten\n"), exit(4)

static void train(uly_mesh *mesh) {
  GUARDED(uly_train_config, config);
  GUARDED(uly_step_report, step);
  GUARDED(uly_plan_report, plan);
  uly_trainer *trainer;
  FILE *file = fopen("text.txt", "w");
  for (int i = 0; i < 3000; i++) fputc('a' + i * i % 23, file);
  fclose(file);
  uly_train_config_default(&config.x, sizeof config.x);
  CHECK_GUARD(config);
  config.x.model = "llama-1m";
  config.x.data = "text.txt";
  config.x.seq_len = 128;
  check(uly_plan(mesh, &config.x, &plan.x));
  CHECK_GUARD(plan);
  printf("plan: %lld parameters, %lld tokens\n", (long long)plan.x.num_params,
         (long long)plan.x.tokens);
  check(uly_trainer_create(mesh, &config.x, &trainer));
  for (int i = 0; i < 2; i++) check(uly_trainer_step(trainer, &step.x));
  CHECK_GUARD(step);
  printf("step %lld: loss %.6f of %lld tokens\n", (long long)step.x.step, step.x.loss,
         (long long)step.x.tokens);
  uly_trainer_destroy(trainer);
}

static void attend(uly_mesh *mesh) {
  enum { N = 20, WIDTH = 8 };
  GUARDED(uly_attention_desc, desc);
  GUARDED(uly_attention_bytes, bytes);
  GUARDED(uly_mask, mask);
  uly_attention *plan;
  float x[N * WIDTH], o[N * WIDTH];
  for (int i = 0; i < N * WIDTH; i++) x[i] = (float)(i * 37 % 101) / 50;
  mask.x.kind = ULY_MASK_CAUSAL;
  desc.x.num_tokens = N;
  desc.x.num_q_heads = desc.x.num_kv_heads = 2;
  desc.x.head_dim = 4;
  desc.x.masks = &mask.x;
  check(uly_attention_create(mesh, &desc.x, &plan));
  check(uly_attention_get_bytes(plan, &bytes.x));
  CHECK_GUARD(bytes);
  check(uly_attention_forward(plan, x, x, x, o));
  printf("attention: %lld bytes, %.6f %.6f\n", (long long)bytes.x.qkv_heads, o[0],
         o[N * WIDTH - 1]);
  uly_attention_destroy(plan);
}

/* Sets the last byte of a struct, which only a newer library would know. */
static void set_unknown(uly_mesh *mesh) {
  uly_train_config config;
  uly_trainer *trainer;
  uly_train_config_default(&config, sizeof config);
  config.data = "text.txt";
  ((unsigned char *)&config)[sizeof config - 1] = 1;
  check(uly_trainer_create(mesh, &config, &trainer));
}

int main(int argc, char **argv) {
  uly_mesh *mesh;
  GUARDED(uly_mesh_desc, desc);
  printf("size of uly_train_config %d, uly_step_report %d, uly_mesh_desc %d\n",
         (int)sizeof(uly_train_config), (int)sizeof(uly_step_report), (int)sizeof(uly_mesh_desc));
  check(uly_init(NULL, NULL));
  check(uly_mesh_create(&desc.x, &mesh));
  if (argc > 1) set_unknown(mesh);
  (void)argv;
  train(mesh);
  attend(mesh);
  uly_mesh_destroy(mesh);
  uly_finalize();
  return 0;
}
