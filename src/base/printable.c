#include "base/printable.h"

#include <string.h>

/* Returns the number of bytes of the control character at s, or 0 if there is none. */
static int control_bytes(const char *s) {
  unsigned char a = (unsigned char)s[0];
  if (a == 0) return 0;
  if (a < 0x20 || a == 0x7f) return 1;
  if (a != 0xc2) return 0;
  /* This may be the end: texts may be cut within a character. */
  unsigned char b = (unsigned char)s[1];
  return b >= 0x80 && b < 0xa0 ? 2 : 0;
}

bool uly__has_control_characters(const char *s) {
  for (; *s; s++)
    if (control_bytes(s) > 0) return true;
  return false;
}

uly__printable uly__make_printable(const char *s) {
  uly__printable out;
  size_t length = strnlen(s, sizeof out.text);
  bool cut = length == sizeof out.text; /* the end does not fit */
  if (cut) length = sizeof out.text - 4;
  memcpy(out.text, s, length);
  for (size_t i = 0; i < length; i++)
    for (int j = control_bytes(s + i); j > 0; j--) out.text[i + (size_t)j - 1] = '?';
  memcpy(out.text + length, cut ? "..." : "", cut ? 4 : 1);
  return out;
}
