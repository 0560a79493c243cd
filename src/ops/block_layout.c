/* Well-known block-sparse layouts. Each row is the union of a few simple sets of key blocks, whose
 * next member at or after a given block is a formula; so rows are written in order, at the cost
 * of what they list.
 *
 * Sources: Longformer (Beltagy et al. 2020, 2004.05150); strided and fixed patterns of the Sparse
 * Transformer (Child et al. 2019, 1904.10509, section 4.2, both of its heads' sets in one);
 * BigBird (Zaheer et al. 2020, 2007.14062). */
#include <assert.h>
#include <stdlib.h>

#include "base/integers.h"
#include "base/rng.h"
#include "base/sized.h"
#include "ops/mask.h"

const char *const uly__sparse_names[] = {"none", "longformer", "strided", "fixed", "bigbird", NULL};

/* The most blocks that all rows may list together: a layout with more is not sparse. */
static const int64_t max_listed = INT32_MAX;

/* A row while it is being written. */
typedef struct row {
  int64_t index, end;              /* it lists blocks below `end` */
  int64_t local_begin, local_end;  /* neighbouring blocks */
  int32_t *random;                 /* ascending */
  int64_t num_random, next_random; /* in `random` */
} row;

static int by_block(const void *a, const void *b) {
  int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
  return (x > y) - (x < y);
}

/* Draws distinct blocks among those that are neither local nor global: the first images under a
 * permutation that belongs to this head and row. */
static void draw_random(const uly_sparse *d, int head, row *r) {
  int64_t left = uly__max(r->local_begin - d->global, 0), right = uly__max(r->local_end, d->global);
  int64_t num = left + uly__max(r->end - right, 0);
  char name[64];
  snprintf(name, sizeof name, "random blocks of head %d, row %lld", head, (long long)r->index);
  uint64_t stream = uly__rng_stream(name);
  r->num_random = r->index < d->global ? 0 : uly__min(d->random, num);
  for (int64_t i = 0; i < r->num_random; i++) {
    int64_t at = uly__rng_permute(d->seed, stream, num, i);
    r->random[i] = (int32_t)(at < left ? d->global + at : right + at - left);
  }
  qsort(r->random, (size_t)r->num_random, sizeof *r->random, by_block);
}

static row make_row(const uly_sparse *d, uly_mask_kind kind, int64_t num_blocks, int64_t index) {
  row r = {.index = index,
           .end = kind == ULY_MASK_CAUSAL ? index + 1 : num_blocks,
           .local_begin = uly__max(index - d->local + 1, 0),
           .local_end = index + d->local};
  if (d->pattern == ULY_SPARSE_FIXED) {
    r.local_begin = index / d->local * d->local;
    r.local_end = r.local_begin + d->local;
  }
  return r;
}

/* Returns the first block at or after `col` that the row lists, or r->end or more if there is
 * none. */
static int64_t next_col(const uly_sparse *d, row *r, int64_t col) {
  int64_t nearest = r->end;
  if (col < r->local_end) nearest = uly__min(nearest, uly__max(col, r->local_begin));
  switch (d->pattern) {
    case ULY_SPARSE_STRIDED: {
      int64_t past = (r->index - col) % d->local; /* negative if col is past index */
      return uly__min(nearest, col + (past < 0 ? past + d->local : past));
    }
    case ULY_SPARSE_FIXED: {
      int64_t first = uly__max(d->local - d->global, 0), place = col % d->local;
      if (d->global > 0) nearest = uly__min(nearest, col + uly__max(first - place, 0));
      return nearest;
    }
    case ULY_SPARSE_BIGBIRD:
      while (r->next_random < r->num_random && r->random[r->next_random] < col) r->next_random++;
      if (r->next_random < r->num_random) nearest = uly__min(nearest, r->random[r->next_random]);
      break;
    case ULY_SPARSE_NONE:
    case ULY_SPARSE_LONGFORMER: break;
  }
  return col < d->global || r->index < d->global ? col : nearest;
}

/* The columns of all rows so far; the room grows as needed. */
typedef struct columns {
  int32_t *list;
  int64_t num, room;
} columns;

static uly_status append(columns *cols, int64_t col) {
  if (cols->num == cols->room) {
    int64_t room = cols->room ? 2 * cols->room : 1024;
    int32_t *list = realloc(cols->list, (size_t)room * sizeof *list);
    if (!list) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a sparse layout of %lld", (long long)room);
    cols->list = list;
    cols->room = room;
  }
  cols->list[cols->num++] = (int32_t)col;
  return ULY_OK;
}

static uly_status list_rows(const uly_sparse *d, uly_mask_kind kind, const uly_block_layout *l,
                            int64_t *row_begin, int32_t *random, columns *cols) {
  int64_t M = l->num_blocks;
  for (int64_t i = 0; i < l->num_layouts * M; i++) {
    row r = make_row(d, kind, M, i % M);
    r.random = random;
    if (d->pattern == ULY_SPARSE_BIGBIRD) draw_random(d, (int)(i / M), &r);
    for (int64_t col = next_col(d, &r, 0); col < r.end; col = next_col(d, &r, col + 1))
      ULY_TRY(append(cols, col));
    row_begin[i + 1] = cols->num;
  }
  return ULY_OK;
}

