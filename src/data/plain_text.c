/* See plain_text.h. */
#include "data/plain_text.h"

#include <stdbool.h>
#include <string.h>

/* Fewer control characters than this may be accidental. */
enum { MIN_CONTROLS = 8 };

static const char decompress[] = "decompress it first";
static const char unpack[] = "unpack it first";
static const char convert[] = "write it as UTF-8 first (iconv -f %s -t UTF-8)";
static const char to_lines[] =
    "write its texts as JSON Lines, and prepare shards of them (prepare.documents = "
    "ULY_DOCUMENTS_JSONL)";
static const char to_shards[] =
    "write its tokens as token shards, whose header the guide describes under Data";

/* Formats, by the bytes that they have at a certain place. A longer mark comes before a shorter one
 * that it begins with. */
static const struct {
  int place, length;
  const char *mark, *what, *advice, *encoding;
} formats[] = {
    {0, 4, "\xff\xfe\0\0", "text in UTF-32", convert, "UTF-32"},
    {0, 4, "\0\0\xfe\xff", "text in UTF-32", convert, "UTF-32"},
    {0, 2, "\xff\xfe", "text in UTF-16", convert, "UTF-16"},
    {0, 2, "\xfe\xff", "text in UTF-16", convert, "UTF-16"},
    {0, 2, "\x1f\x8b", "compressed by gzip", decompress, NULL},
    {0, 4, "\x28\xb5\x2f\xfd", "compressed by zstd", decompress, NULL},
    {0, 6, "\xfd\x37zXZ\0", "compressed by xz", decompress, NULL},
    {4, 6, "1AY&SY", "compressed by bzip2", decompress, NULL},
    {0, 4, "\x04\x22\x4d\x18", "compressed by lz4", decompress, NULL},
    {0, 4, "PK\3\4", "a zip archive", unpack, NULL},
    {0, 6, "7z\xbc\xaf\x27\x1c", "a 7z archive", unpack, NULL},
    {257, 5, "ustar", "a tar archive", unpack, NULL},
    {0, 5, "PAR1\x15", "a Parquet file", to_lines, NULL},
    {0, 8, "ARROW1\0\0", "an Arrow file", to_lines, NULL},
    {0, 6, "\x93NUMPY", "an array of NumPy", to_shards, NULL},
    {0, 8, "\x89HDF\r\n\x1a\n", "an HDF5 file", to_shards, NULL},
    {0, 5, "%PDF-", "a PDF document", "take the text out of it first (pdftotext)", NULL},
};

/* Returns whether the file begins with the length of a header in 8 bytes, and then the header, a
 * JSON object. */
static bool is_safetensors(const unsigned char *bytes, size_t count) {
  return count > 8 && memcmp(bytes + 4, "\0\0\0\0", 4) == 0 && bytes[8] == '{';
}

size_t uly__utf8_mark(const unsigned char *bytes, size_t count) {
  return count >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

static bool is_control(unsigned char byte) {
  return byte < ' ' && (byte == 0 || !strchr("\t\n\v\f\r\b\x1b", byte));
}

/* Counts control characters, which are rare in text of any 8-bit encoding, and frequent in
 * numbers. */
static size_t count_controls(const unsigned char *bytes, size_t count) {
  size_t num = 0;
  for (size_t i = 0; i < count; i++) num += is_control(bytes[i]);
  return num;
}

/* Finds UTF-16 without a byte-order mark: in nine pairs out of ten the second byte (or the first,
 * for the other order) is 0, and the other byte is an ASCII character. */
static const char *find_utf16(const unsigned char *bytes, size_t count) {
  size_t little = 0, big = 0, pairs = count / 2;
  for (size_t i = 0; i < pairs; i++) {
    unsigned char a = bytes[2 * i], b = bytes[2 * i + 1];
    little += b == 0 && a < 0x7f && !is_control(a);
    big += a == 0 && b < 0x7f && !is_control(b);
  }
  if (pairs == 0) return NULL;
  return little * 10 >= pairs * 9 ? "UTF-16LE" : big * 10 >= pairs * 9 ? "UTF-16BE" : NULL;
}

static uly_status refuse(const char *path, const char *what, const char *advice,
                         const char *encoding, const char *otherwise) {
  char more[256];
  if (encoding)
    snprintf(more, sizeof more, convert, encoding);
  else
    snprintf(more, sizeof more, "%s", advice);
  ULY_FAIL(ULY_ERR_DATA, "'%s' is %s, not plain text: %s. %s", path, what, more, otherwise);
}

uly_status uly__check_plain_text(const char *path, const unsigned char *bytes, size_t count,
                                 const char *otherwise) {
  if (count > ULY_TEXT_SAMPLE) count = ULY_TEXT_SAMPLE;
  for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
    size_t place = (size_t)formats[i].place, length = (size_t)formats[i].length;
    if (count >= place + length && memcmp(bytes + place, formats[i].mark, length) == 0)
      return refuse(path, formats[i].what, formats[i].advice, formats[i].encoding, otherwise);
  }
  if (is_safetensors(bytes, count))
    return refuse(path, "a safetensors file", to_shards, NULL, otherwise);
  size_t num_controls = count_controls(bytes, count);
  if (num_controls < MIN_CONTROLS || num_controls * 100 <= count) return ULY_OK;
  const char *encoding = find_utf16(bytes, count);
  if (encoding) return refuse(path, "text in UTF-16", NULL, encoding, otherwise);
  ULY_FAIL(
      ULY_ERR_DATA,
      "'%s' holds numbers or other binary data, not text: tokens need the header of a token shard "
      "before them, which the guide describes under Data. %s",
      path, otherwise);
}
