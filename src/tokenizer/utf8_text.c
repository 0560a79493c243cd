/* See utf8_text.h. Which sequences are valid is table 3-7 of the Unicode Standard. */
#include "tokenizer/utf8_text.h"

#include <string.h>

int uly__utf8_encode(uint32_t c, unsigned char *out) {
  if (c < 0x80) {
    out[0] = (unsigned char)c;
    return 1;
  }
  int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  static const unsigned char marks[] = {0, 0xc0, 0xe0, 0xf0};
  for (int i = more; i > 0; i--, c >>= 6) out[i] = (unsigned char)(0x80 | (c & 0x3f));
  out[0] = (unsigned char)(marks[more] | c);
  return more + 1;
}

/* Returns how many bytes at s belong to the longest beginning of a character; *whole is the number
 * of bytes that the character would have, or 0 if none begins with s[0]. */
static int match_character(const unsigned char *s, int64_t n, int *whole) {
  unsigned char first = s[0], low = 0x80, high = 0xbf;
  *whole = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (first > 0xf4) *whole = 0;
  if (first == 0xe0) low = 0xa0;
  if (first == 0xed) high = 0x9f;
  if (first == 0xf0) low = 0x90;
  if (first == 0xf4) high = 0x8f;
  int length = *whole > 0;
  for (; length < *whole && length < n; length++, low = 0x80, high = 0xbf)
    if (s[length] < low || s[length] > high) break;
  return length;
}

int64_t uly__utf8_valid(const unsigned char *text, int64_t n) {
  for (int64_t i = 0; i < n;) {
    uint64_t eight;
    for (; i + 8 <= n; i += 8) {
      memcpy(&eight, text + i, sizeof eight);
      if (eight & 0x8080808080808080u) break;
    }
    int whole = 1;
    if (i < n && match_character(text + i, n - i, &whole) != whole) return i;
    if (whole == 0) return i;
    if (i < n) i += whole;
  }
  return n;
}

int uly__utf8_broken(const unsigned char *text, int64_t n) {
  int whole, length = match_character(text, n, &whole);
  return length > 0 ? length : 1;
}
