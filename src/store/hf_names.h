/* The names of tensors in Hugging Face folders, and where the parameters of a model are in them.
 *
 * Llama, Mistral, Qwen2, Qwen3 and SmolLM have the names of the parameter table (model/params.h).
 * GPT-2 has names of its own, stores its matrices [in, out], and has q, k and v side by side in one
 * tensor; files that this program saved have the names and the layout of the table in any family.
 * Folders of a base model, without a head, lack "model." or "transformer." at the beginning. */
#ifndef ULY_HF_NAMES_H
#define ULY_HF_NAMES_H

#include "model/params.h"
#include "store/hf_folder.h"

/* What a parameter is called in files of GPT-2. */
typedef struct uly__hf_name {
  char text[96];
  /* Its part of the tensor, and how many parts of the same size there are. */
  int part, num_parts;
  bool is_transposed;
} uly__hf_name;

/* Returns the name that transformers gives a parameter of GPT-2. */
uly__hf_name uly__hf_gpt2_name(const uly__param *param);

/* Where a parameter is. Element (row, col) of the parameter is element (first + row, col) of the
 * tensor or, transposed, (col, first + row). A vector has one column. */
typedef struct uly__hf_place {
  const uly__hf_tensor *tensor;
  int64_t rows, cols; /* of the tensor */
  int64_t first;
  bool is_transposed;
} uly__hf_place;

/* Finds all parameters of a model; places: [params->num]. Returns ULY_ERR_DATA if one is missing or
 * has another shape, or if the folder holds a tensor that the model has no use for, except buffers
 * and the head of a tied model. */
uly_status uly__hf_find_places(const uly__hf_folder *folder, const uly__model_config *config,
                               const uly__params *params, uly__hf_place *places);

#endif
