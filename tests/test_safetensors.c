/* Tests safetensors: bytes written by hand are read; what is written is, byte for byte, what was
 * counted by hand; tables that cannot be written are refused. Files that cannot be read are in
 * test_safetensors_refused.c. */
#include <jansson.h>

#include "safetensors_testing.h"

/* ---- Values */

static void check_data(const uly__safetensors *file, const uly__tensor_info *tensor,
                       const void *expected) {
  void *data = read_tensor(file, tensor);
  if (tensor->bytes > 0) assert_memory_equal(data, expected, (size_t)tensor->bytes);
  free(data);
}

/* Bytes as the format's description has them; an unpadded header, so that f32 is unaligned. */
static void read_by_hand(void **state) {
  (void)state;
  static const char header[] =
      "{\"w\":{\"shape\":[2,1],\"dtype\":\"F32\",\"data_offsets\":[6,14]},"
      "\"__metadata__\":{\"format\":\"pt\",\"a\":\"\"},"
      "\"h\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[0,6]},"
      "\"s\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[14,18]},"
      "\"none\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[6,6]}}";
  static const unsigned char data[] = {0x80, 0x3f, 0x00, 0xc0, 0x49, 0x40, /* 1, -2, 3.140625 */
                                       0x00, 0x00, 0x80, 0x3e, 0xdb, 0x0f,
                                       0x49, 0x40, 0x00, 0x00, 0xc8, 0x42}; /* 1/4, pi, 100 */
  const size_t length = sizeof header - 1;
  unsigned char bytes[512] = {(unsigned char)(length & 255), (unsigned char)(length >> 8)};
  memcpy(bytes + 8, header, length);
  memcpy(bytes + 8 + length, data, sizeof data);
  put(bytes, 8 + length + sizeof data);

  uly__safetensors *file = open_file();
  assert_int_equal(uly__safetensors_num(file), 4);
  const char *const order[] = {"h", "none", "w", "s"};
  for (int i = 0; i < 4; i++) {
    assert_string_equal(uly__safetensors_get(file, i)->name, order[i]);
    assert_ptr_equal(uly__safetensors_find(file, order[i]), uly__safetensors_get(file, i));
  }
  assert_null(uly__safetensors_find(file, ""));
  assert_null(uly__safetensors_find(file, "__metadata__"));
  assert_null(uly__safetensors_find(file, "x"));

  const uly__tensor_info *h = uly__safetensors_find(file, "h");
  assert_int_equal(h->dtype, ULY_BF16);
  assert_int_equal(h->num_dims, 1);
  assert_int_equal(h->dims[0], 3);
  assert_int_equal(h->begin, 0);
  assert_int_equal(h->bytes, 6);
  check_data(file, h, data);

  const uly__tensor_info *w = uly__safetensors_find(file, "w");
  assert_int_equal(w->dtype, ULY_F32);
  assert_int_equal(w->num_dims, 2);
  assert_int_equal(w->dims[0], 2);
  assert_int_equal(w->dims[1], 1);
  assert_int_equal(w->begin, 6);
  float value[2];
  assert_ok(uly__safetensors_read(file, w, 0, 8, value));
  assert_true(value[0] == 0.25f && value[1] == 3.14159274f);
  assert_ok(uly__safetensors_read(file, w, 4, 4, value)); /* a part */
  assert_true(value[0] == 3.14159274f);

  const uly__tensor_info *s = uly__safetensors_find(file, "s");
  assert_int_equal(s->num_dims, 0);
  assert_ok(uly__safetensors_read(file, s, 0, 4, value));
  assert_true(value[0] == 100.0f);

  const uly__tensor_info *none = uly__safetensors_find(file, "none");
  assert_int_equal(none->bytes, 0);
  assert_int_equal(none->dims[1], 7);
  assert_ok(uly__safetensors_read(file, none, 0, 0, NULL));
  uly__safetensors_close(file);
  uly__safetensors_close(NULL);
}

