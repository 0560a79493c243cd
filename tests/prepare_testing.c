/* Shared by the tests that turn text into token shards. */
#include "prepare_testing.h"

#include <dirent.h>

#include "data/token_file.h"

int32_t expected[MAX_TOKENS], found[MAX_TOKENS];
int64_t num_expected;
uly_prepare_report report = {.size = sizeof report};

void shell(const char *command) {
  char line[2000];
  snprintf(line, sizeof line, "cd '%s' && %s", scratch_path(""), command);
  assert_int_equal(system(line), 0);
}

void clean(void) { shell("rm -rf in out && mkdir in"); }

void write_text(const char *name, const char *text) { scratch_put(name, text, strlen(text)); }

void expect_byte(int byte) { expected[num_expected++] = byte; }
void expect_end(void) { expected[num_expected++] = 256; }
void expect_document(const char *text) {
  for (; *text; text++) expect_byte((unsigned char)*text);
  expect_end();
}

int byte_of(int64_t d, int64_t i) { return (int)((d * 131 + i * 7 + i / 251) % 256); }

int64_t parse_shard(const char *part, int index, int32_t *tokens) {
  char name[64];
  snprintf(name, sizeof name, "%s/%06d.bin", part, index);
  FILE *file = fopen(scratch_path(name), "rb");
  if (!file) return 0;
  unsigned char header[1024];
  assert_int_equal(fread(header, 1, sizeof header, file), sizeof header);
  int64_t words[256];
  for (int i = 0; i < 256; i++)
    words[i] = header[4 * i] | header[4 * i + 1] << 8 | header[4 * i + 2] << 16 |
               (int64_t)header[4 * i + 3] << 24;
  assert_int_equal(words[0], 20240520);
  assert_int_equal(words[1], 1);
  assert_int_equal(words[3], 257);
  for (int i = 4; i < 256; i++) assert_int_equal(words[i], 0);
  for (int64_t i = 0; i < words[2]; i++) {
    int low = fgetc(file), high = fgetc(file);
    assert_true(low >= 0 && high >= 0);
    tokens[i] = low | high << 8;
  }
  assert_int_equal(fgetc(file), EOF);
  assert_int_equal(fclose(file), 0);
  return words[2];
}

void check_part(const char *part, int64_t shard_tokens, const uly_prepare_part *about) {
  int64_t count = 0, ends = 0, got;
  int num_shards = 0;
  while ((got = parse_shard(part, num_shards, found + count)) > 0) {
    assert_true(got <= shard_tokens);
    if (count + got < num_expected) assert_int_equal(got, shard_tokens);
    count += got;
    num_shards++;
  }
  assert_int_equal(count, num_expected);
  for (int64_t i = 0; i < count; i++) {
    if (found[i] != expected[i])
      fail_msg("token %lld is %d instead of %d", (long long)i, found[i], expected[i]);
    ends += found[i] == 256;
  }
  assert_int_equal(about->tokens, count);
  assert_int_equal(about->documents, ends);
  assert_int_equal(about->shards, num_shards);
  assert_int_equal(about->bytes, 1024 * num_shards + 2 * count);
  if (count == 0) return;

  uly__tokens *tokens;
  assert_ok(uly__tokens_open(scratch_path(part), &tokens));
  assert_int_equal(uly__tokens_count(tokens), count);
  memset(found, 0xff, sizeof found);
  assert_ok(uly__tokens_read(tokens, 0, count, 257, found));
  assert_memory_equal(found, expected, (size_t)count * sizeof *found);
  uly__tokens_close(tokens);
}

int count_entries(const char *name) {
  DIR *entries = opendir(scratch_path(name));
  if (!entries) return -1;
  int num = 0;
  for (struct dirent *entry; (entry = readdir(entries));)
    num += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
  closedir(entries);
  return num;
}

uly_status prepare(uly_documents documents, int64_t shard_tokens) {
  const char *inputs[] = {scratch_path("in")};
  uly_prepare_config config = default_preparation();
  config.inputs = inputs;
  config.num_inputs = 1;
  config.out = scratch_path("out");
  config.documents = documents;
  config.shard_tokens = shard_tokens;
  config.any_bytes = documents == ULY_DOCUMENTS_FILE; /* files of all bytes */
  return uly_prepare(&config, &report);
}

void check_nothing_left(void) {
  int entries = count_entries("out");
  if (entries > 0) fail_msg("%d entries are left", entries);
}
