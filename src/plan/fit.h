/* Checks whether a run fits into the memory of its machine, before any of it is allocated, and says
 * what would fit if it does not. */
#ifndef ULY_FIT_H
#define ULY_FIT_H

#include "plan/run.h"

/* Measures a run with other settings, on another mesh, and with its tokens halved `halvings` times:
 * `bytes` returns the bytes of a rank, or INT64_MAX if such a run cannot work. */
typedef struct uly__measure {
  int64_t (*bytes)(const void *context, uly_mesh *mesh, const uly_train_config *config,
                   int halvings);
  const void *context;
  /* The tokens that are halved, and what a message says before and after their number. */
  int64_t num_tokens;
  const char *before, *after;
} uly__measure;

/* Return ULY_ERR_CONFIG, with the bytes and what would fit, if this rank needs more memory than
 * config.memory_limit. The second function is for runs without a limit, and compares with the
 * rank's share of what is free on its machine. */
uly_status uly__check_limit(const uly__run *run, const uly__measure *measure);
uly_status uly__check_fit(const uly__run *run, const uly__measure *measure, int ranks_on_node);

#endif
