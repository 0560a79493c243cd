/* Normalizers: steps that change a text before it is divided into words. */
#ifndef ULY_NORMALIZER_H
#define ULY_NORMALIZER_H

#include <stdbool.h>

#include "tokenizer/normal_forms.h"
#include "tokenizer/pattern.h"

typedef enum uly__change_kind {
  ULY__CHANGE_FORM,
  ULY__CHANGE_LOWERCASE,
  ULY__CHANGE_STRIP_ACCENTS, /* drops marks */
  ULY__CHANGE_PREPEND,       /* puts `with` before */
  ULY__CHANGE_REPLACE,       /* `what`, or matches of `pattern`, by `with` */
  ULY__CHANGE_STRIP          /* drops white space at the ends */
} uly__change_kind;

typedef struct uly__change {
  uly__change_kind kind;
  uly__form form;
  bool left, right;
  char *what, *with;
  int64_t num_what, num_with;
  uly__pattern *pattern;
} uly__change;

enum { ULY__MOST_CHANGES = 16 };

typedef struct uly__normalizer {
  uly__change changes[ULY__MOST_CHANGES];
  int num_changes;
} uly__normalizer;

void uly__normalizer_free(uly__normalizer *normalizer);

/* Changes a text of valid UTF-8. *out is the text itself if nothing changes it, or else lies in one
 * of the buffers. continues: the text follows another one, so nothing is put before it. */
uly_status uly__normalize(const uly__normalizer *normalizer, uly__matcher *matcher,
                          uly__buffer buffers[2], const unsigned char *text, int64_t n,
                          bool continues, const unsigned char **out, int64_t *num);

#endif
