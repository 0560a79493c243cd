/* The golden files of tokenizers, for their tests. */
#ifndef ULY_TOKENIZER_TESTING_H
#define ULY_TOKENIZER_TESTING_H

#include <jansson.h>

#include "testing.h"

/* Returns data/tokenizers/cases.json, which the caller frees. */
static inline json_t *tokenizer_cases(void) {
  char path[4096];
  snprintf(path, sizeof path, "%s/tokenizers/cases.json", getenv("ULY_TEST_DATA"));
  json_t *root = json_load_file(path, JSON_ALLOW_NUL, NULL);
  assert_non_null(root);
  return root;
}

/* Opens the tokenizer of a case. */
static inline uly_tokenizer *open_case(const json_t *one) {
  char path[4096];
  const char *names[8];
  const json_t *list = json_object_get(one, "names");
  uly_tokenizer_config config = {.size = sizeof config};
  uly_tokenizer *tokenizer;
  assert_non_null(one);
  snprintf(path, sizeof path, "%s/tokenizers/%s", getenv("ULY_TEST_DATA"),
           json_string_value(json_object_get(one, "file")));
  config.pattern = json_string_value(json_object_get(one, "pattern"));
  config.special_tokens = names;
  config.num_special_tokens = (int)json_array_size(list);
  for (int i = 0; i < config.num_special_tokens; i++)
    names[i] = json_string_value(json_array_get(list, (size_t)i));
  assert_ok(uly_tokenizer_open(path, &config, &tokenizer));
  return tokenizer;
}

#endif