/* The bytes, counted by hand. */
static void write_by_hand(void **state) {
  (void)state;
  uly__tensor_info tensors[2] = {
      {.name = "b", .dtype = ULY_BF16, .num_dims = 2, .dims = {2, 3}},
      {.name = "a", .dtype = ULY_F32, .num_dims = 1, .dims = {4}},
  };
  assert_int_equal(uly__safetensors_layout(tensors, 2), 28);
  static const char json[] =
      "{\"__metadata__\":{\"format\":\"pt\"},"
      "\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[0,12]},"
      "\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[12,28]}}";
  assert_int_equal(sizeof json - 1, 144); /* 8 + 144 = 152, padded to 192 */
  unsigned char expected[192] = {184};
  memset(expected + 8, ' ', 184);
  memcpy(expected + 8, json, 144);
  char *bytes;
  int64_t count;
  assert_ok(uly__safetensors_header(tensors, 2, &bytes, &count));
  assert_int_equal(count, 192);
  assert_memory_equal(bytes, expected, 192);
  free(bytes);
}

static void write_and_read(void **state) {
  (void)state;
  uly__tensor_info tensors[5];
  int num = make_table(tensors);
  int64_t count, total, count_again;
  char *bytes = put_table(tensors, num, &count, &total), *again;
  assert_int_equal(total - count, 30 + 4 + 96 + 0 + 18);
  const int64_t begins[] = {0, 30, 34, 130, 130};
  for (int i = 0; i < num; i++) assert_int_equal(tensors[i].begin, begins[i]);
  assert_ok(uly__safetensors_header(tensors, num, &again, &count_again));
  assert_int_equal(count, count_again);
  assert_memory_equal(bytes, again, (size_t)count);
  free(again);

  uly__safetensors *file = open_file();
  assert_int_equal(uly__safetensors_num(file), num);
  for (int i = 0; i < num; i++) {
    const uly__tensor_info *tensor = uly__safetensors_find(file, tensors[i].name);
    assert_non_null(tensor);
    assert_string_equal(tensor->name, tensors[i].name);
    assert_int_equal(tensor->dtype, tensors[i].dtype);
    assert_int_equal(tensor->num_dims, tensors[i].num_dims);
    for (int d = 0; d < tensor->num_dims; d++)
      assert_int_equal(tensor->dims[d], tensors[i].dims[d]);
    assert_int_equal(tensor->begin, tensors[i].begin);
    assert_int_equal(tensor->bytes, tensors[i].bytes);
    check_data(file, tensor, bytes + count + tensors[i].begin);
  }
  uly__safetensors_close(file);
  free(bytes);
}

/* A header of every length modulo 64 stays a multiple of 64 bytes, JSON, and readable. */
static void padding(void **state) {
  (void)state;
  for (int length = 1; length < 192; length++) {
    uly__tensor_info tensor = {.dtype = ULY_F32, .num_dims = 1, .dims = {1}};
    memset(tensor.name, 'n', (size_t)length);
    int64_t count, total;
    char *bytes = put_table(&tensor, 1, &count, &total);
    assert_int_equal(count % 64, 0);
    assert_int_equal(total, count + 4);
    assert_int_equal((unsigned char)bytes[0] + 256 * (unsigned char)bytes[1], count - 8);
    json_t *json = json_loadb(bytes + 8, (size_t)count - 8, 0, NULL);
    assert_non_null(json_object_get(json, tensor.name));
    json_decref(json);
    uly__safetensors *file = open_file();
    const uly__tensor_info *found = uly__safetensors_find(file, tensor.name);
    assert_non_null(found);
    check_data(file, found, bytes + count);
    uly__safetensors_close(file);
    free(bytes);
  }
}

static void many_tensors(void **state) {
  (void)state;
  enum { num = 3000 };
  uly__tensor_info *tensors = calloc(num, sizeof *tensors);
  assert_non_null(tensors);
  for (int i = 0; i < num; i++) {
    snprintf(tensors[i].name, sizeof tensors[i].name, "model.layers.%d.weight", i * 7 % num);
    tensors[i].dtype = i % 3 ? ULY_F32 : ULY_BF16;
    tensors[i].num_dims = 1;
    tensors[i].dims[0] = i % 5;
  }
  /* 7 and 3000 have no common factor: the names are unique. */
  int64_t count, total;
  free(put_table(tensors, num, &count, &total));
  uly__safetensors *file = open_file();
  assert_int_equal(uly__safetensors_num(file), num);
  for (int i = 0; i < num; i++) {
    const uly__tensor_info *found = uly__safetensors_find(file, tensors[i].name);
    assert_non_null(found);
    assert_int_equal(found->begin, tensors[i].begin);
    assert_int_equal(found->bytes, tensors[i].bytes);
  }
  uly__safetensors_close(file);
  free(tensors);
}

