/* Plans the files of an export: which tensors there are, by Hugging Face's names, and in which file
 * each of them is. */
#ifndef ULY_EXPORT_PLAN_H
#define ULY_EXPORT_PLAN_H

#include "store/hf_names.h"

/* A tensor of an export: a parameter, or several side by side, each transposed or as it is. */
typedef struct uly__export_tensor {
  uly__tensor_info info;
  int order; /* among the modules of transformers */
  int file;
  int parts[3], num_parts; /* indices of parameters */
  bool is_transposed;
} uly__export_tensor;

typedef struct uly__export_plan {
  uly__export_tensor *tensors; /* [num_tensors], by file, then by name */
  int num_tensors, num_files;
  int64_t bytes;
} uly__export_plan;

/* Plans tensors of a type in files of at most shard_bytes, as transformers does: in the order of
 * the model's modules, each tensor goes to the current file or, if it does not fit there, to the
 * next; a tensor that is larger than a file has one of its own. */
uly_status uly__export_plan_create(const uly__model_config *config, const uly__params *params,
                                   uly_dtype dtype, int64_t shard_bytes, uly__export_plan *out);
void uly__export_plan_destroy(uly__export_plan *plan);

/* Writes the name of a file. */
enum { ULY_EXPORT_NAME = 64 };
const char *uly__export_file_name(const uly__export_plan *plan, int file,
                                  char name[ULY_EXPORT_NAME]);
/* Returns the text of the index, malloc'ed, or NULL if there is no memory. */
char *uly__export_index(const uly__export_plan *plan, int64_t num_params);

#endif
