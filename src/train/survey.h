/* Scans all data before the first step. */
#ifndef ULY_SURVEY_H
#define ULY_SURVEY_H

#include "train/trainer.h"

/* Finds tokens that are not below the vocabulary size (ULY_ERR_DATA names the first), windows
 * without a label, and data that have no others (ULY_ERR_DATA); sets scan, eval_scan, data_info and
 * eval_info, and limits num_eval_windows. The ranks have the same configuration and files.
 * Collective. */
uly_status uly__survey_data(uly_trainer *trainer);

#endif
