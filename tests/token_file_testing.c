/* Shared by the tests of token files. */
#include "token_file_testing.h"

#include <sys/stat.h>

const char *put_text(const char *name, const char *text) {
  return scratch_put(name, text, strlen(text));
}

const char *put_shard(const char *name, int32_t magic, int32_t version, int32_t promised, int width,
                      const uint32_t *tokens, int count) {
  unsigned char bytes[1024 + 4 * 64] = {0};
  int32_t header[3] = {magic, version, promised};
  assert_true(count <= 64);
  for (int i = 0; i < 3; i++)
    for (int b = 0; b < 4; b++) bytes[4 * i + b] = (unsigned char)((uint32_t)header[i] >> 8 * b);
  for (int i = 0; i < count; i++)
    for (int b = 0; b < width; b++)
      bytes[1024 + width * i + b] = (unsigned char)(tokens[i] >> 8 * b);
  return scratch_put(name, bytes, (size_t)(1024 + width * count));
}

const char *put_u16(const char *name, const uint32_t *tokens, int count) {
  return put_shard(name, 20240520, 1, count, 2, tokens, count);
}

const char *put_u32(const char *name, const uint32_t *tokens, int count) {
  return put_shard(name, 20240801, 7, count, 4, tokens, count);
}

void make_folder(const char *name) { assert_int_equal(mkdir(scratch_path(name), 0700), 0); }

uly__tokens *open_tokens(const char *path) {
  uly__tokens *tokens = NULL;
  assert_ok(uly__tokens_open(path, &tokens));
  assert_non_null(tokens);
  return tokens;
}

void assert_message(const char *name, const char *text) {
  if (!strstr(uly_last_error(), name)) fail_msg("no '%s' in: %s", name, uly_last_error());
  if (!strstr(uly_last_error(), text)) fail_msg("no '%s' in: %s", text, uly_last_error());
}

void assert_refused(const char *path, uly_status status, const char *name, const char *text) {
  uly__tokens *tokens = (uly__tokens *)(uintptr_t)scratch_path("");
  assert_int_equal(uly__tokens_open(path, &tokens), status);
  assert_null(tokens);
  assert_message(name, text);
}

void assert_stream(const char *path, const int32_t *expected, int64_t count) {
  uly__tokens *tokens = open_tokens(path);
  assert_int_equal(uly__tokens_count(tokens), count);
  int32_t out[256];
  assert_true(count < 256);
  for (int64_t begin = 0; begin <= count; begin++)
    for (int64_t length = 0; begin + length <= count; length++) {
      memset(out, 0x5a, sizeof out);
      assert_ok(uly__tokens_read(tokens, begin, length, INT64_MAX, out));
      if (length > 0) assert_memory_equal(out, expected + begin, (size_t)length * 4);
      for (int64_t i = length; i < 256; i++) assert_int_equal(out[i], 0x5a5a5a5a);
    }
  uly__tokens_close(tokens);
}