/* f16 can be read. Other types of the format are counted in bytes, and named. */
static void other_types(void **state) {
  (void)state;
  const struct {
    const char *name;
    int bytes;
  } rows[] = {{"F16", 2},  {"F64", 8},     {"I64", 8},    {"U64", 8}, {"I32", 4},
              {"U32", 4},  {"I16", 2},     {"U16", 2},    {"I8", 1},  {"U8", 1},
              {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char header[256];
    int bytes = 3 * rows[i].bytes;
    for (int wrong = -1; wrong <= 1; wrong++) {
      snprintf(header, sizeof header,
               "{\"w\":{\"dtype\":\"%s\",\"shape\":[3],\"data_offsets\":[0,%d]}}", rows[i].name,
               bytes + wrong);
      if (wrong) assert_refused(header, (size_t)(bytes + wrong), "do not match its shape");
    }
    snprintf(header, sizeof header,
             "{\"w\":{\"dtype\":\"%s\",\"shape\":[3],\"data_offsets\":[0,%d]}}", rows[i].name,
             bytes);
    put_json(header, (size_t)bytes);
    uly__safetensors *file = open_file();
    const uly__tensor_info *info = uly__safetensors_get(file, 0);
    assert_string_equal(uly__tensor_type(info), rows[i].name);
    assert_true(i == 0 ? info->dtype == ULY_F16 && !info->other : info->other != NULL);
    uly__safetensors_close(file);
  }
}

/* ---- Tables that cannot be written */

static void assert_no_header(const uly__tensor_info *tensors, int num, const char *text) {
  char *bytes = weights_path;
  int64_t count;
  assert_int_equal(uly__safetensors_header(tensors, num, &bytes, &count), ULY_ERR_INTERNAL);
  assert_null(bytes);
  if (!strstr(uly_last_error(), text)) fail_msg("no '%s' in: %s", text, uly_last_error());
}

static void bad_tables(void **state) {
  (void)state;
  const int64_t big = (int64_t)1 << 40;
  uly__tensor_info t[5];
  int num = make_table(t);
  uly__safetensors_layout(t, num);
  t[1].begin++;
  assert_no_header(t, num, "'scalar' is not laid out");
  make_table(t); /* no layout at all */
  assert_no_header(t, num, "is not laid out");

  make_table(t);
  t[2].dims[0] = -1;
  assert_int_equal(uly__safetensors_layout(t, num), -1);
  assert_no_header(t, num, "is not laid out");
  make_table(t);
  t[2].dims[0] = t[2].dims[1] = big;
  assert_int_equal(uly__safetensors_layout(t, num), -1);
  assert_no_header(t, num, "is not laid out");
  make_table(t);
  for (int i = 2; i < 5; i++) /* each fits, the sum does not */
    t[i] = (uly__tensor_info){.name = {(char)('a' + i)}, .num_dims = 1, .dims = {INT64_MAX / 8}};
  assert_int_equal(uly__safetensors_layout(t, num), -1);
  assert_no_header(t, num, "is not laid out");

  make_table(t);
  strcpy(t[4].name, "empty");
  uly__safetensors_layout(t, num);
  assert_no_header(t, num, "named 'empty'");
  strcpy(t[4].name, "__metadata__");
  assert_no_header(t, num, "__metadata__");
  strcpy(t[4].name, "new\nline");
  assert_no_header(t, num, "cannot be the name");
  strcpy(t[4].name, "\xff\xfe");
  assert_no_header(t, num, "UTF-8");
  memset(t[4].name, 'x', sizeof t[4].name);
  assert_no_header(t, num, "cannot be the name");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_weights, scratch_tear_down)
  const struct CMUnitTest tests[] = {
      TEST(read_by_hand), TEST(write_by_hand), TEST(write_and_read), TEST(padding),
      TEST(many_tensors), TEST(other_types),   TEST(bad_tables),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
