/* Handles the checkpoints of a run: its folder, saves during the steps, continuing from them and
 * going back to them. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/any_rank.h"
#include "common/try.h"
#include "options/messages.h"
#include "train/train_run.h"

/* ------------------------------------------------------------------------ folder */

static uly_status name_lock(const char *out, char path[PATH_MAX]) {
  if (snprintf(path, PATH_MAX, "%s/.lock", out) < PATH_MAX) return ULY_OK;
  return uly_fail(ULY_ERR_CONFIG, "the path in --out is too long");
}

static uly_status fail_taken(const char *out) {
  return uly_fail(ULY_ERR_CONFIG,
                  "--out '%s': another run is saving into this folder: wait for it to end, or use "
                  "another folder",
                  out);
}

static uly_status fail_to_open(const char *out, const char *path) {
  return uly_fail(ULY_ERR_IO, "--out '%s': '%s' cannot be opened: %s", out, path, strerror(errno));
}

/* Locks the folder, since two runs that save into one would remove each other's files. The lock
 * ends with the process, however that ends, so the descriptor is never closed. */
static uly_status lock_folder(const char *out) {
  char path[PATH_MAX];
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  TRY(name_lock(out, path));
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0) return fail_to_open(out, path);
  if (fcntl(fd, F_SETLK, &lock) == 0) return ULY_OK;
  bool is_taken = errno == EACCES || errno == EAGAIN;
  close(fd);
  return is_taken ? fail_taken(out) : ULY_OK; /* or a file system without locks */
}

/* Checks whether lock_folder would succeed, and takes and makes nothing. */
static uly_status check_lock(const char *out) {
  char path[PATH_MAX];
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  TRY(name_lock(out, path));
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT ? ULY_OK : fail_to_open(out, path);
  bool is_taken = fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
  close(fd);
  return is_taken ? fail_taken(out) : ULY_OK;
}

static uly_status check_earlier(const train_options *o) {
  char newest[PATH_MAX] = "";
  uly_status status = o->resume ? ULY_OK : uly_checkpoint_latest(o->out, newest, sizeof newest);
  if (status != ULY_OK || !newest[0]) return status;
  return uly_fail(ULY_ERR_CONFIG,
                  "--out '%s': there is '%s' of another run, whose checkpoints this one would "
                  "replace: use --resume auto to continue from it, or use another folder",
                  o->out, newest);
}

/* Prepares the folder, on rank 0. */
static uly_status prepare(const train_options *o) {
  TRY(uly_checkpoint_prepare(o->out));
  TRY(lock_folder(o->out));
  TRY(uly_checkpoint_remove_remains(o->out));
  return check_earlier(o);
}

uly_status saves_prepare(train_run *run) {
  if (!run->options.out) return ULY_OK;
  return uly_mesh_agree(run->mesh, run->is_first ? prepare(&run->options) : ULY_OK);
}

void saves_remember(train_run *run) {
  if (!run->options.out || !run->is_first) return;
  if (uly_trainer_remember_scan(run->trainer) != ULY_OK)
    progress_warn(run, "warning: the scan of the data could not be kept: %s", last_failure());
}

/* Checks the folder, on rank 0. */
static uly_status check(const train_options *o) {
  TRY(check_lock(o->out));
  return check_earlier(o);
}

uly_status saves_check(train_run *run) {
  if (!run->options.out) return ULY_OK;
  return uly_mesh_agree(run->mesh, run->is_first ? check(&run->options) : ULY_OK);
}

static uly_status save_config(const train_options *o) {
  char path[PATH_MAX];
  if (snprintf(path, sizeof path, "%s/config.yaml", o->out) >= PATH_MAX)
    return uly_fail(ULY_ERR_CONFIG, "the path in --out is too long");
  return options_save(&o->base, path);
}

uly_status saves_config(train_run *run) {
  const train_options *o = &run->options;
  /* A run that has nothing to do keeps the configuration of the run that did the work. */
  if (!o->out || uly_trainer_steps_done(run->trainer) >= o->run.config.steps) return ULY_OK;
  return uly_mesh_agree(run->mesh, run->is_first ? save_config(o) : ULY_OK);
}

/* ------------------------------------------------------------------ going on and back */

/* Finds the newest checkpoint in --out, or sets an empty path if there is none. Each rank looks by
 * itself, since a folder that is not shared looks different to each. */
static uly_status find_newest(train_run *run, const char *option, char path[PATH_MAX]) {
  const char *out = run->options.out;
  TRY(uly_mesh_agree(run->mesh, uly_checkpoint_latest(out, path, PATH_MAX)));
  bool is_found = path[0] != '\0';
  if (!any_rank(run->mesh, is_found) || !any_rank(run->mesh, !is_found)) return ULY_OK;
  return uly_fail(ULY_ERR_CONFIG,
                  "%s: some ranks find a checkpoint in '%.200s' and some do not: use a folder that "
                  "all machines share",
                  option, out);
}

