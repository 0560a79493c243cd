/* Puts tiled attention of one instruction set (ULY_ISA) into the kernel table. */
#include "ops/attention_tiled.h"

#ifdef ULY_BF16_DOT

static uly__ops others; /* for what these kernels cannot do */

/* Returns whether rows are even, as words of two elements need them. */
static bool is_for_pairs(const uly__attention_args *a) {
  return a->dtype == ULY_BF16 && a->head_dim % 2 == 0 && a->q_stride % 2 == 0 &&
         a->kv_stride % 2 == 0 && a->o_stride % 2 == 0;
}

static void forward(uly__stream *stream, const uly__attention_args *a) {
  if (is_for_pairs(a))
    ULY_FOR_ISA(uly__attention_tiled_forward)(stream, a);
  else
    others.attention_forward(stream, a);
}

static void backward(uly__stream *stream, const uly__attention_args *a, void *workspace) {
  if (is_for_pairs(a))
    ULY_FOR_ISA(uly__attention_tiled_backward)(stream, a, workspace);
  else
    others.attention_backward(stream, a, workspace);
}

void ULY_FOR_ISA(uly__attention_tiled)(uly__ops *table) {
  others = *table;
  table->attention_forward = forward;
  table->attention_backward = backward;
}

#else

void ULY_FOR_ISA(uly__attention_tiled)(uly__ops *table) {
  table->attention_forward = ULY_FOR_ISA(uly__attention_tiled_forward);
  table->attention_backward = ULY_FOR_ISA(uly__attention_tiled_backward);
}

#endif
