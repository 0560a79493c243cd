/* Regular expressions of tokenizers, matched by PCRE2.
 *
 * Files contain patterns in the syntax of Oniguruma (tokenizer.json) or of Rust (tiktoken). They
 * are translated: what means the same is copied, what means something else in PCRE2 is spelled
 * differently (\s is White_Space, \p{Han} the script, not its extensions; x{1,3}+ repeats x{1,3} in
 * Oniguruma), and what has no translation here is refused by name. */
#ifndef ULY_PATTERN_H
#define ULY_PATTERN_H

#include <stdbool.h>

#include "base/status.h"

typedef enum uly__dialect { ULY__ONIGURUMA, ULY__RUST } uly__dialect;

/* Translates a pattern into PCRE2's syntax, in malloc'ed memory. Returns ULY_ERR_DATA if it uses
 * what has no translation. */
uly_status uly__pattern_translate(const char *pattern, uly__dialect dialect, char **out);

typedef struct uly__pattern uly__pattern;

/* Compiles a pattern. Returns ULY_ERR_DATA if it is not valid, matches an empty text, or uses what
 * has no translation. */
uly_status uly__pattern_compile(const char *text, uly__dialect dialect, uly__pattern **out);
void uly__pattern_free(uly__pattern *pattern);

/* What a thread needs to match any patterns. */
typedef struct uly__matcher uly__matcher;

uly_status uly__matcher_create(uly__matcher **out);
void uly__matcher_free(uly__matcher *matcher);

/* Finds the first match that begins at or after `from` in a text of n bytes of valid UTF-8. *begin
 * is -1 if there is none. Returns ULY_ERR_DATA if the pattern takes more steps or memory than any
 * reasonable pattern would. */
uly_status uly__pattern_find(const uly__pattern *pattern, uly__matcher *matcher,
                             const unsigned char *text, int64_t n, int64_t from, int64_t *begin,
                             int64_t *end);

#endif
