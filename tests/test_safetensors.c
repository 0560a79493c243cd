/* Tests safetensors: bytes written by hand are read; what is written is, byte for byte, what was
 * counted by hand; and every way in which a file can be wrong is refused with its status and a
 * message that names the file. */
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#include "testing.h"

static char path[600]; /* of a file in a fresh folder for each test */

static int set_up(void **state) {
  int failed = scratch_set_up(state);
  snprintf(path, sizeof path, "%s", scratch_path("weights.safetensors"));
  return failed;
}

static void put(const void *bytes, size_t count) {
  (void)scratch_put("weights.safetensors", bytes, count);
}

/* Writes a header of `claimed` bytes by its own account, then count bytes of data 0, 1, 2, ... */
static void put_parts(uint64_t claimed, const char *header, size_t length, size_t count) {
  unsigned char *bytes = malloc(8 + length + count);
  assert_non_null(bytes);
  for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(claimed >> 8 * i);
  memcpy(bytes + 8, header, length);
  for (size_t i = 0; i < count; i++) bytes[8 + length + i] = (unsigned char)i;
  put(bytes, 8 + length + count);
  free(bytes);
}

static void put_json(const char *header, size_t count) {
  put_parts(strlen(header), header, strlen(header), count);
}

static uly__safetensors *open_file(void) {
  uly__safetensors *file = NULL;
  assert_ok(uly__safetensors_open(path, &file));
  assert_non_null(file);
  return file;
}

static void assert_status(uly_status status, const char *text) {
  uly__safetensors *file = (uly__safetensors *)path;
  uly_status got = uly__safetensors_open(path, &file);
  if (got != status) fail_msg("%s instead of a refusal with '%s'", uly_status_name(got), text);
  assert_null(file);
  if (!strstr(uly_last_error(), path)) fail_msg("no '%s' in: %s", path, uly_last_error());
  if (!strstr(uly_last_error(), text)) fail_msg("no '%s' in: %s", text, uly_last_error());
  for (const char *c = uly_last_error(); *c; c++) assert_true((unsigned char)*c >= 0x20);
}

static void assert_refused(const char *header, size_t count, const char *text) {
  put_json(header, count);
  assert_status(ULY_ERR_DATA, text);
}

static void assert_accepted(const char *header, size_t count, int num) {
  put_json(header, count);
  uly__safetensors *file = open_file();
  assert_int_equal(uly__safetensors_num(file), num);
  uly__safetensors_close(file);
}

/* The entry of a tensor of the given shape at [begin, end), f32. */
#define F32(shape, begin, end) \
  "{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

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

