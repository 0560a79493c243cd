/* UTF-8: decoding of text that is known to be valid, and the check that makes it known. */
#ifndef ULY_UTF8_TEXT_H
#define ULY_UTF8_TEXT_H

#include <stdint.h>

/* U+2581, which stands for a space in the tokens of many models; and its number of bytes. */
#define ULY__SPACE_MARK "\xe2\x96\x81"
enum { ULY__NUM_SPACE_MARK = 3 };

/* Decodes the character at s in valid UTF-8, and returns how many bytes it has. */
static inline int uly__utf8_decode(const unsigned char *s, uint32_t *character) {
  if (s[0] < 0x80) {
    *character = s[0];
    return 1;
  }
  if (s[0] < 0xe0) {
    *character = (uint32_t)(s[0] & 0x1f) << 6 | (s[1] & 0x3f);
    return 2;
  }
  if (s[0] < 0xf0) {
    *character = (uint32_t)(s[0] & 0x0f) << 12 | (uint32_t)(s[1] & 0x3f) << 6 | (s[2] & 0x3f);
    return 3;
  }
  *character = (uint32_t)(s[0] & 0x07) << 18 | (uint32_t)(s[1] & 0x3f) << 12 |
               (uint32_t)(s[2] & 0x3f) << 6 | (s[3] & 0x3f);
  return 4;
}

/* Returns how many bytes the character has that begins with this byte in valid UTF-8. */
static inline int uly__utf8_length(unsigned char first) {
  return first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* Writes a character to out[4], and returns its number of bytes. */
int uly__utf8_encode(uint32_t character, unsigned char *out);

/* Returns the number of bytes before the first that does not belong to a valid character; n if
 * there is none. Surrogates, overlong forms and code points above U+10FFFF are not valid. */
int64_t uly__utf8_valid(const unsigned char *text, int64_t n);

/* Returns how many bytes at text, where valid UTF-8 ends, one U+FFFD replaces: a truncated
 * character, or a single byte (Unicode 16, section 3.9, table 3-11). */
int uly__utf8_broken(const unsigned char *text, int64_t n);

#endif
