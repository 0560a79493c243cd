/* Finds the model of a run, and what the run makes of it. */
#ifndef ULY_RUN_MODEL_H
#define ULY_RUN_MODEL_H

#include "model/config.h"

/* Sets *model to a text in new memory that names the model of a run, unless config->model is given:
 * the config.json of config->init, or else the default preset. */
uly_status uly__run_find_model(const uly_train_config *config, const char **model);

/* Loads the model that config->model names: *in_file as its file says, and *model as the run has
 * it, with the run's window, sparse blocks and scaled RoPE. num_positions: the most positions of a
 * document. */
uly_status uly__run_load_model(const uly_train_config *config, int64_t num_positions,
                               uly__model_config *in_file, uly__model_config *model);

#endif
