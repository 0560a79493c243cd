/* Reads token files: one file, or, if the input holds the byte string "\n%%%%\n", a folder of the
 * parts between. They are refused, or give a stream that reads the same in one piece and in many,
 * and whose tokens are below the vocabulary size. */
#include <string.h>

#include "data/token_file.h"
#include "fuzzing.h"

#define SEPARATOR "\n%%%%\n"
enum { max_files = 8 };

static void check_vocab(const uly__tokens *tokens, int64_t vocab, const int32_t *all,
                        int64_t count) {
  int32_t *out = fuzz_alloc((size_t)count * sizeof *out);
  bool below = true;
  for (int64_t i = 0; i < count; i++) below &= all[i] < vocab;
  uly_status status = uly__tokens_read(tokens, 0, count, vocab, out);
  FUZZ_CHECK((status == ULY_OK) == below, "a vocabulary of %lld tokens", (long long)vocab);
  if (status != ULY_OK) fuzz_check_refusal(status, uly_last_error());
  free(out);
}

/* Parts of 1, 2, 4, ... tokens, and the ends of the stream. */
static void check_parts(const uly__tokens *tokens, const int32_t *all, int64_t count) {
  int32_t *part = fuzz_alloc((size_t)count * sizeof *part);
  for (int64_t begin = 0, size = 1; begin < count; begin += size, size *= 2) {
    if (size > count - begin) size = count - begin;
    FUZZ_CHECK(uly__tokens_read(tokens, begin, size, INT64_MAX, part) == ULY_OK, "%s",
               uly_last_error());
    FUZZ_CHECK(memcmp(part, all + begin, (size_t)size * sizeof *part) == 0,
               "tokens %lld to %lld differ", (long long)begin, (long long)(begin + size));
  }
  FUZZ_CHECK(uly__tokens_read(tokens, count, 0, INT64_MAX, part) == ULY_OK, "none at the end");
  FUZZ_CHECK(uly__tokens_read(tokens, count, 1, INT64_MAX, part) != ULY_OK, "one behind the end");
  FUZZ_CHECK(uly__tokens_read(tokens, INT64_MAX, INT64_MAX, INT64_MAX, part) != ULY_OK, "many");
  free(part);
}

/* Those that the files tell of, and those that the first token ends. */
static void check_documents(const uly__tokens *tokens, const int32_t *all, int64_t count) {
  int64_t *starts = fuzz_alloc((size_t)count * sizeof *starts);
  int64_t ends[2] = {uly__tokens_end(tokens), all[0]};
  FUZZ_CHECK(ends[0] >= -1 && ends[0] < INT32_MAX, "token %lld ends documents", (long long)ends[0]);
  for (int i = 0; i < 2; i++) {
    int64_t num, at = 0;
    FUZZ_CHECK(uly__tokens_documents(tokens, 0, count, ends[i], starts, &num) == ULY_OK, "%s",
               uly_last_error());
    for (int64_t t = 0; t < count; t++)
      if (t == 0 || all[t - 1] == ends[i])
        FUZZ_CHECK(at < num && starts[at++] == t, "the document at %lld", (long long)t);
    FUZZ_CHECK(at == num, "%lld documents of %lld", (long long)num, (long long)at);
  }
  free(starts);
}

static void check_stream(const uly__tokens *tokens, size_t size) {
  int64_t count = uly__tokens_count(tokens);
  FUZZ_CHECK(count > 0 && count <= (int64_t)size + max_files, "%lld tokens", (long long)count);
  int32_t *all = fuzz_alloc((size_t)count * sizeof *all);
  /* Shards may hold uint32 tokens above INT32_MAX: no vocabulary has these. */
  uly_status status = uly__tokens_read(tokens, 0, count, INT64_MAX, all);
  if (status == ULY_OK) {
    int64_t largest = 0;
    for (int64_t i = 0; i < count; i++) {
      FUZZ_CHECK(all[i] >= 0, "a negative token");
      if (all[i] > largest) largest = all[i];
    }
    check_parts(tokens, all, count);
    check_documents(tokens, all, count);
    check_vocab(tokens, largest, all, count);
    check_vocab(tokens, largest + 1, all, count);
    check_vocab(tokens, ULY_TEXT_VOCAB, all, count);
  } else {
    fuzz_check_refusal(status, uly_last_error());
  }
  free(all);
}

/* The path to open. */
static const char *write_files(const uint8_t *data, size_t size) {
  size_t length = strlen(SEPARATOR);
  for (int i = 0;; i++) {
    const uint8_t *end = i + 1 < max_files ? memmem(data, size, SEPARATOR, length) : NULL;
    char name[16];
    snprintf(name, sizeof name, "part%d", i);
    const char *path = fuzz_file(name, data, end ? (size_t)(end - data) : size);
    if (!end) return i == 0 ? path : fuzz_folder();
    size -= (size_t)(end - data) + length;
    data = end + length;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_clear();
  uly__tokens *tokens, *again;
  const char *path = write_files(data, size);
  uly_status status = uly__tokens_open(path, &tokens);
  if (status == ULY_OK) {
    check_stream(tokens, size);
    FUZZ_CHECK(uly__tokens_open(path, &again) == ULY_OK, "%s", uly_last_error());
    FUZZ_CHECK(uly__tokens_hash(tokens) == uly__tokens_hash(again), "another hash");
    uly__tokens_close(again);
  } else {
    FUZZ_CHECK(!tokens, "refused, and open");
    fuzz_check_refusal(status, uly_last_error());
  }
  uly__tokens_close(tokens);
  return 0;
}
