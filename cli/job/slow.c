/* Explains each kind of slowness in a sentence, from facts about the machine alone. */
#include "job/slow.h"

#include <stdio.h>
#include <string.h>

/* Returns whether the instructions that oneDNN leaves unused only multiply bf16. */
static bool is_for_bf16(const uly_machine *m) {
  return strcmp(m->unused, "AMX") == 0 || strcmp(m->unused, "AVX512-BF16") == 0;
}

static bool find_bf16(const uly_machine *m, uly_dtype dtype, char text[SLOW_TEXT]) {
#if defined(__x86_64__)
  static const char reason[] = "this CPU has no instructions for bf16";
#else
  static const char reason[] = "instructions for bf16 are used only on x86-64";
#endif
  if (dtype != ULY_BF16 || m->multiplies_bf16 || is_for_bf16(m)) return false;
  snprintf(text, SLOW_TEXT,
           "%s, so --dtype bf16 multiplies in f32: it saves memory, but is no faster than --dtype "
           "f32; a CPU with AVX512-BF16 multiplies bf16 twice as fast, and one with AMX several "
           "times as fast",
           reason);
  return true;
}

static bool find_amx(const uly_machine *m, uly_dtype dtype, char text[SLOW_TEXT]) {
  if (dtype != ULY_BF16 || !m->hides_amx) return false;
  snprintf(text, SLOW_TEXT,
           "this CPU has AMX, but the operating system does not let programs use it, so products "
           "of bf16 take several times as long as they could: use Linux 5.16 or later, and a "
           "virtual machine that passes AMX on");
  return true;
}

static bool find_onednn(const uly_machine *m, uly_dtype dtype, char text[SLOW_TEXT]) {
  if (!m->unused[0] || (is_for_bf16(m) && dtype != ULY_BF16)) return false;
  snprintf(text, SLOW_TEXT,
           "oneDNN multiplies matrices with %s, though this CPU has %s, so products%s take %s as "
           "long as they could: unset ONEDNN_MAX_CPU_ISA and DNNL_MAX_CPU_ISA, or install a later "
           "oneDNN",
           m->products, m->unused, is_for_bf16(m) ? " of bf16" : "",
           strcmp(m->unused, "AMX") == 0 ? "several times" : "about twice");
  return true;
}

static bool find_kernels(const uly_machine *m, uly_dtype dtype, char text[SLOW_TEXT]) {
  (void)dtype;
  if (strcmp(m->kernels, m->best_kernels) == 0) return false;
  snprintf(text, SLOW_TEXT,
           "ULYSSES_ISA chooses the kernels %s, though this CPU runs %s: each wider instruction "
           "set is about twice as fast, and the reference is not made for speed; unset ULYSSES_ISA",
           m->kernels, m->best_kernels);
  return true;
}

/* Finds out whether there are more threads than hardware threads on this machine, as far as one
 * rank can tell. */
static bool find_threads(const uly_machine *m, uly_dtype dtype, char text[SLOW_TEXT]) {
  (void)dtype;
  int64_t together = (int64_t)m->threads * m->ranks;
  bool is_bound = m->threads > m->allowed_threads && m->allowed_threads < m->hardware_threads;
  int64_t num = is_bound ? m->threads : together;
  int64_t room = is_bound ? m->allowed_threads : m->hardware_threads;
  if (m->cpu_quota >= 0 && m->cpu_quota < 1000 * room) {
    num = together;
    room = m->cpu_quota < 1000 ? 1 : m->cpu_quota / 1000;
  }
  if (room < 1 || num <= room) return false;
  int64_t each = num == together ? room / m->ranks : room;
  char fewer[64] = "";
  if (each < 1) snprintf(fewer, sizeof fewer, "fewer ranks and ");
  snprintf(text, SLOW_TEXT,
           "%lld threads share %lld hardware thread%s, and wait for each other (64 threads on 2 "
           "took 20 times as long as 2): use %s--threads %lld or OMP_NUM_THREADS=%lld%s",
           (long long)num, (long long)room, room == 1 ? "" : "s", fewer,
           (long long)(each < 1 ? 1 : each), (long long)(each < 1 ? 1 : each),
           is_bound ? ", or bind ranks to more of them (mpirun --bind-to none)" : "");
  return true;
}

static const struct {
  const char *name;
  bool (*find)(const uly_machine *m, uly_dtype dtype, char text[SLOW_TEXT]);
} kinds[NUM_SLOW] = {{"bf16", find_bf16},
                     {"AMX", find_amx},
                     {"oneDNN", find_onednn},
                     {"ULYSSES_ISA", find_kernels},
                     {"threads", find_threads}};

bool slow_find(const uly_machine *machine, uly_dtype dtype, slow_kind kind, char text[SLOW_TEXT]) {
  return kinds[kind].find(machine, dtype, text);
}

const char *slow_kernels(const char *name) {
#if defined(__x86_64__)
  static const char base[] = "base (the compiler's vectors, SSE2)";
#elif defined(__aarch64__)
  static const char base[] = "base (the compiler's vectors, NEON)";
#else
  static const char base[] = "base (the compiler's vectors)";
#endif
  return strcmp(name, "base") == 0 ? base : name;
}

const char *slow_name(slow_kind kind) { return kinds[kind].name; }
