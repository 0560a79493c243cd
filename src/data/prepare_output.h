/* A folder of shards that uly_prepare makes. Shards are written to a hidden folder, which gets its
 * name when they are complete. */
#ifndef ULY_PREPARE_OUTPUT_H
#define ULY_PREPARE_OUTPUT_H

#include <limits.h>

#include "data/shard_writer.h"

typedef struct uly__prepare_output {
  char final[PATH_MAX], hidden[PATH_MAX];
  uly__shard_writer *writer; /* NULL until it is opened */
  uly_prepare_part *part;    /* for what was written; borrowed */
} uly__prepare_output;

/* Sets the paths. Returns ULY_ERR_CONFIG if the folder exists. */
uly_status uly__prepare_output_name(uly__prepare_output *out, const char *folder, const char *name,
                                    uly_prepare_part *part);
/* Creates the hidden folder, and opens the writer. */
uly_status uly__prepare_output_open(uly__prepare_output *out, int64_t shard_tokens,
                                    const uly__shard_tokens *tokens);
/* Completes and syncs the shards. */
uly_status uly__prepare_output_finish(uly__prepare_output *out);
/* Give the folder its name, and take the name away again. */
uly_status uly__prepare_output_show(const uly__prepare_output *out);
void uly__prepare_output_hide(const uly__prepare_output *out);
/* Removes the hidden folder, which may be that of an earlier call. */
uly_status uly__prepare_output_remove(const uly__prepare_output *out);

/* Locks a folder until *fd is closed, since two calls at once would take each other's shards for
 * remains. If the file system has no locks, nothing is locked. */
uly_status uly__prepare_lock(const char *folder, int *fd);

#endif
