/* Reads a file of text document by document. Files are streams: pipes are accepted, and only a
 * piece of a file is in memory, except for the lines of JSON Lines, which are at most
 * ULY_MAX_JSON_LINE bytes long. */
#ifndef ULY_DOCUMENTS_H
#define ULY_DOCUMENTS_H

#include <stdbool.h>

#include "base/status.h"

enum { ULY_MAX_JSON_LINE = 64 << 20 };

/* Takes the documents. A failure of either function ends the reading. */
typedef struct uly__document_sink {
  void *context;
  /* Takes the next bytes of a document, at least one, which begin at byte `place` of the file (of
   * JSON Lines: at the end of their line). Documents without bytes are left out. */
  uly_status (*add)(void *context, const char *bytes, int64_t count, int64_t place);
  uly_status (*end)(void *context);
  /* Is told of a line of JSON Lines that holds no text, and why, and the line is left out. If this
   * is NULL, such a line is a failure. */
  void (*skip)(void *context, const char *why);
  /* Called with the number of further bytes that were read from the file; may be NULL. */
  void (*read)(void *context, int64_t count);
} uly__document_sink;

/* How a file is read. */
typedef struct uly__document_format {
  uly_documents kind;
  const char *text_key; /* for JSON Lines */
  bool any_bytes;       /* accept any bytes */
  bool is_tokenized;    /* by a tokenizer, which reads UTF-8 */
} uly__document_format;

/* Reads the documents of a file; see uly_documents. A line ends with \n or \r\n, or with the file.
 * Blank lines of JSON Lines are left out; an error in another line is ULY_ERR_DATA, with the line's
 * number. A token shard is ULY_ERR_DATA too, since it is not text, and so is, unless any_bytes is
 * set, anything else that evidently is not (plain_text.h); in that case a byte-order mark of UTF-8
 * is left out. */
uly_status uly__documents_read(const char *path, const uly__document_format *format,
                               const uly__document_sink *sink);

#endif
