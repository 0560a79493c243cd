/* The source of an export. A checkpoint is read as a Hugging Face folder, whose names and layout it
 * has; what is read is compared with its checksums. */
#ifndef ULY_EXPORT_SOURCE_H
#define ULY_EXPORT_SOURCE_H

#include "store/hf_load.h"

typedef struct uly__export_source {
  const char *dir; /* borrowed */
  uly__model_config config;
  uly__params params;
  uly__hf_weights *weights;
  /* The checksums of a checkpoint, and those of what was read, [params.num]; NULL: none. */
  uint64_t *expected, *found;
} uly__export_source;

/* Opens a checkpoint or a Hugging Face folder. What was opened must be closed, even after a
 * failure. */
uly_status uly__export_source_open(const char *dir, uly__export_source *out);
void uly__export_source_close(uly__export_source *from);

/* Returns the type of the weights, or f32 if they have several. */
uly_dtype uly__export_source_dtype(const uly__export_source *from);

/* Returns ULY_ERR_DATA if what was found differs from what the checkpoint says. */
uly_status uly__export_source_check(const uly__export_source *from);

#endif
