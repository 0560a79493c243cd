/* Writes text that comes from outside (names of files, what is in them) so that it may go into
 * messages, HTML and scripts of gnuplot; and numbers for readers. */
#include "report/report_text.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "common/format.h"

/* Returns the number of bytes of the character at text, which has length bytes; 0 if it is not
 * UTF-8, or is a control character (of ASCII, or U+0080 to U+009F). */
static size_t character_bytes(const unsigned char *text, size_t length) {
  unsigned char first = text[0];
  if (first < 0x80) return first >= 0x20 && first != 0x7f;
  size_t count = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || count > length) return 0;
  for (size_t i = 1; i < count; i++)
    if ((text[i] & 0xc0) != 0x80) return 0;
  unsigned char second = text[1];
  bool is_control = first == 0xc2 && second < 0xa0;
  bool is_long = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  bool is_no_character = (first == 0xed && second >= 0xa0) || (first == 0xf4 && second >= 0x90);
  return is_control || is_long || is_no_character ? 0 : count;
}

void report_clean(const char *text, size_t length, char *out, size_t size) {
  size_t used = 0, whole = 0; /* whole: where "..." still fits */
  for (size_t i = 0; i < length;) {
    size_t count = character_bytes((const unsigned char *)text + i, length - i);
    size_t copied = count ? count : 1;
    if (used + copied + 1 > size) {
      memcpy(out + whole, "...", 4);
      return;
    }
    if (used + 4 <= size) whole = used;
    if (count)
      memcpy(out + used, text + i, count);
    else
      out[used] = '?';
    used += copied;
    i += copied;
  }
  out[used] = '\0';
}

uly_status report_fail(uly_status status, const char *format, ...) {
  char message[1500], clean[1500];
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  report_clean(message, strlen(message), clean, sizeof clean);
  return uly_fail(status, "%s", clean);
}

void report_put_html(FILE *html, const char *text) {
  char clean[1024];
  report_clean(text, strlen(text), clean, sizeof clean);
  for (const char *c = clean; *c; c++) {
    switch (*c) {
      case '<': fputs("&lt;", html); break;
      case '>': fputs("&gt;", html); break;
      case '&': fputs("&amp;", html); break;
      case '"': fputs("&quot;", html); break;
      case '\'': fputs("&#39;", html); break;
      default: fputc(*c, html);
    }
  }
}

/* In single quotes, only the quote is special; it is doubled. */
void report_put_gnuplot(FILE *script, const char *text) {
  char clean[28];
  report_clean(text, strlen(text), clean, sizeof clean);
  fputc('\'', script);
  for (const char *c = clean; *c; c++) {
    if (*c == '\'') fputc('\'', script);
    fputc(*c, script);
  }
  fputc('\'', script);
}

void report_put_count(FILE *file, double count) {
  char digits[400];
  int length = snprintf(digits, sizeof digits, "%.0f", count);
  for (int i = 0; i < length; i++) {
    fputc(digits[i], file);
    int left = length - 1 - i;
    if (left > 0 && left % 3 == 0 && digits[i] != '-') fputc(',', file);
  }
}

void report_put_duration(FILE *file, double seconds) {
  if (seconds < 0.9995) {
    fprintf(file, "%.0f ms", seconds * 1e3);
  } else if (seconds < 59.95) {
    fprintf(file, "%.1f s", seconds);
  } else if (seconds < 3599.5) {
    double whole = round(seconds);
    fprintf(file, "%.0f min %02.0f s", floor(whole / 60), fmod(whole, 60));
  } else {
    double minutes = round(seconds / 60);
    report_put_count(file, floor(minutes / 60));
    fprintf(file, " h %02.0f min", fmod(minutes, 60));
  }
}

void report_put_bytes(FILE *file, double bytes) {
  char text[FORMAT_BYTES];
  fputs(format_bytes(bytes < 9e18 ? (int64_t)bytes : INT64_MAX, text), file);
}
