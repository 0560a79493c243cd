/* Exports models: see export_model.h. A tensor goes from the source to its file through two
 * buffers: parts of its parameters as f32, and rows of the tensor as they are written. */
#include "store/export_model.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/dtype.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/integers.h"
#include "data/companions.h"
#include "device/device.h"
#include "store/export_folder.h"
#include "store/export_plan.h"
#include "store/export_source.h"
#include "store/run_folder.h"

/* Bytes of the buffer of rows. A single row may be larger. */
enum { ROWS_WRITTEN = 64 << 20 };

static const char *const dtype_names[] = {
    [ULY_F32] = "float32", [ULY_BF16] = "bfloat16", [ULY_F16] = "float16"};

typedef struct export {
  const uly__export_source *from;
  const char *folder; /* hidden, until it is complete */
  uly__export_plan plan;
  uly_dtype dtype;
  const uly__ops *ops;
  uly__stream *stream;
  uly__hf_reader reader;
  float *part; /* [ULY_HF_MOST] */
  char *rows;  /* [rows_bytes] */
  int64_t rows_bytes;
  /* [ULY_HF_MOST]: room for a part on the host, for checksums; NULL: the host sees `part`. */
  float *room;
}
export;

/* Adds what was read of a parameter to its checksum. */
static void add_checksum(const export *e, int param, uly__rectangle part) {
  const uly__export_source *from = e->from;
  const uly__param *p = &from->params.list[param];
  int64_t cols = p->num_dims == 2 ? p->dims[1] : 1, count = part.num_rows * part.num_cols;
  if (!from->expected) return;
  const float *data = uly__download(e->stream, e->room, e->part, count * (int64_t)sizeof(float));
  int64_t row_count = part.num_cols == cols ? count : part.num_cols;
  for (int64_t done = 0; done < count; done += row_count) {
    int64_t begin = (part.row + done / part.num_cols) * cols + part.col;
    from->found[param] += uly__checksum(begin, row_count, data + done);
  }
}

/* ---------------------------------------------------------------------------- tensors */

/* Reads a part of a parameter into its place in the buffer of rows: element (row, col) of the part
 * goes to element at + row * row_step + col * col_step. Sets *is_lost if the type
 * lacks a finite value of the part. */
static uly_status take_part(export *e, int param, uly__rectangle part, int64_t at, int64_t row_step,
                            int64_t col_step, bool *is_lost) {
  const uly__hf_place *place = &uly__hf_weights_places(e->from->weights)[param];
  int64_t most = ULY_HF_MOST / part.num_cols, end = part.row + part.num_rows;
  while (part.row < end) {
    part.num_rows = uly__min(most, end - part.row);
    ULY_TRY(uly__hf_read_part(&e->reader, place, part, e->part));
    add_checksum(e, param, part);
    if (e->ops->narrow(e->stream, part.num_rows, part.num_cols, e->part, e->dtype,
                       uly__at(e->rows, e->dtype, at), row_step, col_step))
      *is_lost = true;
    at += part.num_rows * row_step;
    part.row += part.num_rows;
  }
  return ULY_OK;
}

/* Makes rows [begin, begin + num) of a tensor in the buffer of rows. */
static uly_status make_rows(export *e, const uly__export_tensor *tensor, int64_t begin,
                            int64_t num) {
  const uly__tensor_info *info = &tensor->info;
  int64_t cols = info->num_dims == 2 ? info->dims[1] : 1;
  int64_t each = (tensor->is_transposed ? cols : info->dims[0]) / tensor->num_parts;
  bool is_lost = false;
  for (int i = 0; i < tensor->num_parts; i++) {
    int64_t first = i * each; /* of the parameter, among rows or, transposed, among columns */
    if (tensor->is_transposed) {
      ULY_TRY(take_part(e, tensor->parts[i], (uly__rectangle){0, each, begin, num}, first, 1, cols,
                        &is_lost));
      continue;
    }
    int64_t from = begin > first ? begin - first : 0;
    int64_t to = uly__min(each, begin + num - first);
    if (from >= to) continue;
    ULY_TRY(take_part(e, tensor->parts[i], (uly__rectangle){from, to - from, 0, cols},
                      (first + from - begin) * cols, cols, 1, &is_lost));
  }
  if (is_lost)
    ULY_FAIL(ULY_ERR_DATA, "'%s': tensor %s has values beyond the range of %s: export it as %s",
             e->from->dir, info->name, e->dtype == ULY_F16 ? "f16" : "bf16",
             e->dtype == ULY_F16 ? "bf16 or f32" : "f32");
  return ULY_OK;
}

