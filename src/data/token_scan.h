/* Scans all tokens of a part of a stream, as fast as the disk delivers them, for what a run must
 * know before it begins, so that no error in the data comes up in the middle of it. */
#ifndef ULY_TOKEN_SCAN_H
#define ULY_TOKEN_SCAN_H

#include <stdbool.h>

#include "data/token_file.h"

/* What a scan looks for. */
typedef struct uly__scan_request {
  int64_t vocab;       /* every token must be below it */
  int64_t end;         /* the token that ends documents; -1: none does */
  int64_t window;      /* per window; 0: no windows */
  int64_t num_windows; /* later ones are ignored */
} uly__scan_request;

/* What a scan has found. It begins as {.largest = -1}. */
typedef struct uly__scan {
  int64_t largest;  /* largest token; -1: none */
  int64_t num_ends; /* tokens that end documents */
  /* Windows in which every token ends a document, so that none has a label. In ascending order; of
   * the whole stream. */
  int64_t num_blank, capacity;
  int64_t *blank; /* [num_blank], on the heap */
} uly__scan;

/* Adds what is in tokens [begin, begin + count) to what was found; a window begins at `begin`. The
 * message of ULY_ERR_DATA names the first token that is not below the vocabulary size. */
uly_status uly__scan_tokens(const uly__tokens *tokens, int64_t begin, int64_t count,
                            const uly__scan_request *request, uly__scan *scan);
/* Adds a blank window. */
uly_status uly__scan_add_blank(uly__scan *scan, int64_t window);
void uly__scan_free(uly__scan *scan);

/* Returns whether a window is blank. */
bool uly__scan_is_blank(const uly__scan *scan, int64_t window);
/* Returns the window that comes after `before` others that are not blank. */
int64_t uly__scan_find(const uly__scan *scan, int64_t before);

/* --- A file that remembers scans (scan_memory.c). If it is missing, damaged, or from other data,
 * it counts as empty. */

/* What a scan of a whole stream depends on, except for the vocabulary: `largest` tells whether that
 * includes the tokens. */
typedef struct uly__scan_key {
  uint64_t hash; /* uly__tokens_hash */
  int64_t end, window;
} uly__scan_key;

/* Returns whether the file knows the scan, and reads it into *scan, which is empty before. */
bool uly__scan_recall(const char *path, const uly__scan_key *key, uly__scan *scan);
/* Writes the scans to the file in place of its contents. */
uly_status uly__scan_remember(const char *path, const uly__scan_key *keys,
                              const uly__scan *const *scans, int num);

#endif
