/* A look at all tokens of a part of a stream, as fast as the disk gives them: what a run must know
 * before it begins, so that nothing surfaces in its middle. */
#ifndef ULY_TOKEN_SCAN_H
#define ULY_TOKEN_SCAN_H

#include <stdbool.h>

#include "data/token_file.h"

/* What is looked for. */
typedef struct uly__scan_request {
  int64_t vocab;       /* every token is below it */
  int64_t end;         /* the token that ends documents; -1: none does */
  int64_t window;      /* tokens of a window; 0: there are none to look for */
  int64_t num_windows; /* later ones are not looked for */
} uly__scan_request;

/* What was found. Begin with {.largest = -1}. */
typedef struct uly__scan {
  int64_t largest;  /* token; -1: there was none */
  int64_t num_ends; /* tokens that end documents */
  /* Windows of which every token ends a document: none of them has a label. Ascending; of the whole
   * stream. */
  int64_t num_blank, capacity;
  int64_t *blank; /* [num_blank], on the heap */
} uly__scan;

/* Adds what is in tokens [begin, begin + count) to what was found; begin is that of a window.
 * ULY_ERR_DATA names the first token that is not below the vocabulary. */
uly_status uly__scan_tokens(const uly__tokens *tokens, int64_t begin, int64_t count,
                            const uly__scan_request *request, uly__scan *scan);
/* Adds a window. */
uly_status uly__scan_add_blank(uly__scan *scan, int64_t window);
void uly__scan_free(uly__scan *scan);

/* Whether a window is blank. */
bool uly__scan_is_blank(const uly__scan *scan, int64_t window);
/* Returns the window that comes after `before` others which are not blank. */
int64_t uly__scan_find(const uly__scan *scan, int64_t before);

/* --- A file that remembers scans (scan_memory.c). One that is missing, damaged, or of other data
 * holds nothing. */

/* What a scan of a whole stream depends on, but for the vocabulary: largest tells whether that
 * holds the tokens. */
typedef struct uly__scan_key {
  uint64_t hash; /* uly__tokens_hash */
  int64_t end, window;
} uly__scan_key;

/* Whether the file knows the scan; *scan is empty before. */
bool uly__scan_recall(const char *path, const uly__scan_key *key, uly__scan *scan);
/* Writes the scans to the file, in the place of what it held. */
uly_status uly__scan_remember(const char *path, const uly__scan_key *keys,
                              const uly__scan *const *scans, int num);

#endif
