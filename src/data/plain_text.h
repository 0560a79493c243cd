/* Finds out whether a file that is to be read as text is text. Any bytes can be tokens, so without
 * this a run would train on a file of another kind without a warning. */
#ifndef ULY_PLAIN_TEXT_H
#define ULY_PLAIN_TEXT_H

#include <stddef.h>

#include "base/status.h"

/* The number of a file's first bytes that are examined. */
enum { ULY_TEXT_SAMPLE = 1 << 16 };

/* Fails with ULY_ERR_DATA if the first bytes of a file (all of them, or ULY_TEXT_SAMPLE) are
 * evidently something else: they begin as a well-known format does, or as text in an encoding other
 * than UTF-8, or hold more control characters than any text. The message says what the file is and
 * what to do. `otherwise` is its last sentence: how the file can be read all the same. */
uly_status uly__check_plain_text(const char *path, const unsigned char *bytes, size_t count,
                                 const char *otherwise);

/* Returns how many bytes a byte-order mark of UTF-8 takes at the beginning of a file: 3 or 0. */
size_t uly__utf8_mark(const unsigned char *bytes, size_t count);

#endif