static uly_status check(const uly_sparse *d, uly_mask_kind kind, int64_t num_tokens,
                        int num_layouts) {
  if (d->pattern < ULY_SPARSE_LONGFORMER || d->pattern > ULY_SPARSE_BIGBIRD)
    ULY_FAIL(ULY_ERR_CONFIG, "sparse.pattern is %d, which is not a pattern of blocks",
             (int)d->pattern);
  for (size_t i = 0; i < sizeof d->reserved / sizeof *d->reserved; i++)
    if (d->reserved[i])
      ULY_FAIL(ULY_ERR_CONFIG,
               "sparse.reserved[%zu] is %lld, but it must be 0: this library knows no member there",
               i, (long long)d->reserved[i]);
  if (kind != ULY_MASK_FULL && kind != ULY_MASK_CAUSAL)
    ULY_FAIL(ULY_ERR_CONFIG,
             "the kind of the mask is %d, but it must be ULY_MASK_FULL or ULY_MASK_CAUSAL",
             (int)kind);
  if (num_tokens < 1 || num_layouts < 1)
    ULY_FAIL(ULY_ERR_CONFIG,
             "%d sparse layouts of %lld tokens were requested, but there must be at least one "
             "layout and one token",
             num_layouts, (long long)num_tokens);
  if (d->block < 1 || d->local < 0 || d->global < 0 || d->random < 0)
    ULY_FAIL(ULY_ERR_CONFIG,
             "sparse.block is %lld, sparse.local %lld, sparse.global %lld and sparse.random %lld, "
             "but the first must be at least 1, and the others not negative",
             (long long)d->block, (long long)d->local, (long long)d->global, (long long)d->random);
  if ((num_tokens - 1) / d->block >= max_listed / num_layouts)
    ULY_FAIL(ULY_ERR_CONFIG,
             "%d sparse layouts of %lld tokens have too many rows with sparse.block = %lld: use "
             "larger blocks",
             num_layouts, (long long)num_tokens, (long long)d->block);
  return ULY_OK;
}

int64_t uly_sparse_local(const uly_sparse *sparse, int64_t num_tokens) {
  if (!sparse) return 0;
  if (sparse->local != 0 || sparse->block < 1 || num_tokens < 1) return sparse->local;
  if (sparse->pattern != ULY_SPARSE_STRIDED && sparse->pattern != ULY_SPARSE_FIXED) return 4;
  int64_t num_blocks = (num_tokens - 1) / sparse->block + 1, local = 1;
  while (local * local < num_blocks) local++;
  return local;
}

/* Limits all counts of blocks to the stream, and sets the default of `local`. */
static uly_sparse settle(const uly_sparse *desc, int64_t num_tokens, int64_t num_blocks) {
  uly_sparse d = *desc;
  d.local = uly_sparse_local(desc, num_tokens);
  d.local = uly__min(d.local, num_blocks);
  d.global = uly__min(d.global, num_blocks);
  d.random = uly__min(d.random, num_blocks);
  return d;
}

/* Checks the size before anything is listed: no row lists more than this. */
static uly_status check_size(const uly_sparse *d, const uly_block_layout *l) {
  assert(d->local > 0); /* settled */
  int64_t M = l->num_blocks, stretches = M / d->local + 1, most = 2 * d->local;
  if (d->pattern == ULY_SPARSE_STRIDED)
    most += stretches;
  else if (d->pattern == ULY_SPARSE_FIXED)
    most += d->global * stretches;
  else
    most += 2 * d->global + d->random; /* global rows list M each */
  double listed = (double)uly__min(most, M) * (double)M * l->num_layouts;
  if (listed > (double)max_listed)
    ULY_FAIL(ULY_ERR_CONFIG,
             "%d sparse layouts of %lld blocks may list %.3g blocks, but the limit is 2^31: use a "
             "larger sparse.block, or fewer blocks in a row (sparse.local, sparse.global, "
             "sparse.random)",
             l->num_layouts, (long long)M, listed);
  return ULY_OK;
}

static uly_status fill(const uly_sparse *d, uly_mask_kind kind, uly_block_layout *l,
                       int32_t *random) {
  ULY_TRY(check_size(d, l));
  int64_t *row_begin = calloc((size_t)(l->num_layouts * l->num_blocks) + 1, sizeof *row_begin);
  l->row_begin = row_begin;
  if (!row_begin || !random) ULY_FAIL(ULY_ERR_MEMORY, "no memory for the rows of a sparse layout");
  columns cols = {0};
  uly_status status = list_rows(d, kind, l, row_begin, random, &cols);
  l->cols = cols.list;
  return status;
}

uly_status uly_block_layout_create(const uly_sparse *sparse, uly_mask_kind kind, int64_t num_tokens,
                                   int num_layouts, uly_block_layout **out) {
  ULY_NOT_NULL(sparse);
  ULY_NOT_NULL(out);
  *out = NULL;
  ULY_TRY(check(sparse, kind, num_tokens, num_layouts));
  uly_block_layout *l = calloc(1, sizeof *l);
  if (!l) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a sparse layout");
  l->size = sizeof *l;
  l->block = sparse->block;
  l->num_blocks = (num_tokens - 1) / sparse->block + 1;
  l->num_layouts = num_layouts;
  uly_sparse settled = settle(sparse, num_tokens, l->num_blocks);
  int32_t *random = malloc((size_t)(settled.random + 1) * sizeof *random);
  uly_status status = fill(&settled, kind, l, random);
  free(random);
  if (status != ULY_OK)
    uly_block_layout_destroy(l);
  else
    *out = l;
  return status;
}

void uly_block_layout_destroy(uly_block_layout *layout) {
  if (!layout) return;
  free((void *)(uintptr_t)layout->row_begin);
  free((void *)(uintptr_t)layout->cols);
  free(layout);
}
