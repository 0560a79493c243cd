/* Shared by the tests that compare kernel tables with the reference table: the tables that this CPU
 * runs, values to run them on, and the comparison. */
#ifndef ULY_KERNEL_TABLES_H
#define ULY_KERNEL_TABLES_H

#include "ops/ops.h"
#include "testing.h"

extern uly__ops reference;
extern uly__ops tables[4]; /* base, avx2, avx512, avx512bf16: those that run here */
extern const char *table_names[4];
extern void (*widen[4])(uly__ops *table); /* products of bf16 by those of f32 */
extern int num_tables;

/* Fills these tables, and lets ops run on three threads. Returns whether there is a reference. */
bool find_tables(void);

/* Returns deterministic values in (-1, 1), rounded to the dtype; freed by the caller. */
void *values(int64_t count, uly_dtype dtype, uint32_t seed);

/* Returns a copy, which the caller frees. */
void *copy(const void *x, int64_t count, uly_dtype dtype);

/* Fails the test unless a, which an op of a table has computed, is close to b, which is expected. */
void same(const char *what, const char *table, const void *a, const void *b, int64_t count,
          uly_dtype dtype);

/* Calls check(table, name, dtype) for all tables and dtypes. */
void for_tables(void (*check)(const uly__ops *, const char *, uly_dtype));

#endif
