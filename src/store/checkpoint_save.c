/* Saves checkpoints, while training goes on: see checkpoint_save.h.
 *
 * The states change only in the optimizer's update. So a save is started between two steps, a
 * thread on each rank writes what it owns while the next step computes, and the save is ended
 * before that step's update: nothing is copied, and a save that takes longer than a step makes it
 * wait. What is collective (agreement, checksums, the rename by rank 0) is done at the start and at
 * the end, by the main thread. */
#include "store/checkpoint_save.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/spans.h"
#include "device/device.h"
#include "store/run_folder.h"

typedef struct save_paths {
  char out[PATH_MAX], temporary[PATH_MAX], final[PATH_MAX];
  char states[2][PATH_MAX], config[PATH_MAX], trainer[PATH_MAX];
} save_paths;

struct uly__save {
  uly_mesh *mesh;
  const uly__model *model;
  const uly__states *states;
  uly__checkpoint_run run;
  const uly__companions *companions;
  save_paths paths;
  int64_t header_bytes[2];
  /* [ULY_NUM_STATES][params.num]: of what this rank owns; in the end, of whole tensors. */
  uint64_t *hashes;
  /* [ULY_LARGEST_RANGE]: room for a range that is not in the host's memory. */
  float *buffer;
  pthread_t thread;
  bool started; /* the thread is running */
  atomic_bool abandoned;
  uly_status status; /* of the thread */
  char message[1024];
};

/* ------------------------------------------------------------------------------ files */

static uly_status name_paths(const char *out_dir, int64_t step, save_paths *paths) {
  char name[ULY_CHECKPOINT_NAME];
  if (snprintf(paths->out, PATH_MAX, "%s", out_dir) >= PATH_MAX)
    ULY_FAIL(ULY_ERR_IO, "the path '%s' is too long", out_dir);
  uly__checkpoint_name(step, name);
  ULY_TRY(uly__path_join(paths->final, PATH_MAX, out_dir, name));
  uly__checkpoint_hidden_name(step, name);
  ULY_TRY(uly__path_join(paths->temporary, PATH_MAX, out_dir, name));
  ULY_TRY(uly__path_join(paths->states[0], PATH_MAX, paths->temporary, uly__model_file));
  ULY_TRY(uly__path_join(paths->states[1], PATH_MAX, paths->temporary, uly__optimizer_file));
  ULY_TRY(uly__path_join(paths->config, PATH_MAX, paths->temporary, uly__config_file));
  return uly__path_join(paths->trainer, PATH_MAX, paths->temporary, uly__trainer_file);
}

/* Starts the files. Every rank computes the headers; only rank 0 (create) writes them. */
static uly_status start_files(uly__save *save, bool create) {
  const uly__params *params = &save->model->params;
  const save_paths *paths = &save->paths;
  if (create) {
    ULY_TRY(uly__folder_make(paths->out));
    ULY_TRY(uly__folder_remove(paths->temporary));
    ULY_TRY(uly__folder_make(paths->temporary));
  }
  for (int file = 0; file < 2; file++) {
    char *header;
    int64_t data_bytes, *header_bytes = &save->header_bytes[file];
    ULY_TRY(uly__checkpoint_header(params, file, &header, header_bytes, &data_bytes));
    uly_status status = create ? uly__file_create(paths->states[file], header, *header_bytes,
                                                  *header_bytes + data_bytes)
                               : ULY_OK;
    free(header);
    ULY_TRY(status);
  }
  return ULY_OK;
}

static uly_status write_range(uly__save *save, int fd, int which, const uly__range *range) {
  const uly__params *params = &save->model->params;
  int file = uly__state_file(which);
  int64_t place = uly__checkpoint_place(params, which, range->param, range->global);
  const float *data;
  ULY_TRY(uly__states_read(save->states, (uly__state)which, range, save->buffer, &data));
  save->hashes[uly__state_number(params, which, range->param)] +=
      uly__checksum(range->global, range->count, data);
  return uly__file_write(fd, save->paths.states[file], save->header_bytes[file] + place, data,
                         range->count * (int64_t)sizeof(float));
}

static uly_status write_state(uly__save *save, int fd, int which) {
  const uly__model *model = save->model;
  uly__range range;
  uly__range_walk walk = uly__param_ranges(&model->params, model->zero, ULY_ALL_UNITS);
  while (!save->abandoned && uly__range_next(&walk, &range))
    if (range.is_owner) ULY_TRY(write_range(save, fd, which, &range));
  return ULY_OK;
}

static uly_status write_file(uly__save *save, int file) {
  const char *path = save->paths.states[file];
  int fd;
  ULY_TRY(uly__file_open(path, &fd));
  uly_status status = ULY_OK;
  for (int which = 0; which < ULY_NUM_STATES; which++)
    if (status == ULY_OK && uly__state_file(which) == file) status = write_state(save, fd, which);
  return uly__file_finish(fd, path, status);
}

static void *write_states(void *argument) {
  uly__save *save = argument;
  double begin = uly__now();
  save->status = write_file(save, 0);
  if (save->status == ULY_OK) save->status = write_file(save, 1);
  if (save->status != ULY_OK) snprintf(save->message, sizeof save->message, "%s", uly_last_error());
  uly__span_end("save", save->run.step, ULY_LANE_SAVE, begin);
  return NULL;
}

static uly_status create_text(const char *path, char *text) {
  uly_status status = uly__check_memory(text, path);
  if (status == ULY_OK && text) status = uly__file_create(path, text, (int64_t)strlen(text), 0);
  free(text);
  return status;
}

