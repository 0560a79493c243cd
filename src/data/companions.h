/* The files that belong to a model besides its configuration and weights: those of its tokenizer,
 * and its settings for generation. A run keeps those of the folder that it began with, and each
 * checkpoint that it saves has them, so that a checkpoint is a complete model. */
#ifndef ULY_COMPANIONS_H
#define ULY_COMPANIONS_H

#include <stdbool.h>

#include "base/status.h"

typedef struct uly__companion {
  char *name, *bytes;
  int64_t count;
} uly__companion;

/* The files, by name. All zeros: there are none. */
typedef struct uly__companions {
  uly__companion *list; /* [num] */
  int num;
} uly__companions;

/* Returns whether a file of that name is a companion of a model. */
bool uly__is_companion(const char *name);

/* Reads the companions in a folder, at most ULY_COMPANION_BYTES in all (ULY_ERR_DATA). On failure
 * *out is empty. */
#define ULY_COMPANION_BYTES ((int64_t)256 << 20)
uly_status uly__companions_read(const char *dir, uly__companions *out);
/* Writes them to a folder, and syncs each. */
uly_status uly__companions_write(const uly__companions *companions, const char *dir);
void uly__companions_free(uly__companions *companions);

#endif
