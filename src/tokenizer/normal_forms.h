/* Unicode's normalization forms (UAX 15). A text is cut at characters that no form changes and that
 * join nothing before them; only what lies between these is normalized. */
#ifndef ULY_NORMAL_FORMS_H
#define ULY_NORMAL_FORMS_H

#include "tokenizer/byte_buffer.h"

typedef enum uly__form { ULY__NFC, ULY__NFD, ULY__NFKC, ULY__NFKD } uly__form;

/* Returns how many bytes of a text of valid UTF-8 come before the first that the form may change:
 * n if it changes nothing. */
int64_t uly__form_unchanged(uly__form form, const unsigned char *text, int64_t n);

/* Appends the text in a form. Takes O(n log n) steps. */
uly_status uly__form_apply(uly__form form, const unsigned char *text, int64_t n, uly__buffer *out);

#endif
