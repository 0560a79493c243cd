/* Finds the nearest word, by the Damerau-Levenshtein distance (optimal string alignment): the
 * number of letters that were left out, added or changed, or swapped with their neighbour. */
#include "common/suggest.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static int fold(char c) { return c == '_' ? '-' : tolower((unsigned char)c); }

static int min(int a, int b) { return a < b ? a : b; }

/* Returns the distance of two words shorter than SUGGEST_WORD; a capital letter, and _ for -, cost
 * nothing. */
static int distance_of(const char *a, const char *b) {
  int length = (int)strlen(b);
  /* The rows of the last two letters of a, and of the current one. */
  int rows[3][SUGGEST_WORD + 1];
  int *before = rows[0], *last = rows[1], *now = rows[2];
  for (int j = 0; j <= length; j++) before[j] = last[j] = j;
  for (int i = 1; a[i - 1]; i++) {
    now[0] = i;
    for (int j = 1; j <= length; j++) {
      int x = fold(a[i - 1]), y = fold(b[j - 1]);
      now[j] = min(last[j - 1] + (x != y), 1 + min(last[j], now[j - 1]));
      if (i > 1 && j > 1 && x == fold(b[j - 2]) && fold(a[i - 2]) == y)
        now[j] = min(now[j], before[j - 2] + 1);
    }
    int *spare = before;
    before = last;
    last = now;
    now = spare;
  }
  return last[length];
}

suggestion suggest(const char *typed) { return (suggestion){.typed = typed}; }

void suggest_offer(suggestion *s, const char *word) {
  if (!s->typed || strlen(s->typed) >= SUGGEST_WORD || strlen(word) >= SUGGEST_WORD) return;
  /* A third of the letters may be wrong, but not all of them, and not more than three. */
  int length = (int)strlen(word), limit = length < 6 ? 1 : min(length / 3, 3);
  int distance = distance_of(s->typed, word);
  if (distance > limit || distance >= length) return;
  if (s->word[0] && s->distance <= distance) return;
  s->distance = distance;
  snprintf(s->word, sizeof s->word, "%s", word);
}

const char *suggest_phrase(suggestion *s) {
  s->phrase[0] = '\0';
  if (s->word[0]) snprintf(s->phrase, sizeof s->phrase, "; did you mean %.63s?", s->word);
  return s->phrase;
}
