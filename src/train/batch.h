/* Chooses the tokens that a step trains on, with their labels and documents. */
#ifndef ULY_BATCH_H
#define ULY_BATCH_H

#include "train/trainer.h"

/* Returns the window of sequence number i of the run: every epoch has a new permutation of all
 * windows. */
int64_t uly__batch_window(uint64_t seed, int64_t num_windows, int64_t i);
/* Chooses the step's sequences in the order of the run, and passes over those without a label: sets
 * order, windows_next and num_passed_over. */
void uly__batch_choose(uly_trainer *trainer);
/* Reads this rank's tokens of window `index`, run after run; then the token after each run, which
 * is the label of the run's last token. */
uly_status uly__batch_read(const uly_trainer *trainer, const uly__tokens *data, int64_t index,
                           int32_t *out);
/* Returns the token that ends documents in these files, or -1 if documents are not packed or the
 * token is not known. */
int64_t uly__batch_end(const uly_trainer *trainer, const uly__tokens *data);
/* Returns the labels, [T], of a window as uly__batch_read gave it; they are valid until the next
 * call. The label of a token is the one after it, or -1 (none) at the end of a document. */
const int32_t *uly__batch_labels(const uly_trainer *trainer, const uly__tokens *data,
                                 const int32_t *window);
/* Prepares the model for window `index`, which uly__batch_read gave as `window`: sets its documents
 * if they are packed. Returns the labels. */
const int32_t *uly__batch_prepare(const uly_trainer *trainer, const uly__tokens *data,
                                  int64_t index, const int32_t *window);

#endif
