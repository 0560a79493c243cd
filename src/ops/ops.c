/* Fills the kernel table: references first, then what this CPU runs faster. */
#include "ops/ops.h"

#include "base/environment.h"

#include "ops/cpu.h"

static const uly__ops_sizes cpu_sizes = {
    .tile_rows = 512, .head_rows = 256, .wide_vocab = 8192, .product_width = 128};

static bool fill(const char *name, uly__ops *table) {
  table->sizes = cpu_sizes;
  uly__ops_elements(table);
  uly__ops_tree(table);
  uly__ops_conversions(table);
  uly__ops_rows_base(table);
  uly__norms_base(table);
  table->matmul = uly__matmul_ref;
  table->matmul_prepare = uly__matmul_ref_prepare;
  table->matmul_bytes = uly__matmul_ref_bytes;
  table->attention_forward = uly__attention_ref_forward;
  table->attention_backward = uly__attention_ref_backward;
  table->matvec = uly__matvec_ref;
  table->attend_one = uly__attend_one_ref;
  if (strcmp(name, "reference") == 0) return true;

  bool widens = !uly__products_multiply_bf16();
  table->matmul = uly__matmul_onednn;
  table->matmul_prepare = uly__matmul_onednn_prepare;
  if (widens) uly__matmul_widened_base(table);
  uly__attention_tiled_base(table);
  uly__one_token_base(table);
  if (strcmp(name, "base") == 0) return true;
#if defined(__x86_64__)
  if (strcmp(name, "avx2") == 0 && uly__cpu_has(ULY_CPU_AVX2)) {
    if (widens) uly__matmul_widened_avx2(table);
    uly__ops_rows_avx2(table);
    uly__norms_avx2(table);
    uly__attention_tiled_avx2(table);
    uly__one_token_avx2(table);
    return true;
  }
  bool wants_bf16 = strcmp(name, "avx512bf16") == 0;
  if ((wants_bf16 && uly__cpu_has(ULY_CPU_AVX512_BF16)) ||
      (strcmp(name, "avx512") == 0 && uly__cpu_has(ULY_CPU_AVX512))) {
    if (widens) uly__matmul_widened_avx512(table);
    uly__ops_rows_avx512(table);
    uly__norms_avx512(table);
    uly__attention_tiled_avx512(table);
    uly__one_token_avx512(table);
    if (wants_bf16) uly__attention_tiled_avx512bf16(table);
    return true;
  }
#endif
  return false;
}

bool uly__ops_named(const char *name, uly__ops *table) {
  static const char *const names[] = {"reference", "base", "avx2", "avx512", "avx512bf16"};
  if (!fill(name, table)) return false;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(name, names[i]) == 0) table->name = names[i];
  return true;
}

static void fill_best(uly__ops *table) {
  (void)(uly__ops_named("avx512bf16", table) || uly__ops_named("avx512", table) ||
         uly__ops_named("avx2", table) || uly__ops_named("base", table));
}

const char *uly__ops_best_name(void) {
  uly__ops table;
  fill_best(&table);
  return table.name;
}

const uly__ops *uly__ops_get(void) {
  static uly__ops table;
  static bool filled = false;
  if (filled) return &table;
  const char *wish = uly__environment("ULYSSES_ISA");
  if (!wish || !uly__ops_named(wish, &table)) fill_best(&table);
  filled = true;
  return &table;
}

uly_status uly__ops_check_wish(void) {
  const char *wish = uly__environment("ULYSSES_ISA");
  if (wish && strcmp(wish, uly__ops_get()->name) != 0)
    ULY_FAIL(ULY_ERR_CONFIG,
             "ULYSSES_ISA=%s: this CPU has no such instruction set; leave it unset, or use "
             "whichever of reference, base, avx2, avx512 and avx512bf16 the CPU supports",
             wish);
  return ULY_OK;
}