/* Writes the small files, trainer.json last, and then makes the rename that brings the checkpoint
 * into existence. */
static uly_status complete(const uly__save *save) {
  const save_paths *paths = &save->paths;
  uly__checkpoint_run run = save->run;
  char *model = uly__model_config_json(&save->model->config);
  ULY_TRY(uly__check_memory(model, "a model's description"));
  uly_status hashed = uly__checkpoint_hash_config(model, (int64_t)strlen(model), &run.model_hash);
  ULY_TRY(create_text(paths->config, model));
  ULY_TRY(hashed);
  ULY_TRY(uly__companions_write(save->companions, paths->temporary));
  ULY_TRY(create_text(paths->trainer,
                      uly__checkpoint_write_json(&save->model->params, &run, save->hashes)));
  ULY_TRY(uly__folder_sync(paths->temporary));
  /* Either the name is free, or a checkpoint of the same step has it. In that case the two change
   * places atomically. */
  if (rename(paths->temporary, paths->final) != 0) {
    if (errno != ENOTEMPTY && errno != EEXIST)
      ULY_FAIL(ULY_ERR_IO, "cannot rename to '%s': %s", paths->final, strerror(errno));
    ULY_TRY(uly__folder_check_plain(paths->final));
    if (renameat2(AT_FDCWD, paths->temporary, AT_FDCWD, paths->final, RENAME_EXCHANGE) != 0)
      ULY_FAIL(ULY_ERR_IO, "'%s' exists, and this file system cannot replace it: %s", paths->final,
               strerror(errno));
    /* The new checkpoint is there: what is left of the old one is removed before the next run. */
    if (uly__folder_remove(paths->temporary) != ULY_OK) uly__warn("%s", uly_last_error());
  }
  return uly__folder_sync(paths->out);
}

/* ------------------------------------------------------------------------- start, end */

static void destroy(uly__save *save) {
  if (!save) return;
  free(save->hashes);
  free(save->buffer);
  free(save);
}

/* Frees the space on the disk. The failure that led here is the one to report. */
static void discard(const uly__save *save) {
  char message[1024];
  snprintf(message, sizeof message, "%s", uly_last_error());
  if (save->mesh->rank == 0) (void)uly__folder_remove(save->paths.temporary);
  uly__set_last_error(message);
}

static uly_status prepare(uly__save *save, const char *out_dir) {
  save->hashes =
      calloc((size_t)ULY_NUM_STATES * (size_t)save->model->params.num, sizeof *save->hashes);
  ULY_TRY(uly__check_memory(save->hashes, "the checksums of all tensors"));
  save->buffer = malloc(ULY_LARGEST_RANGE * sizeof *save->buffer);
  ULY_TRY(uly__check_memory(save->buffer, "a window of the states"));
  ULY_TRY(name_paths(out_dir, save->run.step, &save->paths));
  return start_files(save, save->mesh->rank == 0);
}

static uly_status start_thread(uly__save *save) {
  int error = pthread_create(&save->thread, NULL, write_states, save);
  if (error) ULY_FAIL(ULY_ERR_INTERNAL, "cannot start a thread to save: %s", strerror(error));
  save->started = true;
  return ULY_OK;
}

static void join(uly__save *save) {
  if (save->started) pthread_join(save->thread, NULL);
  save->started = false;
}

uly_status uly__save_start(uly_mesh *mesh, const uly__model *model, const uly__states *states,
                           const uly__checkpoint_run *run, const uly__companions *companions,
                           const char *out_dir, uly__save **out) {
  uly__group *world = uly__mesh_world(mesh);
  uly__save *save = calloc(1, sizeof *save);
  *out = NULL;
  uly_status status = uly__agree(world, uly__check_memory(save, "a save"));
  if (status != ULY_OK) {
    free(save);
    return status;
  }
  *save = (uly__save){
      .mesh = mesh, .model = model, .states = states, .run = *run, .companions = companions};
  status = uly__agree(world, prepare(save, out_dir));
  if (status == ULY_OK) status = uly__agree(world, start_thread(save));
  if (status == ULY_OK) {
    *out = save;
    return ULY_OK;
  }
  save->abandoned = true; /* another rank has no thread */
  join(save);
  discard(save);
  destroy(save);
  return status;
}

/* Sums the checksums of all ranks, each of which has summed what it owns. */
static uly_status sum_hashes(uly__save *save) {
  int64_t num = ULY_NUM_STATES * (int64_t)save->model->params.num;
  int64_t *values = (int64_t *)save->hashes;
  for (int64_t at = 0; at < num; at += ULY_MAX_SUM)
    ULY_TRY(uly__sum_i64(uly__mesh_world(save->mesh), ULY_TRAFFIC_CONTROL, values + at,
                         (int)(num - at < ULY_MAX_SUM ? num - at : ULY_MAX_SUM)));
  return ULY_OK;
}

uly_status uly__save_end(uly__save *save) {
  uly__group *world = uly__mesh_world(save->mesh);
  double begin = uly__now();
  join(save);
  uly__span_end("wait for save", save->run.step, ULY_LANE_COMPUTE, begin);
  if (save->status != ULY_OK) uly__set_last_error(save->message);
  uly_status status = uly__agree(world, save->status);
  if (status == ULY_OK) status = sum_hashes(save);
  if (status == ULY_OK) status = uly__agree(world, save->mesh->rank == 0 ? complete(save) : ULY_OK);
  if (status != ULY_OK) discard(save);
  destroy(save);
  return status;
}

void uly__save_abandon(uly__save *save) {
  if (!save) return;
  save->abandoned = true;
  join(save);
  destroy(save);
}