static int make_table(uly__tensor_info *tensors) {
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

/* Lays the table out, writes it and data bytes 11, 48, 85, ... to the file; returns all of the
 * file in malloc'ed memory, and where its data begins. */
static char *put_table(uly__tensor_info *tensors, int num, int64_t *header, int64_t *total) {
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

/* ---- Tables that cannot be written */

static void assert_no_header(const uly__tensor_info *tensors, int num, const char *text) {
  char *bytes = path;
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

/* ---- Files that cannot be read */

static void bad_frames(void **state) {
  (void)state;
  static const char good[] = "{\"a\":" F32("[1]", 0, 4) "}";
  const size_t length = sizeof good - 1;
  assert_accepted(good, 4, 1);
  assert_accepted("{}", 0, 0);
  assert_accepted("{}   ", 0, 0);

  put("", 0);
  assert_status(ULY_ERR_DATA, "truncated");
  put("\x02\0\0\0\0\0\0", 7);
  assert_status(ULY_ERR_DATA, "truncated");
  put_parts(0, good, length, 4);
  assert_status(ULY_ERR_DATA, "does not begin with '{'");
  put_parts(0, "", 0, 0);
  assert_status(ULY_ERR_DATA, "does not begin with '{'");
  put_parts(2, "{", 1, 0);
  assert_status(ULY_ERR_DATA, "should have 2 bytes, but only 1 follow");
  put_parts(100000000, good, length, 4);
  assert_status(ULY_ERR_DATA, "truncated");
  put_parts(100000001, good, length, 4);
  assert_status(ULY_ERR_DATA, "header of 100000001 bytes");
  put_parts(UINT64_MAX, good, length, 4);
  assert_status(ULY_ERR_DATA, "header of 18446744073709551615 bytes");
  put_parts((uint64_t)1 << 63, good, length, 4);
  assert_status(ULY_ERR_DATA, "header of 9223372036854775808 bytes");
  put_parts(length + 4, good, length, 4); /* the data, taken for the header's end */
  assert_status(ULY_ERR_DATA, "not the JSON");
  put_parts(length - 1, good, length, 4);
  assert_status(ULY_ERR_DATA, "not the JSON");

  /* One byte more or less, anywhere in the file's end. */
  put_json(good, 5);
  assert_status(ULY_ERR_DATA, "its tensors end at 4");
  put_json(good, 3);
  assert_status(ULY_ERR_DATA, "truncated or damaged");
  put_json("{}", 1);
  assert_status(ULY_ERR_DATA, "its tensors end at 0");
}

static void bad_json(void **state) {
  (void)state;
  assert_refused(" {}", 0, "does not begin with '{'");
  assert_refused("[]", 0, "does not begin with '{'");
  assert_refused("{", 0, "not the JSON");
  assert_refused("{}{}", 0, "not the JSON");
  assert_refused("{} x", 0, "not the JSON");
  assert_refused("{\"a\":1e999}", 0, "not the JSON");
  assert_refused("{\"\xff\":1}", 0, "not the JSON");
  assert_refused("{\x1b[31m\"a\":1}", 0, "not the JSON");
  assert_refused("{\"a\":" F32("[1]", 0, 4) ",\"a\":" F32("[1]", 4, 8) "}", 8, "duplicate");
  assert_refused(
      "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],"
      "\"data_offsets\":[0,4]}}",
      4, "duplicate");
  assert_refused("{\"__metadata__\":{},\"__metadata__\":{}}", 0, "duplicate");
  assert_refused("{\"a\\u0000b\":" F32("[1]", 0, 4) "}", 4, "not the JSON");
  assert_refused("{\"a\":{\"dtype\":\"F32\\u0000\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
                 "not the JSON");
  put_parts(4, "{}\0 ", 4, 0);
  assert_status(ULY_ERR_DATA, "not the JSON");

  /* Nested a million deep. */
  const size_t depth = 1000000;
  char *deep = malloc(depth + 6);
  assert_non_null(deep);
  memcpy(deep, "{\"a\":", 5);
  memset(deep + 5, '[', depth);
  put_parts(depth + 5, deep, depth + 5, 0);
  assert_status(ULY_ERR_DATA, "depth");
  for (size_t i = 0; i < depth; i++) deep[i] = "{\"a\":"[i % 5];
  put_parts(depth, deep, depth, 0);
  assert_status(ULY_ERR_DATA, "depth");
  free(deep);
}

static void bad_metadata(void **state) {
  (void)state;
  assert_accepted("{\"__metadata__\":{}}", 0, 0);
  assert_accepted("{\"__metadata__\":{\"a\":\"b\",\"c\":\"\"}}", 0, 0);
  assert_refused("{\"__metadata__\":[]}", 0, "__metadata__ is not an object");
  assert_refused("{\"__metadata__\":null}", 0, "__metadata__ is not an object");
  assert_refused("{\"__metadata__\":" F32("[]", 0, 4) "}", 4, "'shape' in __metadata__");
  assert_refused("{\"__metadata__\":{\"a\":\"b\",\"c\":1}}", 0, "'c' in __metadata__");
  assert_refused("{\"__metadata__\":{\"a\":{}}}", 0, "'a' in __metadata__");
  assert_refused("{\"__metadata__\":{\"\\u001b[31m\":null}}", 0, "'?[31m' in __metadata__");
}

static void bad_names(void **state) {
  (void)state;
  char header[1024], name[301] = {0};
  memset(name, 'n', 191);
  snprintf(header, sizeof header, "{\"%s\":" F32("[1]", 0, 4) "}", name);
  assert_accepted(header, 4, 1);
  for (int length = 192; length <= 300; length += 54) {
    memset(name, 'n', (size_t)length);
    snprintf(header, sizeof header, "{\"%s\":" F32("[1]", 0, 4) "}", name);
    assert_refused(header, 4, "at most 191");
  }
  assert_refused("{\"a\\u001b[2J\":" F32("[1]", 0, 4) "}", 4, "control characters");
  assert_refused("{\"a\\u009b2J\":" F32("[1]", 0, 4) "}", 4, "'a??2J' has control characters");
  assert_accepted("{\"\\u00e4\\u00a0\":" F32("[1]", 0, 4) "}", 4, 1);
  assert_refused("{\"a\\nb\":" F32("[1]", 0, 4) "}", 4, "'a?b' has control characters");
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

static void bad_entries(void **state) {
  (void)state;
  assert_refused("{\"a\":1}", 0, "the entry of 'a'");
  assert_refused("{\"a\":[]}", 0, "the entry of 'a'");
  assert_refused("{\"a\":{}}", 0, "'a' has no dtype");
  assert_refused("{\"a\":{\"dtype\":0,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "no dtype");
  const char *const dtypes[] = {"F4", "C64", "f16", "f32", "", "F32 "};
  for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
    char header[256], text[64];
    snprintf(header, sizeof header,
             "{\"w\":{\"dtype\":\"%s\",\"shape\":[1],\"data_offsets\":[0,4]}}", dtypes[i]);
    snprintf(text, sizeof text, "'w' has dtype '%s'; only F32, BF16 and F16", dtypes[i]);
    assert_refused(header, 4, text);
  }
  assert_refused("{\"a\":{\"dtype\":\"\\u001b\\u009b\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
                 "has dtype '\?\?\?'");
  for (int length = 90; length <= 100; length++) { /* strings of the file are cut at 96 bytes */
    char name[101] = {0}, header[256], text[128];
    memset(name, 'D', (size_t)length);
    snprintf(header, sizeof header,
             "{\"w\":{\"dtype\":\"%s\",\"shape\":[1],\"data_offsets\":[0,4]}}", name);
    snprintf(text, sizeof text, "dtype '%.*s%s';", length > 96 ? 93 : length, name,
             length > 96 ? "..." : "");
    assert_refused(header, 4, text);
  }
  assert_refused("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "'a' has no shape");
  assert_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,4]}}", 4, "no shape");
  assert_accepted("{\"a\":" F32("[1,1,1,1]", 0, 4) "}", 4, 1);
  assert_refused("{\"a\":" F32("[1,1,1,1,1]", 0, 4) "}", 4, "has 5 dims; at most 4");
  assert_refused("{\"a\":" F32("[-1]", 0, 4) "}", 4, "dim 0 of tensor 'a'");
  assert_refused("{\"a\":" F32("[1,-1]", 0, 4) "}", 4, "dim 1 of tensor 'a'");
  assert_refused("{\"a\":" F32("[-1,-1]", 0, 4) "}", 4, "dim 0 of tensor 'a'");
  assert_refused("{\"a\":" F32("[1.0]", 0, 4) "}", 4, "dim 0 of tensor 'a'");
  assert_refused("{\"a\":" F32("[\"1\"]", 0, 4) "}", 4, "dim 0 of tensor 'a'");
  assert_refused("{\"a\":" F32("[9223372036854775808]", 0, 4) "}", 4, "not the JSON");
  const char *const offsets[] = {"{}", "null", "4", "[]", "[0]", "[0,4,4]", "[0,4.0]", "[\"0\",4]"};
  for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
    char header[256];
    snprintf(header, sizeof header, "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":%s}}",
             offsets[i]);
    assert_refused(header, 4, "not two integers");
  }
  assert_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "not two integers");
}

