/* Documents: whole files, lines, or a text in each line of JSON (JSON Lines). */
#include "data/documents.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/printable.h"
#include "data/plain_text.h"
#include "data/shard_header.h"

enum { PIECE = 1 << 18 };

typedef struct reader {
  const char *path;
  const uly__document_format *format;
  const uly__document_sink *sink;
  /* Where in the file the bytes begin that the cutter takes. */
  int64_t place;
  /* Some bytes of the document have been passed on. */
  bool has_begun;
  /* For lines: a \r was read, which is text unless \n follows. */
  bool has_return;
  int64_t line; /* JSON Lines: number from 1 */
  bool skips;   /* JSON Lines: the line's rest */
  /* JSON Lines: the part of the line that earlier pieces held. */
  char *begun;
  size_t num_begun, capacity;
} reader;

static uly_status add(reader *r, const char *bytes, size_t count) {
  if (count == 0) return ULY_OK;
  r->has_begun = true;
  return r->sink->add(r->sink->context, bytes, (int64_t)count, r->place);
}

/* Adds the \r that ended the bytes before those at `place`. */
static uly_status add_return(reader *r) {
  r->has_begun = true;
  return r->sink->add(r->sink->context, "\r", 1, r->place - 1);
}

static uly_status end(reader *r) {
  bool has_begun = r->has_begun;
  r->has_begun = false;
  return has_begun ? r->sink->end(r->sink->context) : ULY_OK;
}

/* --------------------------------------------------------------------------- lines */

/* Takes the next bytes of a line; `ends` says that \n follows them. */
static uly_status take_line(reader *r, const char *bytes, size_t count, bool ends) {
  if (r->has_return && count > 0) {
    r->has_return = false;
    ULY_TRY(add_return(r));
  }
  if (count > 0 && bytes[count - 1] == '\r') {
    r->has_return = true;
    count--;
  }
  ULY_TRY(add(r, bytes, count));
  if (!ends) return ULY_OK;
  r->has_return = false;
  return end(r);
}

static uly_status end_lines(reader *r) {
  if (r->has_return) ULY_TRY(add_return(r));
  return end(r);
}

/* ---------------------------------------------------------------------- JSON Lines */

static bool is_blank(const char *bytes, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (!strchr(" \t\r", bytes[i]) || bytes[i] == '\0') return false;
  return true;
}

static const char *kind_of(const json_t *json) {
  switch (json_typeof(json)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER:
    case JSON_REAL: return "a number";
    case JSON_TRUE:
    case JSON_FALSE: return "true or false";
    case JSON_NULL: break;
  }
  return "null";
}

/* Reports what is wrong with a line, or ends the reading with it. */
static uly_status leave_out(const reader *r) {
  char why[1024];
  snprintf(why, sizeof why, "%s", uly_last_error());
  if (!r->sink->skip) ULY_FAIL(ULY_ERR_DATA, "%s (prepare.skip_bad leaves such lines out)", why);
  r->sink->skip(r->sink->context, why);
  return ULY_OK;
}

static uly_status find_text(const reader *r, const json_t *json, const json_t **text) {
  const char *key = r->format->text_key;
  if (!json_is_object(json))
    ULY_FAIL(ULY_ERR_DATA, "'%s', line %lld: the line is %s, but each line must be an object",
             r->path, (long long)r->line, kind_of(json));
  *text = json_object_get(json, key);
  if (!*text)
    ULY_FAIL(
        ULY_ERR_DATA,
        "'%s', line %lld: there is no \"%s\" in this object: prepare.text_key says under which key "
        "the text is",
        r->path, (long long)r->line, uly__make_printable(key).text);
  if (!json_is_string(*text))
    ULY_FAIL(ULY_ERR_DATA, "'%s', line %lld: \"%s\" is %s, but it must be a string", r->path,
             (long long)r->line, uly__make_printable(key).text, kind_of(*text));
  return ULY_OK;
}

static uly_status parse(const reader *r, const char *bytes, size_t count, json_t **out) {
  json_error_t error;
  /* Integers are read as reals, since one of more than 64 bits is no reason to refuse the text
   * beside it. */
  *out = json_loadb(
      bytes, count,
      JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, &error);
  if (!*out)
    ULY_FAIL(ULY_ERR_DATA, "'%s', line %lld, column %d: this is not JSON: %s", r->path,
             (long long)r->line, error.column, uly__make_printable(error.text).text);
  return ULY_OK;
}

static uly_status take_json_text(reader *r, const char *bytes, size_t count) {
  json_t *json = NULL;
  const json_t *text = NULL;
  r->line++;
  if (is_blank(bytes, count)) return ULY_OK;
  bool is_good = parse(r, bytes, count, &json) == ULY_OK && find_text(r, json, &text) == ULY_OK;
  uly_status status =
      is_good ? add(r, json_string_value(text), json_string_length(text)) : leave_out(r);
  json_decref(json);
  return status == ULY_OK && is_good ? end(r) : status;
}

/* Leaves out a line that is too long, including the rest of it. */
static uly_status skip_line(reader *r) {
  (void)uly_fail(ULY_ERR_DATA,
                 "'%s', line %lld: the line is longer than %d MiB: split it, or put texts of this "
                 "size into files of their own (prepare.documents = ULY_DOCUMENTS_FILE)",
                 r->path, (long long)r->line + 1, ULY_MAX_JSON_LINE >> 20);
  r->num_begun = 0;
  r->skips = true;
  return leave_out(r);
}

