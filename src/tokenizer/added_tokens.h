/* Added tokens: names that are found in a text before anything else is done with it. */
#ifndef ULY_ADDED_TOKENS_H
#define ULY_ADDED_TOKENS_H

#include <stdbool.h>

#include "base/status.h"

enum { ULY__LONGEST_ADDED = 4096 }; /* bytes of a name */

typedef struct uly__added_token {
  int32_t id;
  /* single_word: matches only where no character of a word is adjacent. lstrip, rstrip: a match
   * includes the white space before or after it. special: is ordinary text unless names of special
   * tokens are wanted. */
  bool single_word, lstrip, rstrip, special;
} uly__added_token;

/* A set of names, as a tree of their bytes. */
typedef struct uly__added {
  uly__added_token *tokens;
  int num_tokens, tokens_capacity;
  struct {
    int32_t child, sibling, token; /* or -1 */
    unsigned char byte;
  } * nodes;
  int32_t num_nodes, capacity;
  int32_t first[256];
  int64_t longest;
  /* Some token has single_word, lstrip or rstrip. */
  bool has_conditions;
} uly__added;

/* A match: `begin` to `end` include the white space that it takes. */
typedef struct uly__added_match {
  int64_t begin, end;
  const uly__added_token *token; /* NULL: none */
} uly__added_match;

/* Adds a name of n bytes, at least 1. If the name exists, its token is replaced. Returns
 * ULY_ERR_DATA if it is too long. */
uly_status uly__added_add(uly__added *added, const void *name, int64_t n,
                          const uly__added_token *token);
void uly__added_free(uly__added *added);

/* Finds the first name at or after `from`, and the longest of those that begin there. */
void uly__added_find(const uly__added *added, const unsigned char *text, int64_t n, int64_t from,
                     bool wants_special, uly__added_match *match);
/* Returns whether a name begins before or at `at` and ends after or at it, whatever its conditions
 * are. */
bool uly__added_touches(const uly__added *added, const unsigned char *text, int64_t n, int64_t at);

#endif
