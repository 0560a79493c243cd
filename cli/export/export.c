/* ulysses export: turns a checkpoint into a folder that transformers reads. It runs as one process,
 * without MPI. */
#include "export/export_options.h"

#include <limits.h>

#include "common/format.h"
#include "common/try.h"
#include "job/starter.h"
#include "options/run_command.h"

/* Finds the checkpoint that the argument means: the folder of a run stands for its newest one. */
static uly_status find_source(const char *given, char path[PATH_MAX]) {
  TRY(uly_checkpoint_latest(given, path, PATH_MAX));
  if (path[0]) return ULY_OK;
  if (snprintf(path, PATH_MAX, "%s", given) < PATH_MAX) return ULY_OK;
  return uly_fail(ULY_ERR_IO, "the path '%.200s...' is too long", given);
}

static uly_status export_model(options *base) {
  static const char *const names[] = {"f32", "bf16", "f16"};
  export_options *o = (export_options *)base;
  uly_export_report report = {.size = sizeof report};
  char source[PATH_MAX], human[FORMAT_BYTES];
  /* If mpirun has started several processes, only one of them exports. */
  if (!is_first_process()) return ULY_OK;
  if (!o->export.out) return uly_fail(ULY_ERR_CONFIG, "--out is missing: give the folder to make");
  TRY(find_source(base->args[0], source));
  o->export.source = source;
  o->export.dtype = (int)o->dtype - 1;
  TRY(uly_export(&o->export, &report));
  printf("exported    %s to %s\n", source, o->export.out);
  printf("weights     %lld parameters in %s, %lld tensors in %lld file%s, %s\n",
         (long long)report.num_params, names[report.dtype], (long long)report.num_tensors,
         (long long)report.num_files, plural(report.num_files), format_bytes(report.bytes, human));
  printf("other files %lld\n", (long long)report.num_companions);
  return ULY_OK;
}

int command_export(int argc, char *const *argv) {
  export_options o;
  return run_alone(&o.base, EXPORT, argc, argv, export_model);
}
