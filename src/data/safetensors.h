/* safetensors files: u64 little-endian header length, JSON header, data.
 *
 * Writing: the table of tensors is known first, so that the header and the file's size are known
 * too; then any process may write any bytes of the data section at their place. Reading: the file
 * is hostile until checked. */
#ifndef ULY_SAFETENSORS_H
#define ULY_SAFETENSORS_H

#include <stdbool.h>

#include "base/status.h"

#define ULY_SAFETENSORS_MAX_DIMS 4
#define ULY_SAFETENSORS_MAX_HEADER 100000000

typedef struct uly__tensor_info {
  char name[192];
  uly_dtype dtype;
  /* The name of a type of the format that uly_dtype does not have, such as "BOOL"; NULL: dtype.
   * What such a tensor holds cannot be read, but a model may have no use for it. */
  const char *other;
  int num_dims; /* 0: a scalar */
  int64_t dims[ULY_SAFETENSORS_MAX_DIMS];
  int64_t begin, bytes; /* in the data section */
} uly__tensor_info;

/* Returns the name of the type in the file, such as "F32". */
const char *uly__tensor_type(const uly__tensor_info *tensor);

/* Lays out num tensors one after the other, in this order, without holes: fills begin and bytes
 * from dtype and dims, and returns the size of the data section, or -1 if a dim is negative or a
 * size does not fit into 64 bits. */
int64_t uly__safetensors_layout(uly__tensor_info *tensors, int num);

/* Builds the 8 length bytes and the header (padded with spaces to a multiple of 64 bytes in all) in
 * malloc'ed memory, for tensors that have been laid out. The same table gives the same bytes.
 * __metadata__ is {"format":"pt"}. Returns ULY_ERR_INTERNAL for a table that is not a layout, has a
 * name twice, or has a name that the reader would refuse. On failure *bytes is NULL. */
uly_status uly__safetensors_header(const uly__tensor_info *tensors, int num, char **bytes,
                                   int64_t *count);

typedef struct uly__safetensors uly__safetensors;

/* Opens a file and checks everything that the format promises: header length, JSON, known dtypes,
 * dims, offsets that are contiguous, without holes and end at the end of the file, no duplicate
 * keys. ULY_ERR_DATA says what is wrong and in which file; ULY_ERR_IO if it cannot be opened. On
 * failure *out is NULL. */
uly_status uly__safetensors_open(const char *path, uly__safetensors **out);
void uly__safetensors_close(uly__safetensors *file);

/* Returns whether the file begins with exactly these bytes, as uly__safetensors_header makes them.
 * Errors are those of reading. */
uly_status uly__safetensors_has_header(const uly__safetensors *file, const char *bytes,
                                       int64_t count, bool *has);

/* Return the number of tensors, and one of them, in the order of their data. */
int uly__safetensors_num(const uly__safetensors *file);
const uly__tensor_info *uly__safetensors_get(const uly__safetensors *file, int i);
/* Returns the tensor of that name, or NULL if there is none. */
const uly__tensor_info *uly__safetensors_find(const uly__safetensors *file, const char *name);
/* For a caller that reads the file itself: opens a descriptor, which the caller closes, unless the
 * file has been changed (ULY_ERR_DATA; *fd is -1); and returns where in the file a tensor
 * begins. */
uly_status uly__safetensors_begin(const uly__safetensors *file, int *fd);
int64_t uly__safetensors_place(const uly__safetensors *file, const uly__tensor_info *tensor);
/* Reads bytes [begin, begin + count) of a tensor's data, little-endian. Returns ULY_ERR_DATA if the
 * file has been changed since it was opened, and ULY_ERR_IO if it cannot be read. Several threads
 * may read at once. */
uly_status uly__safetensors_read(const uly__safetensors *file, const uly__tensor_info *tensor,
                                 int64_t begin, int64_t count, void *out);

#endif
