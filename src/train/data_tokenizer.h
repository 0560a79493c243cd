/* The tokenizer of the data and that of the model: tokens of another one mean nothing to a
 * model. */
#ifndef ULY_DATA_TOKENIZER_H
#define ULY_DATA_TOKENIZER_H

#include "train/trainer.h"

/* Returns ULY_ERR_CONFIG if the folder `dir` holds a tokenizer, but the data of the run were made
 * with a different one; or the error of opening it. Only rank 0 opens it, so the ranks must agree
 * on the status. */
uly_status uly__check_tokenizer(const uly_trainer *trainer, const char *dir);

/* Takes the files that every checkpoint of the run will have, on the rank that completes these:
 * those of `dir` (NULL: none) and, if that holds no tokenizer, those that uly_prepare left beside
 * the data. */
uly_status uly__take_companions(uly_trainer *trainer, const char *dir);

#endif
