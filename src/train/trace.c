/* Writes the spans of all ranks as one file in the Trace Event format, with one process for each
 * rank and one thread for each lane. */
#include "train/trace.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/spans.h"

uly_status uly__trainer_trace(uly_trainer *trainer) {
  /* Clocks of machines differ: all take the end of an agreement as their zero. */
  ULY_TRY(uly__agree(uly__mesh_world(trainer->mesh), ULY_OK));
  uly__spans_start();
  trainer->trace_begin = uly__now();
  return ULY_OK;
}

static int write_event(FILE *file, json_t *event, bool first) {
  int failed = fputs(first ? "[\n" : ",\n", file) == EOF;
  failed |= json_dumpf(event, file, JSON_COMPACT | JSON_PRESERVE_ORDER) != 0;
  json_decref(event);
  return failed;
}

/* Names a process or one of its threads. */
static json_t *naming(const char *what, int rank, int lane, const char *format) {
  char name[64];
  snprintf(name, sizeof name, format, rank);
  return json_pack("{s:s,s:s,s:i,s:i,s:{s:s}}", "name", what, "ph", "M", "pid", rank, "tid", lane,
                   "args", "name", name);
}

static json_t *span_event(const uly__span *span, int rank, double zero) {
  char name[64];
  if (span->index < 0)
    snprintf(name, sizeof name, "%s", span->name);
  else
    snprintf(name, sizeof name, "%s %lld", span->name, (long long)span->index);
  return json_pack("{s:s,s:s,s:i,s:i,s:f,s:f}", "name", name, "ph", "X", "pid", rank, "tid",
                   (int)span->lane, "ts", (span->begin - zero) * 1e6, "dur",
                   (span->end - span->begin) * 1e6);
}

/* Writes this rank's spans, in microseconds. The array stays open until the last rank closes it. */
static uly_status write_own(const uly_trainer *trainer, const char *path) {
  static const char *const lanes[ULY_NUM_LANES] = {
      "compute",
      "exchange to heads",
      "exchange to tokens",
      "weights or sums on their way",
      "gradients on their way",
      "save",
      "disk",
      "keys and values on their way",
      "gradients of keys and values on their way",
      "rows of tensor parallelism on their way",
      "partial sums of tensor parallelism on their way",
      "rows and gradients on their way to other stages",
      "rows and gradients on their way from other stages"};
  int rank = trainer->mesh->rank;
  bool is_last = rank == uly_mesh_size(trainer->mesh) - 1;
  FILE *file = fopen(path, rank == 0 ? "w" : "a");
  if (!file) ULY_FAIL(ULY_ERR_IO, "'%s' cannot be opened: %s", path, strerror(errno));
  int64_t count;
  const uly__span *spans = uly__spans_get(&count);
  int failed = write_event(file, naming("process_name", rank, 0, "rank %d"), rank == 0);
  for (int lane = 0; lane < ULY_NUM_LANES; lane++)
    failed |= write_event(file, naming("thread_name", rank, lane, lanes[lane]), false);
  for (int64_t i = 0; i < count; i++)
    failed |= write_event(file, span_event(&spans[i], rank, trainer->trace_begin), false);
  if (is_last) failed |= fputs("\n]\n", file) == EOF;
  failed |= fclose(file) != 0;
  if (failed) ULY_FAIL(ULY_ERR_IO, "'%s' cannot be written: %s", path, strerror(errno));
  return ULY_OK;
}

/* Writes the trace, one rank after the other. */
uly_status uly__trainer_trace_write(uly_trainer *trainer, const char *path) {
  uly_status status = ULY_OK;
  for (int turn = 0; turn < uly_mesh_size(trainer->mesh) && status == ULY_OK; turn++)
    status = uly__agree(uly__mesh_world(trainer->mesh),
                        turn == trainer->mesh->rank ? write_own(trainer, path) : ULY_OK);
  return status;
}
