/* The kernel table of the guarded device: every op opens the pages while it runs. */
#include <omp.h>

#include "guarded_device.h"
#include "wrapped_ops.h"

bool op_begins(const op_call *call) {
  (void)call;
  guard_enter();
  return true;
}

void op_ends(const op_call *call) {
  (void)call;
  guard_leave();
}

/* A poll runs inside attention, but is not part of it. Where other threads go on with attention
 * meanwhile, the pages must stay open. */
void op_polls(const op_call *call) {
  bool closes = omp_get_num_threads() == 1;
  if (closes) guard_leave();
  call->poll(call->poll_context);
  if (closes) guard_enter();
}
