/* Reads documents of text: the input as one document; cut into lines, against a cut made here; and
 * as JSON Lines, in which each text is valid UTF-8 or refused. */
#include <stdbool.h>
#include <string.h>

#include "data/documents.h"
#include "data/shard_header.h"
#include "fuzzing.h"

/* What the reader hands on, one document after the other. */
typedef struct collected {
  unsigned char *bytes;
  size_t num_bytes, num_documents, num_skipped;
  size_t *ends; /* [num_documents] */
  size_t capacity;
  /* The file, if its bytes are those of the documents. */
  const uint8_t *data;
} collected;

static uly_status add(void *context, const char *bytes, int64_t count, int64_t place) {
  collected *c = context;
  FUZZ_CHECK(count > 0 && c->num_bytes + (size_t)count <= c->capacity, "%lld bytes",
             (long long)count);
  FUZZ_CHECK(!c->data || memcmp(c->data + place, bytes, (size_t)count) == 0, "other bytes at %lld",
             (long long)place);
  memcpy(c->bytes + c->num_bytes, bytes, (size_t)count);
  c->num_bytes += (size_t)count;
  return ULY_OK;
}

static uly_status end(void *context) {
  collected *c = context;
  size_t begin = c->num_documents > 0 ? c->ends[c->num_documents - 1] : 0;
  FUZZ_CHECK(c->num_bytes > begin, "an empty document");
  c->ends[c->num_documents++] = c->num_bytes;
  return ULY_OK;
}

/* No text is longer than what it was read from. */
static collected make_collected(size_t size) {
  collected c = {.capacity = size};
  c.bytes = fuzz_alloc(size);
  c.ends = fuzz_alloc(size * sizeof *c.ends);
  return c;
}

static void free_collected(collected *c) {
  free(c->bytes);
  free(c->ends);
}

/* Any bytes, so that all inputs get so far. */
static uly_status read_documents(const char *path, uly_documents kind, collected *c) {
  const uly__document_sink sink = {.context = c, .add = add, .end = end};
  const uly__document_format format = {kind, "text", .any_bytes = true};
  return uly__documents_read(path, &format, &sink);
}

static void skip(void *context, const char *why) {
  collected *c = context;
  FUZZ_CHECK(strlen(why) > 0, "a line is left out without a reason");
  c->num_skipped++;
}

static void check_file(const char *path, const uint8_t *data, size_t size) {
  collected c = make_collected(size);
  c.data = data;
  FUZZ_CHECK(read_documents(path, ULY_DOCUMENTS_FILE, &c) == ULY_OK, "%s", uly_last_error());
  FUZZ_CHECK(c.num_documents == (size > 0) && c.num_bytes == size, "%zu documents",
             c.num_documents);
  FUZZ_CHECK(memcmp(c.bytes, data, size) == 0, "other bytes");
  free_collected(&c);
}

static void check_lines(const char *path, const uint8_t *data, size_t size) {
  collected c = make_collected(size), expected = make_collected(size);
  c.data = data;
  for (size_t begin = 0; begin < size;) {
    size_t stop = begin;
    while (stop < size && data[stop] != '\n') stop++;
    size_t last = stop < size && stop > begin && data[stop - 1] == '\r' ? stop - 1 : stop;
    if (last > begin) {
      (void)add(&expected, (const char *)data + begin, (int64_t)(last - begin), 0);
      (void)end(&expected);
    }
    begin = stop + 1;
  }
  FUZZ_CHECK(read_documents(path, ULY_DOCUMENTS_LINE, &c) == ULY_OK, "%s", uly_last_error());
  FUZZ_CHECK(c.num_documents == expected.num_documents, "%zu documents instead of %zu",
             c.num_documents, expected.num_documents);
  FUZZ_CHECK(memcmp(c.ends, expected.ends, c.num_documents * sizeof *c.ends) == 0, "other ends");
  FUZZ_CHECK(memcmp(c.bytes, expected.bytes, c.num_bytes) == 0, "other bytes");
  free_collected(&c);
  free_collected(&expected);
}

