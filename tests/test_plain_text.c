/* Tests what is taken for text: the first bytes of other formats, as their specifications give
 * them, are refused with advice; text in any 8-bit encoding is accepted. */
#include "data/plain_text.h"
#include "testing.h"

static uly_status check(const void *bytes, size_t count) {
  return uly__check_plain_text("a file", bytes, count,
                               "config.any_bytes takes its bytes as they are");
}

/* Bytes that follow a mark are text, so that the mark is what tells. */
static void test_formats(void **state) {
  (void)state;
  static const struct {
    const char *mark;
    size_t length;
    const char *what, *advice;
  } cases[] = {
      {"\xff\xfe", 2, "is text in UTF-16", "iconv -f UTF-16 -t UTF-8"},
      {"\xfe\xff", 2, "is text in UTF-16", "iconv -f UTF-16 -t UTF-8"},
      {"\xff\xfe\0\0", 4, "is text in UTF-32", "iconv -f UTF-32 -t UTF-8"},
      {"\0\0\xfe\xff", 4, "is text in UTF-32", "iconv -f UTF-32 -t UTF-8"},
      {"\x1f\x8b\x08", 3, "compressed by gzip", "decompress it first"},
      {"PK\x03\x04", 4, "a zip archive", "unpack it first"},
      {"\x28\xb5\x2f\xfd", 4, "compressed by zstd", "decompress"},
      {"\xfd"
       "7zXZ\0",
       6, "compressed by xz", "decompress"},
      {"BZh91AY&SY", 10, "compressed by bzip2", "decompress"},
      {"BZh11AY&SY", 10, "compressed by bzip2", "decompress"},
      {"\x04\x22\x4d\x18", 4, "compressed by lz4", "decompress"},
      {"7z\xbc\xaf\x27\x1c", 6, "a 7z archive", "unpack"},
      {"PAR1\x15\x04", 6, "a Parquet file", "prepare.documents = ULY_DOCUMENTS_JSONL"},
      {"ARROW1\0\0", 8, "an Arrow file", "prepare.documents = ULY_DOCUMENTS_JSONL"},
      {"\x93NUMPY\x01", 7, "an array of NumPy", "token shards"},
      {"\x89HDF\r\n\x1a\n", 8, "an HDF5 file", "token shards"},
      {"\x40\0\0\0\0\0\0\0{\"a", 11, "a safetensors file", "token shards"},
      {"%PDF-1.7", 8, "a PDF document", "pdftotext"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (size_t more = 0; more < 3000; more += 2999) {
      char bytes[4000];
      memcpy(bytes, cases[i].mark, cases[i].length);
      memset(bytes + cases[i].length, 'x', more);
      assert_fails(check(bytes, cases[i].length + more), ULY_ERR_DATA, cases[i].what);
      assert_fails(check(bytes, cases[i].length + more), ULY_ERR_DATA, cases[i].advice);
      assert_fails(check(bytes, cases[i].length + more), ULY_ERR_DATA, "config.any_bytes");
      bytes[0] = 'x', bytes[1] = 'y', bytes[2] = 'z', bytes[4] = 'w';
      assert_ok(check(bytes, cases[i].length + more));
    }
  char archive[512] = "name";
  memset(archive, 'x', sizeof archive);
  memcpy(archive + 257, "ustar", 5);
  assert_fails(check(archive, sizeof archive), ULY_ERR_DATA, "a tar archive");
  assert_ok(check(archive, 261));
}

/* UTF-16 without a mark, numbers of tokens, and random bytes; text with accidents. */
static void test_content(void **state) {
  (void)state;
  enum { COUNT = 4000 };
  static const char words[] = "To be, or not to be: that is the question.\r\n\tWhether";
  unsigned char little[COUNT], big[COUNT], tokens[COUNT], random[COUNT], latin[COUNT];
  uint64_t seed = 1;
  for (size_t i = 0; i < COUNT; i++) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    unsigned char letter = (unsigned char)words[i / 2 % (sizeof words - 1)];
    little[i] = i % 2 ? 0 : letter;
    big[i] = i % 2 ? letter : 0;
    random[i] = (unsigned char)(seed >> 40);
    tokens[i] = i % 2 ? random[i] % 197 : random[i]; /* of 50,257 */
    latin[i] = i % 9 == 4 ? (unsigned char)(0xa0 + random[i] % 96) : letter;
  }
  assert_fails(check(little, COUNT), ULY_ERR_DATA, "iconv -f UTF-16LE");
  assert_fails(check(big, COUNT), ULY_ERR_DATA, "iconv -f UTF-16BE");
  assert_fails(check(tokens, COUNT), ULY_ERR_DATA, "the header of a token shard");
  assert_fails(check(random, COUNT), ULY_ERR_DATA, "holds numbers");
  assert_ok(check(latin, COUNT));
  for (size_t i = 0; i < 40; i++) latin[i * 97] = 0; /* one in a hundred */
  assert_ok(check(latin, COUNT));
  latin[1] = 1;
  assert_fails(check(latin, COUNT), ULY_ERR_DATA, "holds numbers");
  assert_ok(check(latin, 300));
  assert_ok(check("", 0));
  assert_ok(check("\0", 1));
  assert_ok(check("a\0b", 3));
  for (size_t length = 0; length < 16; length++) (void)check(random, length);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_formats),
                                     cmocka_unit_test(test_content)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
