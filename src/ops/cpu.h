/* Finds out what this CPU can do, as far as the operating system lets programs use it. */
#ifndef ULY_CPU_H
#define ULY_CPU_H

#include <stdbool.h>

typedef enum uly__cpu_set {
  ULY_CPU_AVX2, /* with FMA */
  ULY_CPU_AVX512,
  ULY_CPU_AVX512_BF16,
  ULY_CPU_AMX, /* products of bf16 */
  ULY_NUM_CPU_SETS
} uly__cpu_set;

bool uly__cpu_has(uly__cpu_set set);

/* Returns whether the CPU has AMX, but the system does not let programs use it; Linux does from
 * 5.16 on. */
bool uly__cpu_hides_amx(void);

#endif
