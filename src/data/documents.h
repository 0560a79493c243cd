/* Reads a file of text document after document. Files are streams: pipes will do, and no more than a piece of a file
 * is in memory, but for the lines of JSON Lines, which are at most ULY_MAX_JSON_LINE bytes long. */
#ifndef ULY_DOCUMENTS_H
#define ULY_DOCUMENTS_H

#include "base/status.h"

enum { ULY_MAX_JSON_LINE = 64 << 20 };

/* Who takes the documents. A failure of either ends the reading. */
typedef struct uly__document_sink {
  void *context;
  /* The next bytes of a document, at least one. Documents without bytes are left out. */
  uly_status (*add)(void *context, const char *bytes, int64_t count);
  uly_status (*end)(void *context);
} uly__document_sink;

/* Documents of a file, see uly_documents. A line ends with \n or \r\n, or with the file. text_key: of JSON Lines, whose
 * blank lines are left out; what is wrong with one of them is ULY_ERR_DATA, with its number. So is a token shard, which
 * is no text. */
uly_status uly__documents_read(const char *path, uly_documents kind, const char *text_key,
                               const uly__document_sink *sink);

#endif