static uly_status write_tensor(export *e, const uly__export_tensor *tensor, int fd,
                               const char *path, int64_t data_begin) {
  const uly__tensor_info *info = &tensor->info;
  int64_t row_bytes = info->bytes / info->dims[0], most = e->rows_bytes / row_bytes;
  for (int64_t row = 0; row < info->dims[0]; row += most) {
    int64_t num = uly__min(most, info->dims[0] - row);
    ULY_TRY(make_rows(e, tensor, row, num));
    ULY_TRY(uly__device_write(e->stream, fd, path, data_begin + info->begin + row * row_bytes,
                              e->rows, num * row_bytes));
  }
  return ULY_OK;
}

/* ---------------------------------------------------------------------------- files */

/* Creates a file of the tensors [first, end) of the plan, with room for all of them. */
static uly_status create_file(const export *e, const char *path, int first, int end,
                              int64_t *data_begin) {
  char *header;
  const uly__tensor_info *last = &e->plan.tensors[end - 1].info;
  uly__tensor_info *table = calloc((size_t)(end - first), sizeof *table);
  if (!table) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a table of %d tensors", end - first);
  for (int i = first; i < end; i++) table[i - first] = e->plan.tensors[i].info;
  uly_status status = uly__safetensors_header(table, end - first, &header, data_begin);
  free(table);
  if (status == ULY_OK)
    status = uly__file_create(path, header, *data_begin, *data_begin + last->begin + last->bytes);
  free(header);
  return status;
}

static uly_status write_file(export *e, int first, int end) {
  char name[ULY_EXPORT_NAME], path[PATH_MAX];
  int64_t data_begin;
  int fd;
  uly__export_file_name(&e->plan, e->plan.tensors[first].file, name);
  ULY_TRY(uly__path_join(path, sizeof path, e->folder, name));
  ULY_TRY(create_file(e, path, first, end, &data_begin));
  ULY_TRY(uly__file_open(path, &fd));
  uly_status status = ULY_OK;
  for (int i = first; status == ULY_OK && i < end; i++)
    status = write_tensor(e, &e->plan.tensors[i], fd, path, data_begin);
  return uly__file_finish(fd, path, status);
}

static uly_status write_files(export *e) {
  const uly__export_plan *plan = &e->plan;
  for (int first = 0, end; first < plan->num_tensors; first = end) {
    for (end = first; end < plan->num_tensors; end++)
      if (plan->tensors[end].file != plan->tensors[first].file) break;
    ULY_TRY(write_file(e, first, end));
  }
  return uly__export_source_check(e->from);
}

static uly_status write_text(const char *folder, const char *name, char *text) {
  char path[PATH_MAX];
  uly_status status = uly__check_memory(text, name);
  if (status == ULY_OK) status = uly__path_join(path, sizeof path, folder, name);
  if (status == ULY_OK && text) status = uly__file_create(path, text, (int64_t)strlen(text), 0);
  free(text);
  return status;
}

static uly_status make_windows(export *e) {
  e->rows_bytes = ROWS_WRITTEN;
  for (int i = 0; i < e->plan.num_tensors; i++) {
    const uly__tensor_info *info = &e->plan.tensors[i].info;
    if (info->bytes / info->dims[0] > e->rows_bytes) e->rows_bytes = info->bytes / info->dims[0];
  }
  int64_t part_bytes = ULY_HF_MOST * (int64_t)sizeof *e->part;
  e->part = uly__device_alloc(part_bytes);
  e->rows = uly__device_alloc(e->rows_bytes);
  ULY_TRY(uly__check_memory(e->part, "a part of a tensor"));
  ULY_TRY(uly__check_memory(e->rows, "rows of a tensor"));
  int64_t room_bytes = uly__room_bytes(e->stream, part_bytes);
  if (room_bytes == 0) return ULY_OK;
  e->room = uly__host_alloc(room_bytes);
  return uly__check_memory(e->room, "a part of a tensor");
}

