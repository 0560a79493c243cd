/* Checkpoints: a folder step-<10 digits> with
 *
 *   model.safetensors       master weights, f32, in the order of the parameter table
 *   optimizer.safetensors   AdamW's moments: all m.<name>, then all v.<name>, f32
 *   config.json             the model, with Hugging Face's keys (see model/config.h)
 *   trainer.json            step, place in the data, seed, how the model attends; checksums of
 *                           every tensor, of the model, and of itself
 *
 * and the files of the model's tokenizer, if the run has them (data/companions.h).
 *
 * The flat parameter range is the files' data section, so each rank writes the ranges that it owns
 * at their places, and the bytes do not depend on the number of ranks, the mesh or the stage. A
 * save is written to a hidden folder, synced, and renamed; a folder with the final name is
 * complete.
 *
 * A tensor's checksum is that of base/checksum.h, a sum over its elements, so it does not depend on
 * how the tensor is cut among ranks.
 *
 * Versions of the format, of which the latest is written and all of these are read:
 *
 *   3   config.json does not say how a model attends; model_hash is a checksum of the weights' text
 *   4   a tensor's checksum is the sum of the XXH3 of its pieces, each seeded with the index in the
 *       tensor of the piece's first element; pieces are cut at the tensor's ends, and at multiples
 *       of 256 elements of its unit. Version 3 has the same checksums
 *   5   a tensor's checksum is a sum over its elements */
#ifndef ULY_CHECKPOINT_FORMAT_H
#define ULY_CHECKPOINT_FORMAT_H

#include "data/safetensors.h"
#include "model/states.h"
#include "store/run_folder.h"

/* Returns the file that holds a state: 0 is the model's, 1 the optimizer's. */
static inline int uly__state_file(int which) { return which == ULY_STATE_MASTER ? 0 : 1; }

enum { ULY_TENSOR_NAME = 128 };
void uly__state_name(int which, const uly__param *param, char name[ULY_TENSOR_NAME]);

/* Builds the header of file 0 or 1 in *header, malloc'ed, and sets *data_bytes to the size of the
 * data section. */
uly_status uly__checkpoint_header(const uly__params *params, int file, char **header,
                                  int64_t *header_bytes, int64_t *data_bytes);
/* Returns ULY_ERR_DATA unless the file (0 or 1, at path) has exactly that header, of which every
 * byte is known. */
uly_status uly__checkpoint_check_header(const uly__safetensors *states, const char *path,
                                        const uly__params *params, int file);
/* Returns the byte in the data section of its file where a tensor's element lies. */
int64_t uly__checkpoint_place(const uly__params *params, int which, const uly__param *param,
                              int64_t element);

/* Returns the index of a state's tensor among the checksums, [ULY_NUM_STATES][params->num]. */
static inline int64_t uly__state_number(const uly__params *params, int which,
                                        const uly__param *param) {
  return (int64_t)which * params->num + (param - params->list);
}

/* The first version whose config.json says how a model attends. */
enum { ULY_CHECKPOINT_ATTENDS = 4 };

/* The point at which training stood. */
typedef struct uly__checkpoint_run {
  int64_t version; /* of the format, when read */
  int64_t step, sequences;
  uint64_t model_hash;
  /* Identifies the data: a hash of their content; in older checkpoints, of their names and
   * sizes. */
  uint64_t data_hash;
  bool is_hash_of_names;
  /* The settings that the table says a checkpoint records, as the run used them; when read, others
   * have their defaults. */
  uly_train_config config;
} uly__checkpoint_run;

/* Returns the checksum of what the text of a config.json says, however it is laid out: model_hash
 * of a run. In version 3 that was the checksum of uly__model_config_weights. */
uly_status uly__checkpoint_hash_config(const char *text, int64_t length, uint64_t *hash);

/* Returns whether the checksums of tensors are sums over pieces, as before version 5. */
bool uly__checkpoint_has_pieces(const uly__checkpoint_run *run);
/* Returns what a range adds to the checksum of its tensor. If that is a sum over pieces, the range
 * must come from a walk without ZeRO, which cuts no piece. */
uint64_t uly__checkpoint_sum(const uly__checkpoint_run *run, const uly__range *range,
                             const void *data);

/* Returns trainer.json as text, malloc'ed, or NULL if there is no memory; hashes:
 * [ULY_NUM_STATES][params->num]. */
char *uly__checkpoint_write_json(const uly__params *params, const uly__checkpoint_run *run,
                                 const uint64_t *hashes);
/* Reads and checks trainer.json. *file_hash is the same for files that say the same. */
uly_status uly__checkpoint_read_json(const char *dir, const uly__params *params,
                                     uly__checkpoint_run *run, uint64_t *hashes,
                                     uint64_t *file_hash);

/* Checks that config.json, which was read as config, is the one that the checkpoint was saved with,
 * and that the rest fits it. */
uly_status uly__checkpoint_check_model(const char *dir, const uly__model_config *config,
                                       const uly__checkpoint_run *run);

#endif
