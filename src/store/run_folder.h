/* The folder that a run saves to: the names in it, and which of its entries are checkpoints. */
#ifndef ULY_RUN_FOLDER_H
#define ULY_RUN_FOLDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* The most steps of a run: as many as the digits in names of checkpoints allow. */
#define ULY_MAX_STEPS 9999999999

/* The files of a checkpoint; and the one that says, in a folder whose weights are in several files,
 * which of them holds which tensor. */
extern const char uly__model_file[], uly__optimizer_file[], uly__config_file[], uly__trainer_file[];
extern const char uly__index_file[];

/* Make names in the folder: that of a checkpoint, and that of one that is not yet, or no longer,
 * complete. uly__checkpoint_step returns the step in a checkpoint's name, or -1 for any other
 * name. */
enum { ULY_CHECKPOINT_NAME = 64 };
void uly__checkpoint_name(int64_t step, char name[ULY_CHECKPOINT_NAME]);
void uly__checkpoint_hidden_name(int64_t step, char name[ULY_CHECKPOINT_NAME]);
int64_t uly__checkpoint_step(const char *name);
/* Tells what an entry with such a name is: a folder, not a link to one, with the file that a save
 * writes last; a folder with only other files of a checkpoint; or something that is not the
 * library's, such as an empty folder. */
typedef enum uly__checkpoint_kind {
  ULY_CHECKPOINT_NONE = 0,
  ULY_CHECKPOINT_DAMAGED,
  ULY_CHECKPOINT_WHOLE
} uly__checkpoint_kind;
uly_status uly__checkpoint_look(int folder, const char *out_dir, const char *name,
                                uly__checkpoint_kind *kind);

#endif
