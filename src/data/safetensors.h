/* safetensors files: u64 little-endian header length, JSON header, data.
 *
 * Writing: the table of tensors is known first, so that the header and the file's size
 * are too; then any process may write any bytes of the data section at their place.
 * Reading: the file is hostile until checked. */
#ifndef ULY_SAFETENSORS_H
#define ULY_SAFETENSORS_H

#include <stdbool.h>

#include "base/status.h"

#define ULY_SAFETENSORS_MAX_DIMS 4
#define ULY_SAFETENSORS_MAX_HEADER 100000000

typedef struct uly__tensor_info {
  char name[192];
  uly_dtype dtype; /* F32 or BF16; others are refused by name on reading */
  int num_dims;    /* 0: a scalar */
  int64_t dims[ULY_SAFETENSORS_MAX_DIMS];
  int64_t begin, bytes; /* in the data section */
} uly__tensor_info;

/* Lays out num tensors one after the other, in this order, without holes: fills begin and
 * bytes from dtype and dims, and returns the data section's size; -1 where a dim is negative
 * or a size does not fit 64 bits. */
int64_t uly__safetensors_layout(uly__tensor_info *tensors, int num);

/* Builds the 8 length bytes and the header (padded with spaces to a multiple of 64 bytes in all)
 * in malloc'ed memory; tensors have been laid out. The same table gives the same bytes.
 * __metadata__ is {"format":"pt"}. ULY_ERR_INTERNAL for a table that is no layout, or with a
 * name twice or one that the reader would refuse. On failure *bytes is NULL. */
uly_status uly__safetensors_header(const uly__tensor_info *tensors, int num, char **bytes,
                                   int64_t *count);

typedef struct uly__safetensors uly__safetensors;

/* Checks everything that the format promises: header length, JSON,
 * known dtypes, dims, offsets contiguous and without holes, ending at the end of the file, no
 * duplicate keys. ULY_ERR_DATA says what is wrong and in which file; ULY_ERR_IO where it
 * cannot be opened. On failure *out is NULL. */
uly_status uly__safetensors_open(const char *path, uly__safetensors **out);
void uly__safetensors_close(uly__safetensors *file);

/* Whether the file begins with just these bytes, as uly__safetensors_header makes them. Errors as for reading. */
uly_status uly__safetensors_has_header(const uly__safetensors *file, const char *bytes,
                                       int64_t count, bool *has);

/* Tensors, in the order of their data. */
int uly__safetensors_num(const uly__safetensors *file);
const uly__tensor_info *uly__safetensors_get(const uly__safetensors *file, int i);
/* NULL where there is none of that name. */
const uly__tensor_info *uly__safetensors_find(const uly__safetensors *file, const char *name);
/* Bytes [begin, begin + count) of a tensor's data, little-endian. ULY_ERR_DATA where the file has been changed since
 * it was opened; ULY_ERR_IO where it cannot be read. Several threads may read at once. */
uly_status uly__safetensors_read(const uly__safetensors *file, const uly__tensor_info *tensor,
                                 int64_t begin, int64_t count, void *out);

#endif
