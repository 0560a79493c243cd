/* Draws a token from logits. */
#ifndef ULY_SAMPLE_H
#define ULY_SAMPLE_H

#include "base/status.h"

/* Does what uly_sample does. */
uly_status uly__sample(const float *logits, int64_t vocab, const uly_sampling *sampling,
                       int64_t index, int32_t *token, double *log_probability);

#endif
