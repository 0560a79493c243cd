/* Structs that begin with their size: see sized.h. */
#include "base/sized.h"

#include <string.h>

/* No struct of the header comes near this size, so a larger number was never set by a caller. */
enum { LARGEST = 1 << 16 };

static size_t size_of(const void *sized) {
  size_t size;
  memcpy(&size, sized, sizeof size);
  return size;
}

uly_status uly__sized_check(const void *to, const char *name) {
  if (!to) ULY_FAIL(ULY_ERR_CONFIG, "the pointer to a %s is NULL", name);
  if (size_of(to) < sizeof(size_t) || size_of(to) > LARGEST)
    ULY_FAIL(ULY_ERR_CONFIG, "the size of a %s is %zu: set its member `size` to sizeof(%s)", name,
             size_of(to), name);
  return ULY_OK;
}

uly_status uly__sized_read(const void *from, const char *name, void *to, size_t known) {
  ULY_TRY(uly__sized_check(from, name));
  size_t size = size_of(from);
  for (size_t i = known; i < size; i++)
    if (((const unsigned char *)from)[i] != 0)
      ULY_FAIL(
          ULY_ERR_CONFIG,
          "the program sets members of %s that this library does not know: use the library that "
          "belongs to the program's ulysses.h, or a newer one",
          name);
  memcpy(to, from, size < known ? size : known);
  memcpy(to, &known, sizeof known);
  return ULY_OK;
}

/* Fills in everything but the size itself. */
static void fill(void *to, size_t size, const void *from, size_t known) {
  size_t begin = sizeof(size_t), common = size < known ? size : known;
  memcpy((char *)to + begin, (const char *)from + begin, common - begin);
  memset((char *)to + common, 0, size - common);
}

void uly__sized_write(void *to, const void *from, size_t known) {
  fill(to, size_of(to), from, known);
}

void uly__sized_default(void *to, size_t size, const void *defaults, size_t known) {
  if (!to || size < sizeof size) return;
  memcpy(to, &size, sizeof size);
  fill(to, size, defaults, known);
}
