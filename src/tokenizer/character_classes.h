/* Classes of characters, as the patterns of tokenizers distinguish them: Unicode's general
 * categories, in groups. A pattern asks whether a character is in a set of classes.
 *
 * The categories come from utf8proc. What Unicode 15.1 and 16 added is in a table in
 * character_classes.c, since the tokenizers of today know these characters and the libraries of
 * Debian 12 do not. */
#ifndef ULY_CHARACTER_CLASSES_H
#define ULY_CHARACTER_CLASSES_H

#include <stdbool.h>
#include <stdint.h>

#include "tokenizer/utf8_text.h"

/* Each character is in one class. 0 stands for the end of a text, which is in none. */
enum {
  ULY__UPPER = 1 << 0,    /* Lu, Lt */
  ULY__LOWER = 1 << 1,    /* Ll */
  ULY__CASELESS = 1 << 2, /* Lm, Lo */
  ULY__MARK = 1 << 3,     /* M */
  ULY__NUMBER = 1 << 4,   /* N */
  ULY__PUNCT = 1 << 5,    /* P */
  ULY__SYMBOL = 1 << 6,   /* S */
  ULY__BLANK = 1 << 7,    /* White_Space without those below */
  ULY__NEWLINE = 1 << 8,  /* CR, LF */
  ULY__OTHER = 1 << 9,    /* controls, formats, unassigned */
  ULY__LETTER = ULY__UPPER | ULY__LOWER | ULY__CASELESS,
  ULY__SPACE = ULY__BLANK | ULY__NEWLINE,
  ULY__ANY = (1 << 10) - 1
};

/* Characters by their classes: 256 characters a page, and equal pages once. */
typedef struct uly__class_table {
  uint16_t page_of[0x1100];
  uint16_t (*pages)[256];
} uly__class_table;

/* Returns the table, which the first call makes; NULL if there is no memory for it. Several threads
 * may call it at once. */
const uly__class_table *uly__class_table_get(void);

static inline unsigned uly__class_of(const uly__class_table *table, uint32_t character) {
  return table->pages[table->page_of[character >> 8]][character & 0xff];
}

/* Returns whether a character belongs to a word: \w of Unicode (UTS 18, annex C). */
bool uly__is_word_character(uint32_t character);

/* Returns whether the pre-tokenizer Punctuation treats a character as punctuation: by Unicode 8,
 * and with all symbols of ASCII. */
bool uly__is_punctuation(uint32_t character);

#endif