static void bad_offsets(void **state) {
  (void)state;
  assert_refused("{\"a\":" F32("[1]", -4, 0) "}", 4, "do not lie within the 4 bytes");
  assert_refused("{\"a\":" F32("[1]", 4, 0) "}", 4, "do not lie within");
  assert_refused("{\"a\":" F32("[1]", 0, 8) "}", 4, "do not lie within");
  assert_refused("{\"a\":" F32("[1]", 9223372036854775804, -9223372036854775808) "}", 4,
                 "do not lie within");
  assert_refused("{\"a\":" F32("[1]", 0, 9223372036854775807) "}", 4, "do not lie within");

  assert_refused("{\"a\":" F32("[2]", 0, 4) "}", 4, "do not match its shape");
  assert_refused("{\"a\":" F32("[]", 0, 8) "}", 8, "do not match its shape");
  assert_refused("{\"a\":" F32("[0]", 0, 4) "}", 4, "do not match its shape");
  assert_refused("{\"a\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
                 "its dtype BF16");
  /* Products that are 4, or 0, modulo 2^64. */
  assert_refused("{\"a\":" F32("[4611686018427387905]", 0, 4) "}", 4, "do not match its shape");
  assert_refused("{\"a\":" F32("[4294967296,4294967296]", 0, 0) "}", 0, "do not match its shape");
  assert_refused("{\"a\":" F32("[9223372036854775807,2,0]", 0, 0) "}", 0, "do not match its shape");
  assert_accepted("{\"a\":" F32("[0,9223372036854775807,2]", 0, 0) "}", 0, 1);

  /* A hole at the front, in the middle, at the end; overlaps; the same bytes twice. */
  assert_refused("{\"a\":" F32("[1]", 4, 8) "}", 8, "there is a hole");
  assert_refused(
      "{\"a\":" F32("[1]", 0, 4) ",\"b\":" F32("[1]", 8, 12) "}", 12,
      "'b' begins at byte 8 of the data, but the one before it ends at 4: there is a hole");
  assert_refused("{\"a\":" F32("[1]", 0, 4) ",\"b\":" F32("[1]", 4, 8) "}", 12,
                 "its tensors end at 8");
  assert_refused("{\"a\":" F32("[2]", 0, 8) ",\"b\":" F32("[2]", 4, 12) "}", 12, "overlap");
  assert_refused("{\"a\":" F32("[1]", 0, 4) ",\"b\":" F32("[1]", 0, 4) "}", 4, "overlap");
  assert_refused("{\"a\":" F32("[2]", 0, 8) ",\"b\":" F32("[0]", 4, 4) "}", 8, "overlap");
  assert_refused("{\"a\":" F32("[0]", 4, 4) "}", 4, "there is a hole");

  /* The order in the header is free; empty tensors may stand anywhere between. */
  const char *const shuffled[] = {"{\"c\":" F32("[1]", 8, 12),  ",\"a\":" F32("[1]", 0, 4),
                                  ",\"e\":" F32("[0]", 4, 4),   ",\"b\":" F32("[1]", 4, 8),
                                  ",\"f\":" F32("[0]", 12, 12), ",\"d\":" F32("[0]", 0, 0) "}"};
  char header[1024] = "";
  for (int i = 0; i < 6; i++) strcat(header, shuffled[i]);
  assert_accepted(header, 12, 6);
}

