/* A kernel table that wraps the one for this CPU: it calls functions of the test before and after
 * each op, and the first of them may skip the op. A program gets this table if it is linked with
 * wrapped_ops.c, with a file that defines these functions, and with -Wl,--wrap=uly__ops_get. */
#ifndef WRAPPED_OPS_H
#define WRAPPED_OPS_H

#include "ops/ops.h"

typedef struct op_call {
  const char *op;
  uint64_t shape_hash; /* of what its time depends on */
  /* The result that the host reads; NULL if it reads none. */
  void *result;
  size_t result_bytes;
  /* The function that attention calls now and then to drive communication; NULL in other ops. */
  void (*poll)(void *context);
  void *poll_context;
} op_call;

/* Returns whether the op is to run. */
bool op_begins(const op_call *call);

/* Called after the op, even if it did not run. */
void op_ends(const op_call *call);

/* Called in place of the poll. */
void op_polls(const op_call *call);

#endif