/* Bytes of the UTF-8 sequence that begins with this one, 0 where none does. */
static size_t length_of(unsigned char first) {
  return first < 0x80   ? 1
         : first < 0xc2 ? 0
         : first < 0xe0 ? 2
         : first < 0xf0 ? 3
         : first < 0xf5 ? 4
                        : 0;
}

static void check_utf8(const unsigned char *bytes, size_t count) {
  for (size_t at = 0, length; at < count; at += length) {
    length = length_of(bytes[at]);
    FUZZ_CHECK(length > 0 && length <= count - at, "no UTF-8 at %zu", at);
    for (size_t i = 1; i < length; i++) FUZZ_CHECK(bytes[at + i] >> 6 == 2, "no UTF-8 at %zu", at);
  }
}

/* Where bad lines are left out, nothing else can be wrong; what comes before the first of them is
 * the same. */
static void check_skipping(const char *path, size_t size, const collected *c, uly_status status) {
  collected all = make_collected(size);
  const uly__document_sink sink = {&all, add, end, skip, NULL};
  const uly__document_format format = {ULY_DOCUMENTS_JSONL, "text", .any_bytes = true};
  FUZZ_CHECK(uly__documents_read(path, &format, &sink) == ULY_OK, "%s", uly_last_error());
  FUZZ_CHECK((status == ULY_OK) == (all.num_skipped == 0), "%zu lines left out", all.num_skipped);
  FUZZ_CHECK(all.num_documents >= c->num_documents, "%zu documents", all.num_documents);
  FUZZ_CHECK(memcmp(all.bytes, c->bytes, c->num_bytes) == 0, "other bytes");
  free_collected(&all);
}

/* As a program reads it: it may be no text at all. */
static void check_text(const char *path, size_t size) {
  collected c = make_collected(size);
  const uly__document_sink sink = {.context = &c, .add = add, .end = end};
  const uly__document_format format = {.kind = ULY_DOCUMENTS_FILE};
  uly_status status = uly__documents_read(path, &format, &sink);
  if (status != ULY_OK) fuzz_check_refusal(status, uly_last_error());
  FUZZ_CHECK(c.num_bytes == 0 || status == ULY_OK, "refused after a part of it");
  free_collected(&c);
}

static void check_jsonl(const char *path, size_t size) {
  collected c = make_collected(size);
  uly_status status = read_documents(path, ULY_DOCUMENTS_JSONL, &c);
  if (status != ULY_OK) fuzz_check_refusal(status, uly_last_error());
  for (size_t i = 0, begin = 0; i < c.num_documents; begin = c.ends[i++])
    check_utf8(c.bytes + begin, c.ends[i] - begin);
  check_skipping(path, size, &c, status);
  free_collected(&c);
}

/* Which is no text, and refused, however it is to be cut. */
static bool is_shard(const uint8_t *data, size_t size) {
  int32_t magic = 0;
  if (size >= sizeof magic) memcpy(&magic, data, sizeof magic);
  return magic == ULY_SHARD_MAGIC_U16 || magic == ULY_SHARD_MAGIC_U32;
}

static void check_refused(const char *path, size_t size) {
  collected c = make_collected(size);
  for (int kind = ULY_DOCUMENTS_FILE; kind <= ULY_DOCUMENTS_JSONL; kind++)
    FUZZ_CHECK(read_documents(path, (uly_documents)kind, &c) == ULY_ERR_DATA && c.num_bytes == 0,
               "a shard is read as text");
  free_collected(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_clear();
  const char *path = fuzz_file("text", data, size);
  if (is_shard(data, size)) {
    check_refused(path, size);
    return 0;
  }
  check_file(path, data, size);
  check_lines(path, data, size);
  check_jsonl(path, size);
  check_text(path, size);
  return 0;
}
