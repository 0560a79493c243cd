/* Comparisons of a trainer with a folder of reference numbers, golden.json and golden.safetensors:
 * logits, loss by position, gradients and training steps. Positions of a set are those of its
 * window, and each step is on this window. */
#ifndef GOLDEN_TESTING_H
#define GOLDEN_TESTING_H

#include <jansson.h>

#include "data/safetensors.h"
#include "trainer_access.h"

typedef struct golden {
  char set[64]; /* folder of tests/data */
  json_t *json;
  uly__safetensors *tensors;
  char data[256]; /* the window as a token shard */
  /* What is compared: all positions, or the first ones alone, if the set has numbers of these. */
  int64_t seq_len;
  const json_t *losses;
  const char *logits;
} golden;

/* Opens a set. Collective. */
golden open_golden(const char *set);
/* Opens the numbers of a set that are those of its first positions alone. Collective. */
golden open_golden_within(const char *set);
void close_golden(golden *g);

/* A run on the window with the settings with which the reference was trained, if it was. The caller
 * says what the model is. */
uly_train_config golden_config(const golden *g);

/* Returns a tensor of golden.safetensors, which has `count` elements; freed by the caller. */
float *golden_tensor(const golden *g, const char *name, int64_t count);

/* Compares the logits that are left when the passes are done. */
void check_logits(const golden *g, uly_trainer *trainer, double tolerance);

/* Compares the mean loss, and that of the positions of each bin: [0, 16), [16, 32), ... */
void check_evaluation(const golden *g, uly_trainer *trainer, double tolerance);

/* Returns the reference gradient of a parameter, in the layout of the parameter; freed by the
 * caller. */
typedef float *gradient_source(const golden *g, const uly__param *param);

/* Makes the steps of the reference, and compares each step's loss and norm, and the gradients of
 * the first one. */
void check_steps(const golden *g, uly_trainer *trainer, gradient_source *gradient,
                 double tolerance);

#endif
