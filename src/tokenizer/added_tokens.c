/* See added_tokens.h. */
#include "tokenizer/added_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "tokenizer/character_classes.h"

/* Returns where the number of the child for a byte is kept: the child's, or the place for it. */
static int32_t *find_child(uly__added *a, int32_t node, unsigned char byte) {
  int32_t *at = node < 0 ? &a->first[byte] : &a->nodes[node].child;
  while (*at >= 0 && a->nodes[*at].byte != byte) at = &a->nodes[*at].sibling;
  return at;
}

static uly_status grow_nodes(uly__added *a) {
  if (a->num_nodes < a->capacity) return ULY_OK;
  int32_t capacity = 2 * a->capacity + 256;
  void *grown = realloc(a->nodes, (size_t)capacity * sizeof *a->nodes);
  if (!grown) ULY_FAIL(ULY_ERR_MEMORY, "no memory for added tokens");
  if (a->capacity == 0) memset(a->first, -1, sizeof a->first);
  a->nodes = grown;
  a->capacity = capacity;
  return ULY_OK;
}

/* Walks to the node of a name, and makes those that are missing. */
static uly_status make_node(uly__added *a, const unsigned char *name, int64_t n, int32_t *node) {
  *node = -1;
  for (int64_t i = 0; i < n; i++) {
    ULY_TRY(grow_nodes(a));
    int32_t *child = find_child(a, *node, name[i]);
    if (*child < 0) {
      int32_t made = a->num_nodes++;
      *child = made;
      a->nodes[made].child = a->nodes[made].sibling = a->nodes[made].token = -1;
      a->nodes[made].byte = name[i];
      *node = made;
    } else {
      *node = *child;
    }
  }
  return ULY_OK;
}

uly_status uly__added_add(uly__added *a, const void *name, int64_t n,
                          const uly__added_token *token) {
  int32_t node;
  if (n > ULY__LONGEST_ADDED)
    ULY_FAIL(ULY_ERR_DATA, "an added token has %lld bytes, but at most %d are supported",
             (long long)n, ULY__LONGEST_ADDED);
  ULY_TRY(make_node(a, name, n, &node));
  if (a->num_tokens == a->tokens_capacity) {
    int capacity = 2 * a->tokens_capacity + 16;
    void *grown = realloc(a->tokens, (size_t)capacity * sizeof *a->tokens);
    if (!grown) ULY_FAIL(ULY_ERR_MEMORY, "no memory for added tokens");
    a->tokens = grown;
    a->tokens_capacity = capacity;
  }
  a->nodes[node].token = a->num_tokens;
  a->tokens[a->num_tokens++] = *token;
  if (n > a->longest) a->longest = n;
  a->has_conditions |= token->single_word || token->lstrip || token->rstrip;
  return ULY_OK;
}

void uly__added_free(uly__added *a) {
  free(a->tokens);
  free(a->nodes);
  *a = (uly__added){0};
}

/* Returns the longest name that begins at `at`, and where it ends; NULL if none does. */
static const uly__added_token *match_at(const uly__added *a, const unsigned char *text, int64_t n,
                                        int64_t at, int64_t *end) {
  int32_t node = a->first[text[at]], token = -1;
  while (node >= 0) {
    at++;
    if (a->nodes[node].token >= 0) {
      token = a->nodes[node].token;
      *end = at;
    }
    if (at == n) break;
    node = a->nodes[node].child;
    while (node >= 0 && a->nodes[node].byte != text[at]) node = a->nodes[node].sibling;
  }
  return token >= 0 ? &a->tokens[token] : NULL;
}

/* ----------------------------------------------------------------------- conditions */

static uint32_t character_before(const unsigned char *text, int64_t at, int64_t *begin) {
  uint32_t c;
  do at--;
  while ((text[at] & 0xc0) == 0x80);
  (void)uly__utf8_decode(text + at, &c);
  *begin = at;
  return c;
}

static bool is_space(uint32_t c) {
  const uly__class_table *classes = uly__class_table_get();
  return classes && uly__class_of(classes, c) & ULY__SPACE;
}

static bool is_single(const unsigned char *text, int64_t n, int64_t begin, int64_t end) {
  int64_t unused;
  uint32_t c;
  if (begin > 0 && uly__is_word_character(character_before(text, begin, &unused))) return false;
  if (end == n) return true;
  (void)uly__utf8_decode(text + end, &c);
  return !uly__is_word_character(c);
}

/* Widens a match by the white space that its token takes; not before `from`, where the last match
 * ended. */
static void widen(const unsigned char *text, int64_t n, int64_t from, uly__added_match *m) {
  int64_t before;
  uint32_t c;
  while (m->token->lstrip && m->begin > from && is_space(character_before(text, m->begin, &before)))
    m->begin = before;
  for (int length; m->token->rstrip && m->end < n; m->end += length) {
    length = uly__utf8_decode(text + m->end, &c);
    if (!is_space(c)) break;
  }
}

/* Finds the next match that meets the conditions of its token. A name that does not meet them hides
 * others within it. */
void uly__added_find(const uly__added *a, const unsigned char *text, int64_t n, int64_t from,
                     bool wants_special, uly__added_match *m) {
  m->token = NULL;
  if (a->num_tokens == 0) return;
  for (int64_t at = from, end = 0; at < n;) {
    if (a->first[text[at]] < 0 || !(m->token = match_at(a, text, n, at, &end))) {
      at++;
      continue;
    }
    bool counts = (wants_special || !m->token->special) &&
                  (!m->token->single_word || is_single(text, n, at, end));
    m->begin = at;
    m->end = at = end;
    if (counts) break;
    m->token = NULL;
  }
  if (m->token) widen(text, n, from, m);
}

bool uly__added_touches(const uly__added *a, const unsigned char *text, int64_t n, int64_t at) {
  if (a->num_tokens == 0) return false;
  int64_t from = at > a->longest ? at - a->longest : 0, end = 0;
  for (int64_t i = from; i <= at && i < n; i++)
    if (a->first[text[i]] >= 0 && match_at(a, text, n, i, &end) && end >= at) return true;
  return false;
}
