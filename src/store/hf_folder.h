/* A Hugging Face folder: config.json, and the weights in model.safetensors or in the files that
 * model.safetensors.index.json names. Everything in it is hostile until checked. */
#ifndef ULY_HF_FOLDER_H
#define ULY_HF_FOLDER_H

#include "data/safetensors.h"

typedef struct uly__hf_file {
  char *name, *path;
  uly__safetensors *tensors;
} uly__hf_file;

typedef struct uly__hf_tensor {
  const uly__tensor_info *info;
  int file; /* index of its file */
} uly__hf_tensor;

typedef struct uly__hf_folder {
  char *dir;
  uly__hf_file *files; /* [num_files], by name */
  int num_files;
  uly__hf_tensor *tensors; /* [num_tensors], by name */
  int num_tensors;
} uly__hf_folder;

/* Opens all files of weights and checks their headers. An index must name exactly the tensors that
 * the files hold, each with its file. Returns ULY_ERR_DATA, with a message that names the file, if
 * anything is wrong, and ULY_ERR_IO if a file cannot be read. On failure *out is NULL. */
uly_status uly__hf_folder_open(const char *dir, uly__hf_folder **out);
void uly__hf_folder_close(uly__hf_folder *folder);

/* Returns the tensor of that name, or NULL if there is none. */
const uly__hf_tensor *uly__hf_folder_find(const uly__hf_folder *folder, const char *name);

/* Tells whether two tensors have the same type and shape, and the same bytes, which it reads. */
uly_status uly__hf_same(const uly__hf_folder *folder, const uly__hf_tensor *a,
                        const uly__hf_tensor *b, bool *is_same);

/* Returns a hash of the names, types, shapes and places of all tensors. */
uint64_t uly__hf_folder_hash(const uly__hf_folder *folder);

/* Writes the path of a tensor's file, between quotes, before ": tensor <name>", for messages. */
enum { ULY_HF_WHERE = 512 };
const char *uly__hf_where(const uly__hf_folder *folder, const uly__hf_tensor *tensor,
                          char text[ULY_HF_WHERE]);

#endif
