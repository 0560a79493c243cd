/* Reads parts of tensors: see hf_reader.h. */
#include "store/hf_reader.h"

#include <unistd.h>

#include "base/dtype.h"
#include "base/file.h"
#include "base/integers.h"
#include "device/device.h"

/* A row of at least LONG_ROW bytes is read by itself; ROWS_KEPT bytes of rows are kept. */
enum { LONG_ROW = 64 << 10, ROWS_KEPT = 32 << 20 };

uly_status uly__hf_reader_create(const uly__hf_folder *folder, const uly__ops *ops,
                                 uly__stream *stream, uly__hf_reader *out) {
  *out = (uly__hf_reader){
      .folder = folder, .ops = ops, .stream = stream, .reading = {-1, -1}, .expecting = {-1, -1}};
  out->direct.capacity = ULY_HF_MOST * (int64_t)sizeof(float);
  out->rows.capacity = ROWS_KEPT;
  out->direct.memory = uly__device_alloc(out->direct.capacity);
  out->rows.memory = uly__device_alloc(out->rows.capacity);
  ULY_TRY(uly__check_memory(out->direct.memory, "a part of a tensor"));
  return uly__check_memory(out->rows.memory, "rows of a tensor");
}

static void close_file(uly__hf_opened *opened) {
  if (opened->fd >= 0) close(opened->fd);
  *opened = (uly__hf_opened){-1, -1};
}

void uly__hf_reader_destroy(uly__hf_reader *reader) {
  if (reader->direct.memory) uly__device_free(reader->direct.memory, reader->direct.capacity);
  if (reader->rows.memory) uly__device_free(reader->rows.memory, reader->rows.capacity);
  close_file(&reader->reading);
  close_file(&reader->expecting);
}

/* ---------------------------------------------------------------------------- files */

static uly_status open_file(const uly__hf_folder *folder, int file, uly__hf_opened *opened) {
  if (opened->file == file) return ULY_OK;
  close_file(opened);
  ULY_TRY(uly__safetensors_begin(folder->files[file].tensors, &opened->fd));
  opened->file = file;
  return ULY_OK;
}

static int64_t element_bytes(const uly__hf_place *place) {
  return uly__dtype_bytes(place->tensor->info->dtype);
}

/* Reads a rectangle of the tensor, row after row, into the device's memory. */
static uly_status read_rectangle(uly__hf_reader *reader, const uly__hf_place *place,
                                 uly__rectangle part, char *to) {
  const uly__hf_file *file = &reader->folder->files[place->tensor->file];
  int64_t each = element_bytes(place);
  int64_t begin = uly__safetensors_place(file->tensors, place->tensor->info);
  if (part.num_cols == place->cols) { /* the rows follow each other */
    part = (uly__rectangle){0, 1, part.row * place->cols, part.num_rows * place->cols};
  }
  ULY_TRY(open_file(reader->folder, place->tensor->file, &reader->reading));
  for (int64_t r = 0; r < part.num_rows; r++) {
    int64_t at = (part.row + r) * place->cols + part.col;
    ULY_TRY(uly__device_load(reader->stream, reader->reading.fd, file->path, begin + at * each,
                             to + r * part.num_cols * each, part.num_cols * each));
  }
  return ULY_OK;
}

/* ---------------------------------------------------------------------------- pieces */

static bool holds(const uly__hf_piece *piece, const uly__hf_place *place, uly__rectangle part) {
  const uly__rectangle *kept = &piece->part;
  return piece->tensor == place->tensor && part.row >= kept->row && part.col >= kept->col &&
         part.row + part.num_rows <= kept->row + kept->num_rows &&
         part.col + part.num_cols <= kept->col + kept->num_cols;
}

/* Widens a narrow part to whole rows, and adds the rows after it, as far as there is room: all
 * rows, if they fit. If not even the part's own rows fit, as many of their columns as do. */
