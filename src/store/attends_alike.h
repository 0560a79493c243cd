/* Checks whether a run attends in the same way as the run that saved a checkpoint. */
#ifndef ULY_ATTENDS_ALIKE_H
#define ULY_ATTENDS_ALIKE_H

#include "store/checkpoint_format.h"

/* Warns if a run attends in another way than the checkpoint, which may be intended but should not
 * go unnoticed. config.sparse is complete; end is the token that ends documents, or -1. */
void uly__warn_if_it_attends_otherwise(const uly_train_config *config, int64_t end, const char *dir,
                                       const uly__checkpoint_run *run);

/* Returns ULY_ERR_CONFIG if a run that does not train would draw different blocks from those of the
 * checkpoint's run. */
uly_status uly__check_same_blocks(const uly_train_config *config, const char *dir,
                                  const uly__checkpoint_run *run);

#endif
