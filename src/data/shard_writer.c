/* Writes token shards from front to back; see shard_header.h for what is in them. */
#include "data/shard_writer.h"

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/folder.h"
#include "data/shard_header.h"

enum { BUFFER_TOKENS = 1 << 16, MAX_SHARDS = 1000000 };

struct uly__shard_writer {
  char folder[PATH_MAX], path[PATH_MAX]; /* path: that of the current shard */
  int fd;                                /* -1: no shard is open */
  int64_t shard_tokens;
  /* Tokens of the current shard, including those in the buffer. */
  int64_t num_tokens;
  int num_buffered;
  uly__shard_tokens tokens;
  int64_t width; /* bytes of a token */
  uly_prepare_part total;
  union {
    uint16_t u16[BUFFER_TOKENS];
    uint32_t u32[BUFFER_TOKENS];
  } buffer;
};

uly_status uly__shard_writer_open(const char *folder, int64_t shard_tokens,
                                  const uly__shard_tokens *tokens, uly__shard_writer **out) {
  *out = NULL;
  if (shard_tokens < 1 || shard_tokens > INT32_MAX)
    ULY_FAIL(ULY_ERR_CONFIG, "prepare.shard_tokens is %lld, but it must be from 1 to %d",
             (long long)shard_tokens, INT32_MAX);
  if (strlen(folder) >= PATH_MAX) ULY_FAIL(ULY_ERR_IO, "the path '%s' is too long", folder);
  uly__shard_writer *writer = calloc(1, sizeof *writer);
  if (!writer) ULY_FAIL(ULY_ERR_MEMORY, "no memory to write token shards");
  memcpy(writer->folder, folder, strlen(folder) + 1);
  writer->fd = -1;
  writer->shard_tokens = shard_tokens;
  writer->tokens = *tokens;
  writer->width = tokens->vocab <= UINT16_MAX + 1 ? sizeof(uint16_t) : sizeof(uint32_t);
  *out = writer;
  return ULY_OK;
}

/* Fills in the header, which says how many tokens follow, so that it is written once more at the
 * end. */
static void fill_header(const uly__shard_writer *writer, int64_t count,
                        int32_t header[ULY_SHARD_HEADER_INTS]) {
  bool is_wide = writer->width == sizeof(uint32_t);
  const uly__shard_tokens *tokens = &writer->tokens;
  memset(header, 0, ULY_SHARD_HEADER_BYTES);
  header[ULY_SHARD_MAGIC] = is_wide ? ULY_SHARD_MAGIC_U32 : ULY_SHARD_MAGIC_U16;
  header[ULY_SHARD_VERSION] = is_wide ? ULY_SHARD_VERSION_U32 : ULY_SHARD_VERSION_U16;
  header[ULY_SHARD_COUNT] = (int32_t)count;
  header[ULY_SHARD_END] = 1 + tokens->end;
  if (tokens->tokenizer == 0) return;
  memcpy(&header[ULY_SHARD_HASH], &tokens->tokenizer, sizeof tokens->tokenizer);
  header[ULY_SHARD_VOCAB] = (int32_t)tokens->vocab;
}

static uly_status begin_shard(uly__shard_writer *writer) {
  char name[32];
  int32_t header[ULY_SHARD_HEADER_INTS];
  /* Names are read in the order of their characters, so all must have the same length. */
  if (writer->total.shards == MAX_SHARDS)
    ULY_FAIL(ULY_ERR_CONFIG,
             "there are more than %d shards in '%s': put more tokens in each than "
             "prepare.shard_tokens = %lld",
             MAX_SHARDS, writer->folder, (long long)writer->shard_tokens);
  snprintf(name, sizeof name, "%06lld.bin", (long long)writer->total.shards);
  ULY_TRY(uly__path_join(writer->path, PATH_MAX, writer->folder, name));
  fill_header(writer, 0, header);
  ULY_TRY(uly__file_create(writer->path, header, sizeof header, 0));
  return uly__file_open(writer->path, &writer->fd);
}

