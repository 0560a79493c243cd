/* Reads parts of parameters from the files of a Hugging Face folder, as f32, wherever and in
 * whatever type they are stored.
 *
 * A part that lies in one piece of a file is read as it is. The rows of a part that is a narrow
 * strip of its tensor, such as the columns that a rank of tensor parallelism holds or rows of a
 * transposed matrix, are short pieces: then whole rows are read, as many as there is room for, and
 * the parts that are asked for next are picked from these. */
#ifndef ULY_HF_READER_H
#define ULY_HF_READER_H

#include "ops/ops.h"
#include "store/hf_names.h"

/* Rows and columns of a matrix; a vector has one column. */
typedef struct uly__rectangle {
  int64_t row, num_rows, col, num_cols;
} uly__rectangle;

/* A piece of a tensor in the device's memory. */
typedef struct uly__hf_piece {
  const uly__hf_tensor *tensor; /* NULL: none */
  uly__rectangle part;
  char *memory;
  int64_t capacity; /* bytes */
} uly__hf_piece;

/* A file that is open; -1: none. */
typedef struct uly__hf_opened {
  int file, fd;
} uly__hf_opened;

typedef struct uly__hf_reader {
  const uly__hf_folder *folder;
  const uly__ops *ops;
  uly__stream *stream;
  /* The latest part that was read by itself, and the latest rows to pick from. */
  uly__hf_piece direct, rows;
  /* The file that is read, and the one from which more is expected. */
  uly__hf_opened reading, expecting;
} uly__hf_reader;

/* The most elements of a part that is read at once. */
enum { ULY_HF_MOST = 1 << 20 };

/* Allocates the memory of a reader, which must be freed even after a failure. */
uly_status uly__hf_reader_create(const uly__hf_folder *folder, const uly__ops *ops,
                                 uly__stream *stream, uly__hf_reader *out);
void uly__hf_reader_destroy(uly__hf_reader *reader);

/* Reads a rectangle of at most ULY_HF_MOST elements, which lies within the parameter, into
 * out[num_rows][num_cols], in the device's memory. */
uly_status uly__hf_read_part(uly__hf_reader *reader, const uly__hf_place *place,
                             uly__rectangle part, float *out);
/* Lets the system start to read elements [begin, begin + count), which uly__hf_read_range will be
 * asked for soon. A file that cannot be opened is reported when it is read. */
void uly__hf_expect_range(uly__hf_reader *reader, const uly__hf_place *place, int64_t cols,
                          int64_t begin, int64_t count);
/* Reads elements [begin, begin + count), at most ULY_HF_MOST, of a parameter with rows of `cols`
 * elements. */
uly_status uly__hf_read_range(uly__hf_reader *reader, const uly__hf_place *place, int64_t cols,
                              int64_t begin, int64_t count, float *out);

#endif
