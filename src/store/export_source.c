/* Opens what is exported: see export_source.h. */
#include "store/export_source.h"

#include <stdlib.h>

#include "store/checkpoint_load.h"
#include "store/checkpoint_model.h"

/* Reads the checksums of a checkpoint. Those of older formats are compared before anything else. */
static uly_status read_checksums(uly__export_source *from) {
  uly__checkpoint_run run;
  uly_checkpoint_info info;
  uint64_t unused;
  size_t num = (size_t)from->params.num;
  from->found = calloc(num, sizeof *from->found);
  from->expected = calloc(ULY_NUM_STATES * num, sizeof *from->expected);
  if (!from->found || !from->expected)
    ULY_FAIL(ULY_ERR_MEMORY, "no memory for the checksums of all tensors");
  ULY_TRY(uly__checkpoint_read_json(from->dir, &from->params, &run, from->expected, &unused));
  ULY_TRY(uly__checkpoint_check_model(from->dir, &from->config, &run));
  /* The config.json of such a checkpoint does not say how the model attends. */
  if (run.version < ULY_CHECKPOINT_ATTENDS && (run.config.window > 0 || run.config.sparse.pattern))
    ULY_FAIL(ULY_ERR_DATA,
             "'%s' has an older format, whose config.json does not record its window or sparse "
             "blocks: continue the run for a step, and export what it saves",
             from->dir);
  if (!uly__checkpoint_has_pieces(&run)) return ULY_OK;
  free(from->expected);
  from->expected = NULL;
  return uly__checkpoint_verify(from->dir, &info);
}

static uly_status open_source(uly__export_source *from) {
  bool is_checkpoint;
  ULY_TRY(uly__folder_model(from->dir, &from->config, &is_checkpoint));
  ULY_TRY(uly__params_create(&from->config, NULL, NULL, &from->params));
  if (is_checkpoint) ULY_TRY(read_checksums(from));
  return uly__hf_weights_open(from->dir, &from->config, &from->params, &from->weights);
}

uly_status uly__export_source_open(const char *dir, uly__export_source *out) {
  *out = (uly__export_source){.dir = dir};
  return open_source(out);
}

void uly__export_source_close(uly__export_source *from) {
  uly__hf_weights_close(from->weights);
  uly__params_destroy(&from->params);
  free(from->expected);
  free(from->found);
}

uly_dtype uly__export_source_dtype(const uly__export_source *from) {
  const uly__hf_place *places = uly__hf_weights_places(from->weights);
  uly_dtype first = places[0].tensor->info->dtype;
  for (int i = 1; i < from->params.num; i++)
    if (places[i].tensor->info->dtype != first) return ULY_F32;
  return first;
}

uly_status uly__export_source_check(const uly__export_source *from) {
  for (int i = 0; from->expected && i < from->params.num; i++)
    if (from->found[i] != from->expected[i])
      ULY_FAIL(
          ULY_ERR_DATA,
          "'%s/%s': tensor %s does not match its checksum: the file is damaged, so use another "
          "checkpoint",
          from->dir, uly__model_file, from->params.list[i].name);
  return ULY_OK;
}
