/* Loads the weights of a Hugging Face folder into a model: each rank reads what it holds, on any
 * mesh and with any ZeRO stage. */
#ifndef ULY_HF_LOAD_H
#define ULY_HF_LOAD_H

#include "model/model.h"
#include "model/states.h"
#include "store/hf_reader.h"

typedef struct uly__hf_weights uly__hf_weights;

/* Opens a folder, and finds the parameters of a model in it. The caller closes what was opened,
 * even after a failure. */
uly_status uly__hf_weights_open(const char *dir, const uly__model_config *config,
                                const uly__params *params, uly__hf_weights **out);
void uly__hf_weights_close(uly__hf_weights *weights);

/* Return the folder; and the places of the parameters, [params->num]. */
const uly__hf_folder *uly__hf_weights_folder(const uly__hf_weights *weights);
const uly__hf_place *uly__hf_weights_places(const uly__hf_weights *weights);

/* Reads the master weights that this rank holds. Not collective. */
uly_status uly__hf_weights_read(const uly__hf_weights *weights, const uly__model *model,
                                uly__states *states);

#endif
