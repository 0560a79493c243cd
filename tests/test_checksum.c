/* Tests checksums of arrays: sums that files depend on are the known ones, any cuts give the same
 * sum, and every kind of damage gives another. */
#include "base/checksum.h"
#include "testing.h"

enum { COUNT = 1500 };

/* Computes a sum as the format describes it, in 128 bits. */
static uint64_t naive(int64_t begin, int64_t count, const float *x) {
  const unsigned __int128 modulus = (unsigned __int128)1 << 64;
  unsigned __int128 sum = 0;
  for (int64_t i = 0; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, &x[i], 4);
    unsigned __int128 place = (unsigned __int128)(begin + i), high = place / 4294967296u;
    unsigned __int128 z = place % 4294967296u * 4294967296u + bits;
    z = (z + (high + 1) * 0x9e3779b97f4a7c15u) % modulus;
    z = (z ^ z / (1u << 30)) * 0xbf58476d1ce4e5b9u % modulus;
    z = (z ^ z / (1u << 27)) * 0x94d049bb133111ebu % modulus;
    sum = (sum + (z ^ z / (1u << 31))) % modulus;
  }
  return (uint64_t)sum;
}

static void fill(float *x, int64_t count) {
  for (int64_t i = 0; i < count; i++) x[i] = (float)(i * i % 1009 - 500) / 64;
}

static void test_known_sums(void **state) {
  (void)state;
  const uint32_t bits[] = {0, 0x3f800000, 0x80000000, 0x7fc00000};
  assert_true(uly__checksum(0, 0, bits) == 0);
  assert_true(uly__checksum(0, 1, bits) == UINT64_C(0xe220a8397b1dcdaf));
  assert_true(uly__checksum(0, 3, bits + 1) == UINT64_C(0x8ecfd9e298787120));
  assert_true(uly__checksum(INT64_C(0xffffffff), 2, bits) == UINT64_C(0xe54dc2c19244a99d));
  float x[COUNT];
  fill(x, COUNT);
  const int64_t begins[] = {0, 1, 255, 1000003, (INT64_C(1) << 32) - 700, INT64_C(1) << 40};
  for (int i = 0; i < 6; i++)
    for (int64_t count = 0; count <= COUNT; count += count < 20 ? 1 : 370)
      assert_true(uly__checksum(begins[i], count, x) == naive(begins[i], count, x));
}

/* Cuts into parts of any size, and reads data at any byte. */
static void test_cuts(void **state) {
  (void)state;
  float x[COUNT];
  char moved[COUNT * 4 + 3];
  fill(x, COUNT);
  memcpy(moved + 3, x, sizeof x);
  uint64_t whole = uly__checksum(0, COUNT, x);
  assert_true(uly__checksum(0, COUNT, moved + 3) == whole);
  for (int64_t first = 1; first < 40; first++) {
    uint64_t sum = 0;
    for (int64_t at = 0, part = first; at < COUNT; at += part, part = 1 + (part * 7 + 3) % 91) {
      if (part > COUNT - at) part = COUNT - at;
      sum += uly__checksum(at, part, x + at);
    }
    assert_true(sum == whole);
  }
}

static void check_swaps(float *x, uint64_t whole) {
  for (int64_t i = 0; i < COUNT; i += 37)
    for (int64_t j = i + 1; j < COUNT; j += 1 + j % 300) {
      float xi = x[i], xj = x[j];
      x[i] = xj;
      x[j] = xi;
      assert_true((uly__checksum(0, COUNT, x) == whole) == (xi == xj));
      x[i] = xi;
      x[j] = xj;
    }
}

static void check_flips(float *x, uint64_t whole) {
  for (int64_t bit = 0; bit < COUNT * 32; bit += 1 + bit % 61) {
    unsigned char *byte = (unsigned char *)x + bit / 8, mask = (unsigned char)(1u << bit % 8);
    *byte ^= mask;
    assert_false(uly__checksum(0, COUNT, x) == whole);
    *byte ^= mask;
  }
}

static void test_damage(void **state) {
  (void)state;
  float x[COUNT], shifted[COUNT] = {0};
  fill(x, COUNT);
  uint64_t whole = uly__checksum(0, COUNT, x);
  check_swaps(x, whole);
  check_flips(x, whole);
  memcpy(shifted + 1, x, sizeof x - sizeof *x);
  shifted[0] = x[COUNT - 1];
  assert_false(uly__checksum(0, COUNT, shifted) == whole);
  assert_false(uly__checksum(1, COUNT, x) == whole);
}

/* Zeros count, and so does where they are. */
static void test_zeros(void **state) {
  (void)state;
  enum { ZEROS = 300 };
  float x[ZEROS] = {0};
  uint64_t sums[2 * ZEROS];
  for (int64_t i = 0; i < ZEROS; i++) {
    sums[i] = uly__checksum(0, i, x);
    x[i] = 1;
    sums[ZEROS + i] = uly__checksum(0, ZEROS, x);
    x[i] = 0;
  }
  for (int i = 0; i < 2 * ZEROS; i++)
    for (int j = 0; j < i; j++) assert_false(sums[i] == sums[j]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_known_sums),
      cmocka_unit_test(test_cuts),
      cmocka_unit_test(test_damage),
      cmocka_unit_test(test_zeros),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
