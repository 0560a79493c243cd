/* "did you mean ...?": the word of a list that is nearest to one that was mistyped. */
#ifndef ULYSSES_CLI_SUGGEST_H
#define ULYSSES_CLI_SUGGEST_H

enum { SUGGEST_WORD = 64 };

typedef struct suggestion {
  const char *typed;
  int distance; /* of the nearest word so far */
  char word[SUGGEST_WORD];
  char phrase[SUGGEST_WORD + 32];
} suggestion;

/* Begins a search. typed may be NULL, and is borrowed. */
suggestion suggest(const char *typed);

/* Offers a word: the nearest is kept, and the first of those that are equally near. */
void suggest_offer(suggestion *s, const char *word);

/* Returns the end of a message: "; did you mean WORD?", or nothing if no word was near. */
const char *suggest_phrase(suggestion *s);

#endif
