/* Writes a log of each rank, on request: what that rank did, for runs in which one of many machines
 * is slow or fails. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/format.h"
#include "train/train_run.h"

static void write_time(FILE *file) {
  char text[32];
  time_t now = time(NULL);
  struct tm parts;
  gmtime_r(&now, &parts);
  strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  fprintf(file, "%s  ", text);
}

static uly_status open_file(train_run *run) {
  const char *folder = run->options.rank_logs;
  int rank = uly_mesh_rank(run->mesh);
  char path[PATH_MAX], host[256] = "unknown";
  int length = snprintf(path, sizeof path, "%s/rank-%05d.log", folder, rank);
  if (length >= (int)sizeof path)
    return uly_fail(ULY_ERR_CONFIG, "the path in --rank-logs is too long");
  if (mkdir(folder, 0777) != 0 && errno != EEXIST)
    return uly_fail(ULY_ERR_IO, "--rank-logs '%s' cannot be created: %s", folder, strerror(errno));
  run->rank_log = fopen(path, "a");
  if (!run->rank_log)
    return uly_fail(ULY_ERR_IO, "--rank-logs: '%s' cannot be opened: %s", path, strerror(errno));
  setvbuf(run->rank_log, NULL, _IOLBF, BUFSIZ);
  (void)gethostname(host, sizeof host - 1);
  rank_log_say(run, "rank %d of %d on %s, process %ld", rank, uly_mesh_size(run->mesh), host,
               (long)getpid());
  return ULY_OK;
}

uly_status rank_log_open(train_run *run) {
  if (!run->options.rank_logs) return ULY_OK;
  return uly_mesh_agree(run->mesh, open_file(run));
}

void rank_log_say(train_run *run, const char *format, ...) {
  if (!run->rank_log) return;
  write_time(run->rank_log);
  va_list args;
  va_start(args, format);
  vfprintf(run->rank_log, format, args);
  va_end(args);
  fputc('\n', run->rank_log);
}

void rank_log_step(train_run *run, const uly_step_report *report) {
  char sent[FORMAT_BYTES], resident[FORMAT_BYTES];
  uly_rank_report own = {.size = sizeof own};
  (void)uly_trainer_rank_report(run->trainer, &own);
  rank_log_say(run, "step %lld  %.3f s  waited %.3f s  sent %s  resident %s",
               (long long)report->step, own.seconds, own.wait_seconds,
               format_bytes(sum_bytes(own.sent_bytes, ULY_NUM_TRAFFIC), sent),
               format_bytes(own.resident_bytes, resident));
}

uly_status rank_log_finish(train_run *run) {
  const char *folder = run->options.rank_logs;
  if (!folder) return ULY_OK;
  bool is_lost = !run->rank_log || fflush(run->rank_log) != 0 || ferror(run->rank_log);
  uly_status status = ULY_OK;
  if (is_lost)
    status = uly_fail(ULY_ERR_IO, "--rank-logs '%s' could not be written to the end", folder);
  return uly_mesh_agree(run->mesh, status);
}

void rank_log_close(train_run *run) {
  if (run->rank_log) fclose(run->rank_log);
  run->rank_log = NULL;
}
