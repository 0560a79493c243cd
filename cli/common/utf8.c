/* See utf8.h. Which sequences are valid is table 3-7 of the Unicode Standard. */
#include "common/utf8.h"

#include <stdlib.h>
#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd"

int utf8_character(const char *text, int64_t n) {
  const unsigned char *s = (const unsigned char *)text;
  unsigned char first = s[0];
  int length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (length == 0 || first > 0xf4) return -1;
  for (int i = 1; i < length; i++, low = 0x80, high = 0xbf) {
    if (i >= n) return 0;
    if (s[i] < low || s[i] > high) return -i;
  }
  return length;
}

uly_status utf8_check(uly_status code, const char *what, const char *text, int64_t n) {
  for (int64_t at = 0, length; at < n; at += length) {
    length = utf8_character(text + at, n - at);
    if (length <= 0)
      return uly_fail(code, "%s is not UTF-8: see its byte %lld", what, (long long)at);
  }
  return ULY_OK;
}

int64_t utf8_print(FILE *file, const char *text, int64_t n, bool is_end) {
  int64_t at = 0;
  while (at < n) {
    int length = utf8_character(text + at, n - at);
    if (length == 0 && !is_end) break;
    if (length > 0)
      fwrite(text + at, 1, (size_t)length, file);
    else
      fputs(REPLACEMENT, file);
    at += length > 0 ? length : length < 0 ? -length : n - at;
  }
  return at;
}

/* Returns whether a character of several bytes is a control character: one of U+0080 to U+009F. */
static bool is_control(const char *text, int length) {
  return length == 2 && (unsigned char)text[0] == 0xc2 && (unsigned char)text[1] < 0xa0;
}

static void print_hex(FILE *file, const char *text, int64_t n) {
  for (int64_t i = 0; i < n; i++) fprintf(file, "\\x%02x", (unsigned char)text[i]);
}

static void print_ascii(FILE *file, char c) {
  static const char escaped[] = "\n\t\r\\", letters[] = "ntr\\";
  const char *found = c ? strchr(escaped, c) : NULL;
  if (found)
    fprintf(file, "\\%c", letters[found - escaped]);
  else if (c == ' ')
    fputs("\xe2\x90\xa3", file);
  else if (c < ' ' || c == 0x7f)
    print_hex(file, &c, 1);
  else
    fputc(c, file);
}

void utf8_print_visible(FILE *file, const char *text, int64_t n) {
  for (int64_t at = 0; at < n;) {
    int length = utf8_character(text + at, n - at);
    int64_t bytes = length > 0 ? length : length < 0 ? -length : n - at;
    if (length == 1)
      print_ascii(file, text[at]);
    else if (length > 0 && !is_control(text + at, length))
      fwrite(text + at, 1, (size_t)bytes, file);
    else
      print_hex(file, text + at, bytes);
    at += bytes;
  }
}

static json_t *make_json(const char *text, int64_t n, bool is_visible) {
  char *copy = NULL;
  size_t length = 0;
  FILE *file = open_memstream(&copy, &length);
  if (!file) return NULL;
  if (is_visible)
    utf8_print_visible(file, text, n);
  else
    (void)utf8_print(file, text, n, true);
  json_t *json = fclose(file) == 0 ? json_stringn(copy, length) : NULL;
  free(copy);
  return json;
}

json_t *utf8_json(const char *text, int64_t n) { return make_json(text, n, false); }

json_t *utf8_json_visible(const char *text, int64_t n) { return make_json(text, n, true); }
