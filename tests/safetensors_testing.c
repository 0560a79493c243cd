/* Shared by the tests of safetensors. */
#include "safetensors_testing.h"

char weights_path[600];

int set_up_weights(void **state) {
  int failed = scratch_set_up(state);
  snprintf(weights_path, sizeof weights_path, "%s", scratch_path("weights.safetensors"));
  return failed;
}

void put(const void *bytes, size_t count) {
  (void)scratch_put("weights.safetensors", bytes, count);
}

void put_parts(uint64_t claimed, const char *header, size_t length, size_t count) {
  unsigned char *bytes = malloc(8 + length + count);
  assert_non_null(bytes);
  for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(claimed >> 8 * i);
  memcpy(bytes + 8, header, length);
  for (size_t i = 0; i < count; i++) bytes[8 + length + i] = (unsigned char)i;
  put(bytes, 8 + length + count);
  free(bytes);
}

void put_json(const char *header, size_t count) {
  put_parts(strlen(header), header, strlen(header), count);
}

uly__safetensors *open_file(void) {
  uly__safetensors *file = NULL;
  assert_ok(uly__safetensors_open(weights_path, &file));
  assert_non_null(file);
  return file;
}

void assert_status(uly_status status, const char *text) {
  uly__safetensors *file = (uly__safetensors *)weights_path;
  uly_status got = uly__safetensors_open(weights_path, &file);
  if (got != status) fail_msg("%s instead of a refusal with '%s'", uly_status_name(got), text);
  assert_null(file);
  if (!strstr(uly_last_error(), weights_path))
    fail_msg("no '%s' in: %s", weights_path, uly_last_error());
  if (!strstr(uly_last_error(), text)) fail_msg("no '%s' in: %s", text, uly_last_error());
  for (const char *c = uly_last_error(); *c; c++) assert_true((unsigned char)*c >= 0x20);
}

void assert_refused(const char *header, size_t count, const char *text) {
  put_json(header, count);
  assert_status(ULY_ERR_DATA, text);
}

int make_table(uly__tensor_info *tensors) {
  const uly__tensor_info table[] = {
      {.name = "model.embed_tokens.weight", .dtype = ULY_BF16, .num_dims = 2, .dims = {5, 3}},
      {.name = "scalar", .dtype = ULY_F32},
      {.name = "a \"\\ \xc3\xa4", .dtype = ULY_F32, .num_dims = 4, .dims = {1, 2, 3, 4}},
      {.name = "empty", .dtype = ULY_F32, .num_dims = 1, .dims = {0}},
      {.name = "last", .dtype = ULY_BF16, .num_dims = 1, .dims = {9}},
  };
  memcpy(tensors, table, sizeof table);
  return 5;
}

char *put_table(uly__tensor_info *tensors, int num, int64_t *header, int64_t *total) {
  int64_t size = uly__safetensors_layout(tensors, num);
  assert_true(size >= 0);
  char *bytes;
  assert_ok(uly__safetensors_header(tensors, num, &bytes, header));
  *total = *header + size;
  bytes = realloc(bytes, (size_t)*total);
  assert_non_null(bytes);
  for (int64_t i = 0; i < size; i++) bytes[*header + i] = (char)(i * 37 + 11);
  put(bytes, (size_t)*total);
  return bytes;
}
