/* Whether a file that is to be read as text is text: bytes are tokens whatever they are, so that a
 * file of something else would be trained on without a word. */
#ifndef ULY_PLAIN_TEXT_H
#define ULY_PLAIN_TEXT_H

#include <stddef.h>

#include "base/status.h"

/* So many of a file's first bytes are looked at. */
enum { ULY_TEXT_SAMPLE = 1 << 16 };

/* Fails with ULY_ERR_DATA where the first bytes of a file (all of them, or ULY_TEXT_SAMPLE) are
 * evidently something else: they begin as a well-known format does, or as text in another encoding
 * than UTF-8, or hold more control characters than any text. The message says what the file is and
 * what to do; option: the member that has its bytes taken as they are. */
uly_status uly__check_plain_text(const char *path, const unsigned char *bytes, size_t count,
                                 const char *option);

/* Returns how many bytes a mark of UTF-8 takes at a file's beginning: 3 or 0. */
size_t uly__utf8_mark(const unsigned char *bytes, size_t count);

#endif
