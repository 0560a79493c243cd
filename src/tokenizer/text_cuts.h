/* Cuts a long text into parts that are encoded separately, by several threads or as the text is
 * read, so that their tokens are those of the whole text. */
#ifndef ULY_TEXT_CUTS_H
#define ULY_TEXT_CUTS_H

#include "tokenizer/tokenizer.h"

/* Returns the last place in (0, n) where a text may be cut, whatever comes before and after these n
 * bytes, which need not be all of it: the tokens of what is before the cut, and of what follows it
 * (encoded with ULY__TOKENIZE_CONTINUES), are those of both together. Returns 0 if no such place is
 * known. The text need not be UTF-8; it may be cut where that is not valid, too.
 *
 * A place is safe for these reasons:
 *   - Words. Every known scanner ends a word between a letter and what is neither a letter, a mark
 *     nor an apostrophe, looks no further, and never looks back. Models that do not divide texts
 *     into words, whose spaces become U+2581, are cut before a space: no merge joins another
 *     character to a U+2581 after it, which is checked when the tokenizer is opened.
 *   - Normalization. The character after the cut is one that the form does not change and that
 *     joins nothing before it.
 *   - Added tokens. No name reaches up to the cut from either side, so none straddles it, and
 *     conditions on what is beside a name see the same.
 *   - Prefixes. What is put before a text or a piece is not put before a part that continues. Where
 *     each piece gets a space before it, the part begins with one.
 *   - SentencePiece puts a space before each text, so the space after the cut is left out. A model
 *     that is not BPE has no safe place: the scores of its pieces are summed from the beginning.
 * Other tokenizers (patterns without scanners, normalizers that replace or strip) have none. */
int64_t uly__tokenizer_cut(const uly_tokenizer *tokenizer, const char *text, int64_t n);

/* Determines where texts may be cut with this tokenizer, and stores that in tokenizer->cut.
 * Where spaces are such places, it adds a step that divides a text into words. */
void uly__tokenizer_find_cuts(uly_tokenizer *tokenizer);

#endif