uly_status saves_find(train_run *run) {
  const char *resume = run->options.resume;
  if (!resume) return ULY_OK;
  if (strcmp(resume, "auto") == 0) return find_newest(run, "--resume auto", run->checkpoint);
  /* A run's folder stands for the newest checkpoint in it. A missing one is reported when it is
   * read. */
  uly_status status = ULY_OK;
  if (access(resume, F_OK) == 0)
    status = uly_checkpoint_latest(resume, run->checkpoint, sizeof run->checkpoint);
  TRY(uly_mesh_agree(run->mesh, status));
  if (run->checkpoint[0]) return ULY_OK;
  if (snprintf(run->checkpoint, PATH_MAX, "%s", resume) < PATH_MAX) return ULY_OK;
  return uly_fail(ULY_ERR_CONFIG, "--resume '%.200s...' is too long for a path", resume);
}

/* Returns the step that a checkpoint is named after. */
static int64_t step_of(const char *checkpoint) {
  const char *digits = strrchr(checkpoint, '-');
  return digits ? strtoll(digits + 1, NULL, 10) : -1;
}

/* Warns that --resume auto would from now on take later checkpoints, of another branch of the
 * run. */
static void warn_of_later(train_run *run) {
  char newest[PATH_MAX];
  if (!run->is_first || !run->options.out ||
      uly_checkpoint_latest(run->options.out, newest, sizeof newest) != ULY_OK || !newest[0] ||
      step_of(newest) <= uly_trainer_steps_done(run->trainer)) {
    return;
  }
  progress_warn(run,
                "warning: '%s' is of a later step than the one that this run continues from: it "
                "stays until this run saves the same step, and --resume auto would take it",
                newest);
}

uly_train_config saves_start_config(const train_run *run) {
  uly_train_config config = run->options.run.config;
  if (run->checkpoint[0]) config.init = NULL;
  return config;
}

uly_status saves_resume(train_run *run) {
  if (!run->checkpoint[0]) return ULY_OK;
  TRY(uly_trainer_load(run->trainer, run->checkpoint));
  run->saved_step = uly_trainer_steps_done(run->trainer);
  warn_of_later(run);
  return ULY_OK;
}

uly_status saves_rollback(train_run *run) {
  char path[PATH_MAX], why[2048];
  snprintf(why, sizeof why, "%s", last_failure());
  TRY(find_newest(run, "--nonfinite rollback", path));
  if (!path[0])
    return uly_fail(ULY_ERR_NONFINITE, "%s. There is no checkpoint yet to go back to", why);
  TRY(uly_trainer_rollback(run->trainer, path));
  progress_warn(run, "warning: %s. Going back to %s, and on with the data after this step", why,
                path);
  rank_log_say(run, "%s; back to %s", why, path);
  return ULY_OK;
}

/* ------------------------------------------------------------------------- saves */

/* Removes old checkpoints. If another run left checkpoints of later steps, those of this run count
 * as the old ones, and would be removed as they come. */
static uly_status prune(const train_options *o, int64_t step) {
  char newest[PATH_MAX];
  TRY(uly_checkpoint_latest(o->out, newest, sizeof newest));
  return step_of(newest) != step ? ULY_OK
                                 : uly_checkpoint_prune(o->out, o->keep_last, o->keep_every);
}

/* Removes what a complete save makes superfluous. */
static void after_save(train_run *run, int64_t step) {
  const train_options *o = &run->options;
  run->saved_step = step;
  progress_say(run, "step %lld  saved in %s", (long long)step, o->out);
  rank_log_say(run, "step %lld  saved", (long long)step);
  if (!run->is_first || o->keep_last == 0 || prune(o, step) == ULY_OK) return;
  progress_warn(run, "warning: an old checkpoint could not be removed: %s; training goes on",
                last_failure());
}

/* Reports a checkpoint that cannot be written (a full disk). This does not end the run: the next
 * save may succeed. */
static void report_not_saved(train_run *run, int64_t step, bool goes_on) {
  progress_warn(run, "error: step %lld: checkpoint not saved: %s%s", (long long)step,
                last_failure(), goes_on ? "; training goes on" : "");
  rank_log_say(run, "step %lld  not saved: %s", (long long)step, last_failure());
}

void saves_finish(train_run *run, bool goes_on) {
  int64_t step = run->saving;
  if (!step) return;
  run->saving = 0;
  if (uly_trainer_save_finish(run->trainer) == ULY_OK)
    after_save(run, step);
  else
    report_not_saved(run, step, goes_on);
}

/* At the end, a failure cannot be left to a later save. */
uly_status saves_start(train_run *run, int64_t step, bool is_end) {
  const char *out = run->options.out;
  if (is_end) {
    TRY(uly_trainer_save(run->trainer, out));
    after_save(run, step);
    return ULY_OK;
  }
  if (uly_trainer_save_start(run->trainer, out) == ULY_OK)
    run->saving = step;
  else
    report_not_saved(run, step, true);
  return ULY_OK;
}

void saves_rescue(train_run *run) {
  int64_t step = uly_trainer_steps_done(run->trainer);
  char why[2048];
  snprintf(why, sizeof why, "%s", last_failure());
  if (run->options.out && step > run->saved_step) {
    if (uly_trainer_save(run->trainer, run->options.out) == ULY_OK)
      after_save(run, step);
    else
      progress_warn(run, "warning: step %lld is not saved: %s", (long long)step, last_failure());
  }
  uly_fail(ULY_ERR_DATA, "%s", why);
}