static void bad_paths(void **state) {
  (void)state;
  assert_status(ULY_ERR_IO, "No such file"); /* nothing written yet */
  assert_int_equal(mkdir(path, 0700), 0);
  assert_status(ULY_ERR_DATA, "is a folder");
  assert_int_equal(rmdir(path), 0);
  assert_int_equal(mkfifo(path, 0600), 0);
  assert_status(ULY_ERR_DATA, "not a regular file");
  assert_int_equal(unlink(path), 0);
  assert_int_equal(symlink(path, path), 0);
  assert_status(ULY_ERR_IO, "cannot open");
  assert_int_equal(unlink(path), 0);
  if (geteuid() == 0) return; /* root reads everything */
  put_json("{}", 0);
  assert_int_equal(chmod(path, 0), 0);
  assert_status(ULY_ERR_IO, "Permission denied");
}

/* Every shorter file is refused, and a file with any one bit turned is read or refused, but
 * never read outside of its data: each tensor's bytes are read. */
static void damaged_anywhere(void **state) {
  (void)state;
  uly__tensor_info tensors[5];
  int num = make_table(tensors);
  int64_t header, total;
  char *bytes = put_table(tensors, num, &header, &total);
  for (int64_t length = 0; length < total; length++) {
    put(bytes, (size_t)length);
    assert_status(ULY_ERR_DATA, path);
  }
  int accepted = 0;
  for (size_t bit = 0; bit < 8 * (size_t)header; bit++) {
    bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
    put(bytes, (size_t)total);
    bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
    uly__safetensors *file;
    if (uly__safetensors_open(path, &file) != ULY_OK) {
      if (!strstr(uly_last_error(), path)) fail_msg("no '%s' in: %s", path, uly_last_error());
      continue;
    }
    accepted++;
    for (int i = 0; i < uly__safetensors_num(file); i++) {
      const uly__tensor_info *tensor = uly__safetensors_get(file, i);
      unsigned char *data = read_tensor(file, tensor);
      for (int64_t j = 0; j < tensor->bytes; j++)
        assert_int_equal(data[j], ((tensor->begin + j) * 37 + 11) & 255);
      free(data);
    }
    uly__safetensors_close(file);
  }
  assert_in_range(accepted, 1, 4 * header); /* other letters in names are as good */
  free(bytes);
}

