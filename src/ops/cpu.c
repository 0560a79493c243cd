/* Instruction sets of x86-64 beyond what each such CPU has. Elsewhere there are none: the kernels
 * "base" are then the fastest, and use the compiler's vectors (NEON on aarch64). */
#include "ops/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Returns whether the CPU has AMX_TILE and AMX_BF16, whatever the system says. */
static bool has_amx_units(void) {
  unsigned a, b, c, d;
  const unsigned needed = 1u << 24 | 1u << 22;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & needed) == needed;
}

/* Returns whether the system saves what AMX holds, its extended state 18. Linux does so for
 * programs that ask for it: arch_prctl(2). */
static bool system_keeps_amx(void) {
  enum { ARCH_GET_XCOMP_SUPP = 0x1021, TILE_DATA = 18 };
  unsigned long states = 0;
  return syscall(SYS_arch_prctl, ARCH_GET_XCOMP_SUPP, &states) == 0 && (states >> TILE_DATA & 1);
}

bool uly__cpu_has(uly__cpu_set set) {
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  bool bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
  const bool has[ULY_NUM_CPU_SETS] = {avx2, avx512, bf16,
                                      bf16 && has_amx_units() && system_keeps_amx()};
  return has[set];
}

bool uly__cpu_hides_amx(void) { return has_amx_units() && !system_keeps_amx(); }

#else

bool uly__cpu_has(uly__cpu_set set) {
  (void)set;
  return false;
}

bool uly__cpu_hides_amx(void) { return false; }

#endif
