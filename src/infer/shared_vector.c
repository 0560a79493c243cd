/* Vectors that several ranks compute together: see shared_vector.h. */
#include "infer/shared_vector.h"

/* At least the number of elements in a SIMD vector. */
enum { UNIT = 16 };

uly__shared_vector uly__shared_of(uly__group *group, uly_traffic kind, uly__part *parts) {
  uly__shared_vector vector = {.group = group, .kind = kind, .parts = parts};
  for (int p = 0; p < uly__group_size(group); p++)
    if (parts[p].count > vector.largest) vector.largest = parts[p].count;
  return vector;
}

uly__shared_vector uly__shared_cut(uly__group *group, uly_traffic kind, uly__part *parts,
                                   int64_t count) {
  int size = uly__group_size(group);
  for (int p = 0; p < size; p++) parts[p] = uly__split(count, UNIT, size, p);
  return uly__shared_of(group, kind, parts);
}

uly__part uly__shared_mine(const uly__shared_vector *vector) {
  return vector->parts[uly__group_rank(vector->group)];
}

uly_status uly__shared_gather(const uly__shared_vector *vector, uly__stream *stream,
                              uly_dtype dtype, const void *mine, void *of_all, void *out) {
  int64_t bytes = uly__dtype_bytes(dtype), stride = vector->largest * bytes;
  uly_status status = uly__all_gather(vector->group, stream, vector->kind, mine, stride, of_all);
  for (int p = 0; p < uly__group_size(vector->group); p++)
    uly__copy(stream, uly__at(out, dtype, vector->parts[p].begin),
              (const char *)of_all + p * stride, vector->parts[p].count * bytes);
  return status;
}

uly_status uly__shared_sum(uly__group *group, const uly__ops *ops, uly__stream *stream,
                           uly_dtype dtype, int64_t count, void *x, void *of_all) {
  int size = uly__group_size(group);
  int64_t bytes = count * uly__dtype_bytes(dtype), strides[size];
  void *terms[size];
  if (size == 1) return ULY_OK;
  uly_status status = uly__all_gather(group, stream, ULY_TRAFFIC_TENSOR_FORWARD, x, bytes, of_all);
  for (int p = 0; p < size; p++) {
    terms[p] = (char *)of_all + p * bytes;
    strides[p] = count;
  }
  ops->sum_rows(stream, 1, count, dtype, size, terms, strides);
  uly__copy(stream, x, terms[0], bytes);
  return status;
}
