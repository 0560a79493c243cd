/* See group_testing.h. */
#include "group_testing.h"

uly_mesh *mesh;
int size, rank;

enum { GUARD = 0x5a };

void *guarded(int64_t bytes) {
  unsigned char *memory = malloc((size_t)bytes + 1);
  assert_non_null(memory);
  memset(memory, 0xee, (size_t)bytes);
  memory[bytes] = GUARD;
  return memory;
}

void free_guarded(void *memory, int64_t bytes) {
  assert_int_equal(((unsigned char *)memory)[bytes], GUARD);
  free(memory);
}

void poll_some(uly__request *request) {
  for (int i = 0; i < 20; i++) assert_ok(uly__request_poll(request));
}

static unsigned char gathered_byte(int p, int64_t i) {
  return (unsigned char)(p * 37 + i * 11 + i / 256);
}

unsigned char *fill_gather(int64_t part_bytes) {
  unsigned char *data = guarded(size * part_bytes);
  for (int64_t i = 0; i < part_bytes; i++) data[rank * part_bytes + i] = gathered_byte(rank, i);
  return data;
}

unsigned char *start_gather(int64_t part_bytes, uly__request *request) {
  unsigned char *data = fill_gather(part_bytes);
  int64_t sent = mesh->traffic.bytes[counted];
  assert_ok(uly__all_gather_start(uly__mesh_world(mesh), uly__stream_get(), counted, data,
                                  part_bytes, request));
  assert_int_equal(mesh->traffic.bytes[counted] - sent, uly__traffic_all_gather(size, part_bytes));
  return data;
}

void check_gathered(unsigned char *data, int64_t part_bytes) {
  for (int p = 0; p < size; p++)
    for (int64_t i = 0; i < part_bytes; i++)
      assert_int_equal(data[p * part_bytes + i], gathered_byte(p, i));
  free_guarded(data, size * part_bytes);
}

void use_while_busy(uly__group *group) {
  int64_t value = rank;
  assert_ok(uly__sum_i64(group, ULY_TRAFFIC_CONTROL, &value, 1));
  assert_int_equal(value, size * (size - 1) / 2);
  int64_t all[64];
  value = 100 + rank;
  assert_ok(uly__all_gather(group, NULL, ULY_TRAFFIC_CONTROL, &value, sizeof value, all));
  for (int p = 0; p < size; p++) assert_int_equal(all[p], 100 + p);
}