static uly_status keep_begun(reader *r, const char *bytes, size_t count) {
  if (count > ULY_MAX_JSON_LINE - r->num_begun) return skip_line(r);
  if (r->num_begun + count > r->capacity) {
    size_t capacity = 2 * (r->num_begun + count);
    char *grown = realloc(r->begun, capacity);
    if (!grown) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a line of %zu bytes", capacity);
    r->begun = grown;
    r->capacity = capacity;
  }
  memcpy(r->begun + r->num_begun, bytes, count);
  r->num_begun += count;
  return ULY_OK;
}

static uly_status end_skipped(reader *r) {
  r->skips = false;
  r->line++;
  return ULY_OK;
}

static uly_status take_json_line(reader *r, const char *bytes, size_t count, bool ends) {
  if (r->skips) return ends ? end_skipped(r) : ULY_OK;
  if (!ends) return keep_begun(r, bytes, count);
  if (r->num_begun == 0) return take_json_text(r, bytes, count);
  ULY_TRY(keep_begun(r, bytes, count));
  if (r->skips) return end_skipped(r);
  count = r->num_begun;
  r->num_begun = 0;
  return take_json_text(r, r->begun, count);
}

static uly_status end_json_lines(reader *r) {
  return r->num_begun > 0 ? take_json_line(r, "", 0, true) : ULY_OK;
}

/* --------------------------------------------------------------------------- files */

static uly_status take_file(reader *r, const char *bytes, size_t count, bool ends) {
  (void)ends;
  return add(r, bytes, count);
}

/* Tells how a file is cut: take gets a piece of a line, and end is called after the last piece. A
 * file that is one document is not cut. */
typedef struct cutter {
  bool cuts;
  uly_status (*take)(reader *r, const char *bytes, size_t count, bool ends);
  uly_status (*end)(reader *r);
} cutter;

static const cutter cutters[] = {[ULY_DOCUMENTS_FILE] = {false, take_file, end},
                                 [ULY_DOCUMENTS_LINE] = {true, take_line, end_lines},
                                 [ULY_DOCUMENTS_JSONL] = {true, take_json_line, end_json_lines}};

static uly_status take_piece(reader *r, const cutter *how, const char *bytes, size_t count) {
  while (count > 0) {
    const char *newline = how->cuts ? memchr(bytes, '\n', count) : NULL;
    size_t length = newline ? (size_t)(newline - bytes) : count;
    ULY_TRY(how->take(r, bytes, length, newline != NULL));
    if (newline) length++;
    bytes += length;
    count -= length;
    r->place += (int64_t)length;
  }
  return ULY_OK;
}

/* Reads as many bytes as there are, up to count, since a pipe gives fewer at a time. */
static uly_status read_piece(const reader *r, int fd, char *bytes, size_t count, size_t *got) {
  for (*got = 0; *got < count;) {
    ssize_t more = read(fd, bytes + *got, count - *got);
    if (more < 0 && errno == EINTR) continue;
    if (more < 0) return uly__file_failed("read from", r->path);
    if (more == 0) break;
    *got += (size_t)more;
  }
  if (r->sink->read) r->sink->read(r->sink->context, (int64_t)*got);
  return ULY_OK;
}

/* Refuses a file that begins like a shard, whose tokens would be taken for bytes of text. */
static uly_status refuse_shard(const reader *r, const char *bytes, size_t count) {
  int32_t magic = 0;
  if (count >= sizeof magic) memcpy(&magic, bytes, sizeof magic);
  if (magic == ULY_SHARD_MAGIC_U16 || magic == ULY_SHARD_MAGIC_U32)
    ULY_FAIL(ULY_ERR_DATA, "'%s' is a token shard, not text: train on it as it is", r->path);
  return ULY_OK;
}

/* Checks the first bytes of a file. *mark is how many of them are not text. */
static uly_status look_at_beginning(const reader *r, const char *bytes, size_t count,
                                    size_t *mark) {
  const unsigned char *first = (const unsigned char *)bytes;
  *mark = 0;
  ULY_TRY(refuse_shard(r, bytes, count));
  if (r->format->any_bytes) return ULY_OK;
  *mark = uly__utf8_mark(first, count);
  const char *otherwise = r->format->is_tokenized
                              ? "prepare.any_bytes replaces bytes that are not UTF-8 by U+FFFD"
                              : "prepare.any_bytes takes its bytes as they are";
  return uly__check_plain_text(r->path, first + *mark, count - *mark, otherwise);
}

static uly_status read_all(reader *r, const cutter *how, int fd, char *piece) {
  size_t got, mark;
  ULY_TRY(read_piece(r, fd, piece, PIECE, &got));
  ULY_TRY(look_at_beginning(r, piece, got, &mark));
  r->place = (int64_t)mark;
  ULY_TRY(take_piece(r, how, piece + mark, got - mark));
  /* A short piece is the last one; otherwise a terminal would have to be ended twice. */
  while (got == PIECE) {
    ULY_TRY(read_piece(r, fd, piece, PIECE, &got));
    ULY_TRY(take_piece(r, how, piece, got));
  }
  return how->end(r);
}

uly_status uly__documents_read(const char *path, const uly__document_format *format,
                               const uly__document_sink *sink) {
  reader r = {.path = path, .format = format, .sink = sink};
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return uly__file_failed("open", path);
  struct stat about;
  if (fstat(fd, &about) == 0 && S_ISCHR(about.st_mode) && !isatty(fd)) {
    close(fd);
    ULY_FAIL(ULY_ERR_DATA, "'%s' is a device, not a file of text", path);
  }
  char *piece = malloc(PIECE);
  uly_status status = piece ? read_all(&r, &cutters[format->kind], fd, piece)
                            : uly_fail(ULY_ERR_MEMORY, "no memory to read '%s'", path);
  close(fd);
  free(piece);
  free(r.begun);
  return status;
}