static uly__rectangle widen_part(const uly__hf_piece *piece, const uly__hf_place *place,
                                 uly__rectangle part) {
  int64_t room = piece->capacity / element_bytes(place), fitting = room / place->cols;
  if (fitting >= place->rows) return (uly__rectangle){0, place->rows, 0, place->cols};
  if (fitting < part.num_rows) {
    part.num_cols = uly__min(place->cols - part.col, room / part.num_rows);
    return part;
  }
  return (uly__rectangle){part.row, uly__min(fitting, place->rows - part.row), 0, place->cols};
}

/* Makes a piece hold the part, and returns it. */
static uly_status take_piece(uly__hf_reader *reader, const uly__hf_place *place,
                             uly__rectangle part, const uly__hf_piece **out) {
  bool is_long = part.num_cols == place->cols || part.num_cols * element_bytes(place) >= LONG_ROW;
  uly__hf_piece *piece = is_long ? &reader->direct : &reader->rows;
  *out = piece;
  if (holds(piece, place, part)) return ULY_OK;
  piece->tensor = NULL; /* until it is read */
  piece->part = is_long ? part : widen_part(piece, place, part);
  ULY_TRY(read_rectangle(reader, place, piece->part, piece->memory));
  piece->tensor = place->tensor;
  return ULY_OK;
}

/* Returns where a part of a parameter is in its tensor. */
static uly__rectangle in_tensor(const uly__hf_place *place, uly__rectangle part) {
  part.row += place->first;
  if (!place->is_transposed) return part;
  return (uly__rectangle){part.col, part.num_cols, part.row, part.num_rows};
}

uly_status uly__hf_read_part(uly__hf_reader *reader, const uly__hf_place *place,
                             uly__rectangle part, float *out) {
  uly__rectangle stored = in_tensor(place, part);
  uly_dtype dtype = place->tensor->info->dtype;
  if (dtype == ULY_F32 && !place->is_transposed && stored.num_cols == place->cols)
    return read_rectangle(reader, place, stored, (char *)out);
  const uly__hf_piece *piece;
  ULY_TRY(take_piece(reader, place, stored, &piece));
  int64_t step = piece->part.num_cols;
  int64_t at = (stored.row - piece->part.row) * step + stored.col - piece->part.col;
  reader->ops->widen(reader->stream, part.num_rows, part.num_cols, dtype,
                     uly__at(piece->memory, dtype, at), place->is_transposed ? 1 : step,
                     place->is_transposed ? step : 1, out);
  return ULY_OK;
}

void uly__hf_expect_range(uly__hf_reader *reader, const uly__hf_place *place, int64_t cols,
                          int64_t begin, int64_t count) {
  const uly__tensor_info *info = place->tensor->info;
  const uly__safetensors *file = reader->folder->files[place->tensor->file].tensors;
  int64_t each = element_bytes(place), offset = uly__safetensors_place(file, info);
  uly_status status = open_file(reader->folder, place->tensor->file, &reader->expecting);
  if (status != ULY_OK) return;
  /* Rows of a transposed tensor are spread over all of it. */
  if (place->is_transposed)
    uly__file_expect(reader->expecting.fd, offset, info->bytes);
  else
    uly__file_expect(reader->expecting.fd, offset + (place->first * cols + begin) * each,
                     count * each);
}

uly_status uly__hf_read_range(uly__hf_reader *reader, const uly__hf_place *place, int64_t cols,
                              int64_t begin, int64_t count, float *out) {
  while (count > 0) {
    /* The rest of a row that the range begins within, whole rows, or the beginning of a row. */
    int64_t row = begin / cols, col = begin % cols, whole = count / cols;
    uly__rectangle part = {row, 1, col, uly__min(cols - col, count)};
    if (col == 0 && whole > 0) part.num_rows = whole;
    ULY_TRY(uly__hf_read_part(reader, place, part, out));
    int64_t done = part.num_rows * part.num_cols;
    begin += done;
    count -= done;
    out += done;
  }
  return ULY_OK;
}