static void free_windows(export *e) {
  int64_t part_bytes = ULY_HF_MOST * (int64_t)sizeof *e->part;
  uly__hf_reader_destroy(&e->reader);
  uly__device_free(e->part, part_bytes);
  uly__device_free(e->rows, e->rows_bytes);
  uly__host_free(e->room, part_bytes);
}

static uly_status write_weights(export *e) {
  ULY_TRY(make_windows(e));
  ULY_TRY(uly__hf_reader_create(uly__hf_weights_folder(e->from->weights), e->ops, e->stream,
                                &e->reader));
  return write_files(e);
}

static uly_status write_companions(const uly__export_source *from, const char *folder,
                                   uly_export_report *report) {
  uly__companions companions;
  ULY_TRY(uly__companions_read(from->dir, &companions));
  report->num_companions = companions.num;
  uly_status status = uly__companions_write(&companions, folder);
  uly__companions_free(&companions);
  return status;
}

/* Writes everything into the hidden folder. */
static uly_status write_folder(export *e, uly_export_report *report) {
  char *config;
  ULY_TRY(uly__model_config_export(&e->from->config, dtype_names[e->dtype], &config));
  ULY_TRY(write_text(e->folder, uly__config_file, config));
  if (e->plan.num_files > 1)
    ULY_TRY(
        write_text(e->folder, uly__index_file, uly__export_index(&e->plan, e->from->params.count)));
  ULY_TRY(write_companions(e->from, e->folder, report));
  uly_status status = write_weights(e);
  free_windows(e);
  return status;
}

static uly_status export_source(const uly__export_source *from, const uly_export_config *config,
                                uly_export_report *report) {
  export e = {
      .from = from,
      .dtype = config->dtype < 0 ? uly__export_source_dtype(from) : (uly_dtype)config->dtype,
      .ops = uly__ops_get(),
      .stream = uly__stream_get(),
      .reader = {.reading = {-1, -1}, .expecting = {-1, -1}}};
  uly__export_folder folder;
  ULY_TRY(
      uly__export_plan_create(&from->config, &from->params, e.dtype, config->shard_bytes, &e.plan));
  uly_status status = uly__export_folder_begin(config->out, &folder);
  e.folder = folder.hidden;
  if (status == ULY_OK) status = uly__export_folder_end(&folder, write_folder(&e, report));
  report->num_params = from->params.count;
  report->num_tensors = e.plan.num_tensors;
  report->num_files = e.plan.num_files;
  report->bytes = e.plan.bytes;
  report->dtype = e.dtype;
  uly__export_plan_destroy(&e.plan);
  return status;
}

uly_export_config uly__export_config_default(void) {
  return (uly_export_config){
      .size = sizeof(uly_export_config), .dtype = -1, .shard_bytes = 5000000000};
}

static uly_status check(const uly_export_config *config) {
  if (!config->source || !config->out)
    ULY_FAIL(ULY_ERR_CONFIG,
             "export.source or export.out is missing: give a checkpoint, and the folder to make");
  if (config->dtype < -1 || config->dtype > ULY_F16)
    ULY_FAIL(ULY_ERR_CONFIG, "export.dtype is %d, but it must be ULY_F32, ULY_BF16, ULY_F16 or -1",
             config->dtype);
  if (config->shard_bytes < 1)
    ULY_FAIL(ULY_ERR_CONFIG, "export.shard_bytes is %lld, but it must be at least 1",
             (long long)config->shard_bytes);
  return ULY_OK;
}

uly_status uly__export(const uly_export_config *config, uly_export_report *report) {
  ULY_TRY(check(config));
  uly__export_source from;
  uly_status status = uly__export_source_open(config->source, &from);
  if (status == ULY_OK) status = export_source(&from, config, report);
  uly__export_source_close(&from);
  return status;
}
