/* Readers of the parts of a tokenizer.json. All of them return ULY_ERR_DATA for what is not valid
 * or not supported, with a message that names it. */
#ifndef ULY_TOKENIZER_JSON_H
#define ULY_TOKENIZER_JSON_H

#include <jansson.h>

#include "tokenizer/tokenizer.h"

/* Return a member of an object: a string, which is required, and its number of bytes if n is not
 * NULL; a flag, or `otherwise` if it is absent; the list of a "Sequence", or a new list that holds
 * only the object itself. */
uly_status uly__json_text(const json_t *object, const char *key, const char **text, int64_t *n);
uly_status uly__json_flag(const json_t *object, const char *key, bool otherwise, bool *flag);
uly_status uly__json_list(json_t *object, const char *key, json_t **list);

/* Reads {"String": ...} or {"Regex": ...}; *is_regex tells which. */
uly_status uly__json_pattern(const json_t *object, const char **text, int64_t *n, bool *is_regex);

uly_status uly__read_normalizer(json_t *json, uly__normalizer *out);
uly_status uly__read_pre_tokenizer(json_t *json, uly__pre_tokenizer *out);
uly_status uly__read_model(json_t *json, uly__bpe *bpe);
/* Reads the decoder; the name of a token is the one in `changed`, or else in `names`, or else
 * its key in vocab. */
uly_status uly__read_decoder(json_t *json, json_t *vocab, const uly__vocab *names,
                             const uly__vocab *changed, uly__joining *out);
uly_status uly__read_post_processor(json_t *json, uly_tokenizer *tokenizer);

/* Returns what a file of settings beside a tokenizer holds; NULL if it is not there, or not JSON.
 * The caller owns it. */
json_t *uly__tokenizer_load_beside(const char *folder, const char *name);

#endif