static uly_status flush(uly__shard_writer *writer) {
  int64_t count = writer->num_buffered, first = writer->num_tokens - count;
  writer->num_buffered = 0;
  return uly__file_write(writer->fd, writer->path, ULY_SHARD_HEADER_BYTES + first * writer->width,
                         &writer->buffer, count * writer->width);
}

static uly_status end_shard(uly__shard_writer *writer) {
  int32_t header[ULY_SHARD_HEADER_INTS];
  fill_header(writer, writer->num_tokens, header);
  uly_status status = flush(writer);
  if (status == ULY_OK)
    status = uly__file_write(writer->fd, writer->path, 0, header, sizeof header);
  status = uly__file_finish(writer->fd, writer->path, status);
  writer->fd = -1;
  writer->total.tokens += writer->num_tokens;
  writer->total.bytes += ULY_SHARD_HEADER_BYTES + writer->num_tokens * writer->width;
  writer->total.shards++;
  writer->num_tokens = 0;
  return status;
}

/* Makes room in the buffer for some of the next tokens, at least one: *count, at most `wanted`. */
static uly_status make_room(uly__shard_writer *writer, int64_t wanted, int64_t *count) {
  if (writer->fd >= 0 && writer->num_tokens == writer->shard_tokens) ULY_TRY(end_shard(writer));
  if (writer->fd < 0) ULY_TRY(begin_shard(writer));
  if (writer->num_buffered == BUFFER_TOKENS) ULY_TRY(flush(writer));
  int64_t left = writer->shard_tokens - writer->num_tokens;
  int64_t room = BUFFER_TOKENS - writer->num_buffered;
  *count = wanted < room ? wanted : room;
  if (*count > left) *count = left;
  return ULY_OK;
}

uly_status uly__shard_writer_add_bytes(uly__shard_writer *writer, const char *bytes,
                                       int64_t count) {
  int32_t tokens[1024];
  while (count > 0) {
    int64_t part = count < 1024 ? count : 1024;
    for (int64_t i = 0; i < part; i++) tokens[i] = (unsigned char)bytes[i];
    ULY_TRY(uly__shard_writer_add(writer, tokens, part));
    bytes += part;
    count -= part;
  }
  return ULY_OK;
}

static void buffer_tokens(uly__shard_writer *writer, const int32_t *restrict tokens,
                          int64_t count) {
  if (writer->width == sizeof(uint16_t)) {
    uint16_t *restrict to = writer->buffer.u16 + writer->num_buffered;
    for (int64_t i = 0; i < count; i++) to[i] = (uint16_t)tokens[i];
  } else {
    memcpy(writer->buffer.u32 + writer->num_buffered, tokens, (size_t)count * sizeof *tokens);
  }
  writer->num_buffered += (int)count;
  writer->num_tokens += count;
}

uly_status uly__shard_writer_add(uly__shard_writer *writer, const int32_t *tokens, int64_t count) {
  while (count > 0) {
    int64_t part;
    ULY_TRY(make_room(writer, count, &part));
    buffer_tokens(writer, tokens, part);
    tokens += part;
    count -= part;
  }
  return ULY_OK;
}

uly_status uly__shard_writer_end_document(uly__shard_writer *writer) {
  ULY_TRY(uly__shard_writer_add(writer, &writer->tokens.end, 1));
  writer->total.documents++;
  return ULY_OK;
}

int64_t uly__shard_writer_count(const uly__shard_writer *writer) {
  return writer->total.tokens + writer->num_tokens;
}

uly_status uly__shard_writer_finish(uly__shard_writer *writer, uly_prepare_part *part) {
  if (writer->fd >= 0) ULY_TRY(end_shard(writer));
  *part = writer->total;
  return ULY_OK;
}

void uly__shard_writer_close(uly__shard_writer *writer) {
  if (!writer) return;
  if (writer->fd >= 0) close(writer->fd);
  free(writer);
}