/* A file that is cut short, or grows, or vanishes while it is open gives an error, not a signal. */
static void changed_meanwhile(void **state) {
  (void)state;
  uly__tensor_info tensors[5];
  int64_t header, total;
  unsigned char data[64];
  int num = make_table(tensors);
  char *bytes = put_table(tensors, num, &header, &total);
  uly__safetensors *file = open_file();
  const uly__tensor_info *last = uly__safetensors_get(file, num - 1);
  int64_t count = last->bytes < 4 ? last->bytes : 4;
  assert_ok(uly__safetensors_read(file, last, 0, count, data));
  put(bytes, (size_t)total - 1);
  assert_fails(uly__safetensors_read(file, last, 0, count, data), ULY_ERR_DATA, "was changed");
  assert_int_equal(truncate(path, total + 1), 0);
  assert_fails(uly__safetensors_read(file, last, 0, count, data), ULY_ERR_DATA, "was changed");
  assert_int_equal(unlink(path), 0);
  assert_fails(uly__safetensors_read(file, last, 0, count, data), ULY_ERR_IO, path);
  put(bytes, (size_t)total);
  assert_ok(uly__safetensors_read(file, last, 0, count, data));
  uly__safetensors_close(file);
  free(bytes);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, scratch_tear_down)
  const struct CMUnitTest tests[] = {
      TEST(read_by_hand), TEST(write_by_hand), TEST(write_and_read),   TEST(padding),
      TEST(many_tensors), TEST(bad_tables),    TEST(bad_frames),       TEST(bad_json),
      TEST(bad_metadata), TEST(bad_names),     TEST(bad_entries),      TEST(other_types),
      TEST(bad_offsets),  TEST(bad_paths),     TEST(damaged_anywhere), TEST(changed_meanwhile),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
