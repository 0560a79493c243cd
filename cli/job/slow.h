/* Finds what makes a run slower than its machine allows, for `doctor` and for the start of
 * `train`. */
#ifndef ULYSSES_CLI_SLOW_H
#define ULYSSES_CLI_SLOW_H

#include <stdbool.h>

#include "ulysses.h"

typedef enum slow_kind {
  SLOW_BF16,    /* the CPU has no instructions for it */
  SLOW_AMX,     /* the system does not let programs use it */
  SLOW_ONEDNN,  /* does not use what the CPU has */
  SLOW_KERNELS, /* ULYSSES_ISA chooses slow ones */
  SLOW_THREADS, /* more than hardware threads */
  NUM_SLOW
} slow_kind;

enum { SLOW_TEXT = 512 };

/* Returns whether something of this kind slows down runs of this type. If so, text says what it is,
 * how much it costs, and what to do. */
bool slow_find(const uly_machine *machine, uly_dtype dtype, slow_kind kind, char text[SLOW_TEXT]);

/* Returns the name of a set of kernels, with an explanation if the name alone does not say enough:
 * "avx2", "base (the compiler's vectors, NEON)". */
const char *slow_kernels(const char *name);

/* Returns the name of a kind, such as "bf16" or "AMX". */
const char *slow_name(slow_kind kind);

#endif
