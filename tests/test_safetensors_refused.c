/* Tests every way in which a safetensors file can be wrong: each has its status and a message that
 * names the file. */
#include <sys/stat.h>
#include <unistd.h>

#include "safetensors_testing.h"

static void assert_accepted(const char *header, size_t count, int num) {
  put_json(header, count);
  uly__safetensors *file = open_file();
  assert_int_equal(uly__safetensors_num(file), num);
  uly__safetensors_close(file);
}

/* The entry of a tensor of the given shape at [begin, end), f32. */
#define F32(shape, begin, end) \
  "{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

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
  assert_int_equal(mkdir(weights_path, 0700), 0);
  assert_status(ULY_ERR_DATA, "is a folder");
  assert_int_equal(rmdir(weights_path), 0);
  assert_int_equal(mkfifo(weights_path, 0600), 0);
  assert_status(ULY_ERR_DATA, "not a regular file");
  assert_int_equal(unlink(weights_path), 0);
  assert_int_equal(symlink(weights_path, weights_path), 0);
  assert_status(ULY_ERR_IO, "cannot open");
  assert_int_equal(unlink(weights_path), 0);
  if (geteuid() == 0) return; /* root reads everything */
  put_json("{}", 0);
  assert_int_equal(chmod(weights_path, 0), 0);
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
    assert_status(ULY_ERR_DATA, weights_path);
  }
  int accepted = 0;
  for (size_t bit = 0; bit < 8 * (size_t)header; bit++) {
    bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
    put(bytes, (size_t)total);
    bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
    uly__safetensors *file;
    if (uly__safetensors_open(weights_path, &file) != ULY_OK) {
      if (!strstr(uly_last_error(), weights_path))
        fail_msg("no '%s' in: %s", weights_path, uly_last_error());
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
  assert_int_equal(truncate(weights_path, total + 1), 0);
  assert_fails(uly__safetensors_read(file, last, 0, count, data), ULY_ERR_DATA, "was changed");
  assert_int_equal(unlink(weights_path), 0);
  assert_fails(uly__safetensors_read(file, last, 0, count, data), ULY_ERR_IO, weights_path);
  put(bytes, (size_t)total);
  assert_ok(uly__safetensors_read(file, last, 0, count, data));
  uly__safetensors_close(file);
  free(bytes);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_weights, scratch_tear_down)
  const struct CMUnitTest tests[] = {
      TEST(bad_frames), TEST(bad_json),         TEST(bad_metadata),
      TEST(bad_names),  TEST(bad_entries),      TEST(bad_offsets),
      TEST(bad_paths),  TEST(damaged_anywhere), TEST(changed_meanwhile),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
