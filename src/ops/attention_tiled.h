/* Tiled attention with online softmax (FlashAttention-2, 2307.08691), compiled once for each
 * instruction set (ULY_ISA): what attention_tiled.c puts into the kernel table, and
 * attention_tiled_{forward,backward}.c define. */
#ifndef ULY_ATTENTION_TILED_H
#define ULY_ATTENTION_TILED_H

#include "ops/instruction_set.h"
#include "ops/ops.h"

void ULY_FOR_ISA(uly__attention_tiled_forward)(uly__stream *stream,
                                               const uly__attention_args *args);
void ULY_FOR_ISA(uly__attention_tiled_backward)(uly__stream *stream,
                                                const uly__attention_args *args, void *workspace);

#endif
