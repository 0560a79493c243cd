/* See token_scan.h. */
#include "data/token_scan.h"

#include <stdlib.h>

enum { PIECE = 1 << 20 };

/* How far a scan has come. A window may have begun in an earlier piece. */
typedef struct progress {
  const uly__scan_request *request;
  uly__scan *scan;
  int64_t at;               /* place of the next token */
  int64_t num_ends_in_here; /* so far in its window */
} progress;

uly_status uly__scan_add_blank(uly__scan *scan, int64_t window) {
  if (scan->num_blank == scan->capacity) {
    int64_t capacity = scan->capacity ? 2 * scan->capacity : 16;
    int64_t *grown = realloc(scan->blank, (size_t)capacity * sizeof *grown);
    if (!grown)
      ULY_FAIL(ULY_ERR_MEMORY, "no memory for a list of %lld windows without a label",
               (long long)capacity);
    scan->blank = grown;
    scan->capacity = capacity;
  }
  scan->blank[scan->num_blank++] = window;
  return ULY_OK;
}

void uly__scan_free(uly__scan *scan) {
  free(scan->blank);
  *scan = (uly__scan){.largest = -1};
}

static int64_t count_ends(const int32_t *tokens, int64_t count, int64_t end) {
  int64_t num = 0;
  for (int64_t i = 0; i < count; i++) num += tokens[i] == end;
  return num;
}

static int64_t find_largest(const int32_t *tokens, int64_t count) {
  int32_t largest = -1;
  for (int64_t i = 0; i < count; i++) largest = tokens[i] > largest ? tokens[i] : largest;
  return largest;
}

/* Takes the tokens of a piece, window by window. */
static uly_status take_piece(progress *p, const int32_t *tokens, int64_t count) {
  int64_t window = p->request->window;
  for (int64_t i = 0; i < count;) {
    int64_t part = count - i, left = window > 0 ? window - p->at % window : part;
    if (part > left) part = left;
    int64_t num_ends = count_ends(tokens + i, part, p->request->end);
    p->scan->num_ends += num_ends;
    p->num_ends_in_here += num_ends;
    p->at += part;
    i += part;
    if (window == 0 || p->at % window != 0) continue;
    int64_t index = p->at / window - 1;
    if (p->num_ends_in_here == window && index < p->request->num_windows)
      ULY_TRY(uly__scan_add_blank(p->scan, index));
    p->num_ends_in_here = 0;
  }
  return ULY_OK;
}

uly_status uly__scan_tokens(const uly__tokens *tokens, int64_t begin, int64_t count,
                            const uly__scan_request *request, uly__scan *scan) {
  progress p = {.request = request, .scan = scan, .at = begin};
  int32_t *piece = malloc(PIECE * sizeof *piece);
  if (!piece) ULY_FAIL(ULY_ERR_MEMORY, "no memory to look at the tokens");
  uly_status status = ULY_OK;
  for (int64_t at = 0; at < count && status == ULY_OK; at += PIECE) {
    int64_t part = count - at < PIECE ? count - at : PIECE;
    status = uly__tokens_read(tokens, begin + at, part, request->vocab, piece);
    if (status != ULY_OK) break;
    int64_t largest = find_largest(piece, part);
    if (largest > scan->largest) scan->largest = largest;
    status = take_piece(&p, piece, part);
  }
  free(piece);
  return status;
}

/* Returns how many blank windows come before the window that comes after `before` others. Of blank
 * window k, blank[k] - k windows that are not blank come before it. */
static int64_t count_before(const uly__scan *scan, int64_t before) {
  int64_t low = 0, high = scan->num_blank;
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if (scan->blank[middle] - middle <= before)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

int64_t uly__scan_find(const uly__scan *scan, int64_t before) {
  return before + count_before(scan, before);
}

bool uly__scan_is_blank(const uly__scan *scan, int64_t window) {
  int64_t low = 0, high = scan->num_blank;
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if (scan->blank[middle] < window)
      low = middle + 1;
    else
      high = middle;
  }
  return low < scan->num_blank && scan->blank[low] == window;
}
