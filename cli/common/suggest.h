/* Finds the word of a list that is nearest to a mistyped one, for "did you mean ...?". */
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

/* Offers a word. The nearest word is kept, and of several that are equally near, the first. */
void suggest_offer(suggestion *s, const char *word);

/* Returns the end of a message: "; did you mean WORD?", or nothing if no word was near. */
const char *suggest_phrase(suggestion *s);

#endif
