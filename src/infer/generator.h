/* Continues a sequence with a trained model. The contracts are those of ulysses.h. */
#ifndef ULY_GENERATOR_H
#define ULY_GENERATOR_H

#include "base/status.h"

/* Does what uly_generator_create does. */
uly_status uly__generator_create(uly_mesh *mesh, const uly_train_config *config, const char *dir,
                                 const int32_t *tokens, int64_t count, int64_t max_new,
                                 uly_generator **out);
const uly_mesh *uly__generator_mesh(const uly_generator *generator);
const float *uly__generator_logits(const uly_generator *generator);
uly_status uly__generator_next(uly_generator *generator, int32_t token);
uly_generator_report uly__generator_report(const uly_generator *generator);

#endif
