/* ulysses train --dry-run: makes all checks of a start, but allocates and writes nothing. All ranks
 * run this file together; rank 0 prints. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/format.h"
#include "common/try.h"
#include "plan/plan.h"
#include "train/train_run.h"

/* Replaces a path by the folder that holds it: "/a" by "/", "a" by ".". */
static void go_up(char path[PATH_MAX]) {
  char *slash = strrchr(path, '/');
  if (slash)
    slash[slash == path] = '\0';
  else
    snprintf(path, PATH_MAX, ".");
}

/* Tells what a path is to become. */
typedef enum place { A_FILE, A_FOLDER, A_FOLDER_WITH_PARENTS } place;

/* Returns whether it exists or can be made, and can be written; if not, errno tells why. */
static bool is_writable(char path[PATH_MAX], place what) {
  struct stat about;
  bool is_above = false;
  for (; stat(path, &about) != 0; is_above = true) {
    if (errno != ENOENT || (is_above && what != A_FOLDER_WITH_PARENTS)) return false;
    go_up(path);
  }
  bool is_folder = S_ISDIR(about.st_mode), must_be = is_above || what != A_FILE;
  if (is_folder != must_be) {
    errno = must_be ? ENOTDIR : EISDIR;
    return false;
  }
  return access(path, W_OK) == 0;
}

static uly_status check_place(const char *flag, const char *path, place what) {
  char copy[PATH_MAX];
  if (!path) return ULY_OK;
  if (snprintf(copy, sizeof copy, "%s", path) >= PATH_MAX)
    return uly_fail(ULY_ERR_CONFIG, "%s '%.200s...' is too long for a path", flag, path);
  if (is_writable(copy, what)) return ULY_OK;
  return uly_fail(ULY_ERR_IO, "%s '%.200s' cannot be written: %s", flag, path, strerror(errno));
}

/* Returns whether the folder, which will be made, will hold the file. */
static bool will_be_in(const char *path, const char *folder) {
  size_t length = folder && access(folder, F_OK) != 0 ? strlen(folder) : 0;
  if (length == 0) return false;
  while (length > 1 && folder[length - 1] == '/') length--;
  return strncmp(path, folder, length) == 0 && path[length] == '/' &&
         !strchr(path + length + 1, '/');
}

/* Checks the places that rank 0 writes to, and those that each rank writes to. */
static uly_status check_places(const train_run *run) {
  const train_options *o = &run->options;
  const struct {
    const char *flag, *path;
    place what;
    bool is_of_all;
  } places[] = {{"--out", o->out, A_FOLDER_WITH_PARENTS, false},
                {"--metrics", o->metrics, A_FILE, false},
                {"--trace", o->trace, A_FILE, false},
                {"--rank-logs", o->rank_logs, A_FOLDER, true},
                {"--offload-optimizer", o->run.config.offload, A_FOLDER_WITH_PARENTS, true},
                {"--stash", o->run.config.stash, A_FOLDER_WITH_PARENTS, true}};
  for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
    if (!run->is_first && !places[i].is_of_all) continue;
    if (places[i].path && places[i].what == A_FILE && will_be_in(places[i].path, o->out)) continue;
    TRY(check_place(places[i].flag, places[i].path, places[i].what));
  }
  return ULY_OK;
}

static uly_status print(train_run *run, const uly_start_report *start) {
  const uly_train_config *config = &run->options.run.config;
  printf("ulysses     " ULY_VERSION_STRING ", dry run\n");
  print_data("data", config->data, &start->data, start->data.sequences - start->data.without_label);
  if (config->eval_data)
    print_data("eval data", config->eval_data, &start->eval_data, start->num_eval_windows);
  if (run->checkpoint[0])
    printf("resumes     %s, %lld steps done\n", run->checkpoint, (long long)start->steps_done);
  options_print(stdout, &run->options.base);
  TRY(plan_print(config, run->mesh));
  printf("\nready       the run can start\n");
  return ULY_OK;
}

uly_status dry_run(train_run *run) {
  uly_start_report start = {.size = sizeof start};
  TRY(saves_find(run));
  const char *checkpoint = run->checkpoint[0] ? run->checkpoint : NULL;
  uly_train_config config = saves_start_config(run);
  TRY(uly_trainer_check(run->mesh, &config, checkpoint, &start));
  TRY(uly_mesh_agree(run->mesh, check_places(run)));
  TRY(saves_check(run));
  return uly_mesh_agree(run->mesh, run->is_first ? print(run, &start) : ULY_OK);
}
