/* The normalizer and the pre-tokenizer of a tokenizer.json. */
#include <string.h>

#include "base/printable.h"
#include "tokenizer/tokenizer_json.h"

/* Copies bytes, with a 0 after them. */
static uly_status keep(const char *text, int64_t n, char **out) {
  *out = malloc((size_t)n + 1);
  if (!*out) ULY_FAIL(ULY_ERR_MEMORY, "no memory for a tokenizer");
  memcpy(*out, text, (size_t)n);
  (*out)[n] = '\0';
  return ULY_OK;
}

/* ---------------------------------------------------------------------- normalizers */

static uly_status read_prepend(const json_t *json, uly__change *change) {
  const char *text;
  change->kind = ULY__CHANGE_PREPEND;
  ULY_TRY(uly__json_text(json, "prepend", &text, &change->num_with));
  return keep(text, change->num_with, &change->with);
}

static uly_status read_replace(const json_t *json, uly__change *change) {
  const char *what, *with;
  bool is_regex;
  change->kind = ULY__CHANGE_REPLACE;
  ULY_TRY(uly__json_pattern(json, &what, &change->num_what, &is_regex));
  ULY_TRY(uly__json_text(json, "content", &with, &change->num_with));
  ULY_TRY(keep(what, change->num_what, &change->what));
  ULY_TRY(keep(with, change->num_with, &change->with));
  return is_regex ? uly__pattern_compile(what, ULY__ONIGURUMA, &change->pattern) : ULY_OK;
}

static uly_status read_strip(const json_t *json, uly__change *change) {
  change->kind = ULY__CHANGE_STRIP;
  ULY_TRY(uly__json_flag(json, "strip_left", true, &change->left));
  return uly__json_flag(json, "strip_right", true, &change->right);
}

static uly_status read_change(const json_t *json, uly__change *change) {
  static const char *const forms[] = {
      [ULY__NFC] = "NFC", [ULY__NFD] = "NFD", [ULY__NFKC] = "NFKC", [ULY__NFKD] = "NFKD"};
  const char *type;
  ULY_TRY(uly__json_text(json, "type", &type, NULL));
  change->kind = ULY__CHANGE_FORM;
  for (int form = ULY__NFC; form <= ULY__NFKD; form++) {
    change->form = (uly__form)form;
    if (strcmp(type, forms[form]) == 0) return ULY_OK;
  }
  change->kind = ULY__CHANGE_LOWERCASE;
  if (strcmp(type, "Lowercase") == 0) return ULY_OK;
  change->kind = ULY__CHANGE_STRIP_ACCENTS;
  if (strcmp(type, "StripAccents") == 0) return ULY_OK;
  if (strcmp(type, "Prepend") == 0) return read_prepend(json, change);
  if (strcmp(type, "Replace") == 0) return read_replace(json, change);
  if (strcmp(type, "Strip") == 0) return read_strip(json, change);
  ULY_FAIL(ULY_ERR_DATA,
           "the normalizer %s is not supported: NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, "
           "Prepend, Replace, Strip and a Sequence of these are",
           uly__make_printable(type).text);
}

static uly_status read_changes(json_t *list, uly__normalizer *out) {
  for (size_t i = 0; i < json_array_size(list); i++) {
    if (out->num_changes == ULY__MOST_CHANGES)
      ULY_FAIL(ULY_ERR_DATA, "there are more than %d normalizers", ULY__MOST_CHANGES);
    ULY_TRY(read_change(json_array_get(list, i), &out->changes[out->num_changes++]));
  }
  return ULY_OK;
}

uly_status uly__read_normalizer(json_t *json, uly__normalizer *out) {
  json_t *list;
  ULY_TRY(uly__json_list(json, "normalizers", &list));
  uly_status status = read_changes(list, out);
  json_decref(list);
  return status;
}

/* -------------------------------------------------------------------- pre-tokenizers */

static uly_status add_step(uly__pre_tokenizer *out, uly__step_kind kind, uly__step **step) {
  if (out->num_steps == ULY__MOST_STEPS)
    ULY_FAIL(ULY_ERR_DATA, "there are more than %d pre-tokenizers", ULY__MOST_STEPS);
  *step = &out->steps[out->num_steps++];
  (*step)->kind = kind;
  return ULY_OK;
}

static uly_status read_behavior(const json_t *json, uly__behavior *behavior) {
  static const char *const names[] = {[ULY__ISOLATED] = "Isolated",
                                      [ULY__REMOVED] = "Removed",
                                      [ULY__MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
                                      [ULY__MERGED_WITH_NEXT] = "MergedWithNext",
                                      [ULY__CONTIGUOUS] = "Contiguous"};
  const char *name = names[0];
  if (json_object_get(json, "behavior")) ULY_TRY(uly__json_text(json, "behavior", &name, NULL));
  for (int i = ULY__ISOLATED; i <= ULY__CONTIGUOUS; i++) {
    *behavior = (uly__behavior)i;
    if (strcmp(name, names[i]) == 0) return ULY_OK;
  }
  ULY_FAIL(ULY_ERR_DATA, "the behavior %s of a pre-tokenizer is not known",
           uly__make_printable(name).text);
}

/* Adds a step that divides at matches of a regular expression: by its scanner, if it has one. */
static uly_status add_pattern(uly__pre_tokenizer *out, const char *pattern, uly__step **step) {
  const uly__known_pattern *known = uly__known_pattern_find(pattern, ULY__ONIGURUMA);
  ULY_TRY(add_step(out, known ? ULY__STEP_SCANNER : ULY__STEP_PATTERN, step));
  (*step)->known = known;
  if (known) (*step)->scan = known->scan;
  ULY_TRY(keep(pattern, (int64_t)strlen(pattern), &(*step)->string));
  (*step)->num_string = (int64_t)strlen(pattern);
  return known ? ULY_OK : uly__pattern_compile(pattern, ULY__ONIGURUMA, &(*step)->pattern);
}

static uly_status read_split(const json_t *json, uly__pre_tokenizer *out) {
  const char *text;
  int64_t n;
  bool is_regex;
  uly__step *step;
  ULY_TRY(uly__json_pattern(json, &text, &n, &is_regex));
  if (is_regex) {
    ULY_TRY(add_pattern(out, text, &step));
  } else {
    ULY_TRY(add_step(out, ULY__STEP_STRING, &step));
    ULY_TRY(keep(text, step->num_string = n, &step->string));
  }
  ULY_TRY(uly__json_flag(json, "invert", false, &step->is_inverted));
  return read_behavior(json, &step->behavior);
}

static uly_status read_byte_level(const json_t *json, uly__pre_tokenizer *out) {
  bool has_prefix, uses_regex;
  uly__step *step;
  ULY_TRY(uly__json_flag(json, "add_prefix_space", true, &has_prefix));
  ULY_TRY(uly__json_flag(json, "use_regex", true, &uses_regex));
  if (out->is_byte_level) ULY_FAIL(ULY_ERR_DATA, "two pre-tokenizers are ByteLevel");
  if (has_prefix) ULY_TRY(add_step(out, ULY__STEP_PREFIX, &step));
  if (uses_regex) ULY_TRY(add_pattern(out, uly__gpt2_pattern, &step));
  out->is_byte_level = out->has_bytes_step = true;
  return add_step(out, ULY__STEP_BYTES, &step);
}

static uly_status read_digits(const json_t *json, uly__pre_tokenizer *out) {
  bool is_individual;
  uly__step *step;
  ULY_TRY(uly__json_flag(json, "individual_digits", false, &is_individual));
  ULY_TRY(add_step(out, ULY__STEP_CLASSES, &step));
  step->classes = ULY__NUMBER;
  step->most = is_individual;
  return ULY_OK;
}

/* Since 2023, prepend_scheme says what add_prefix_space said before. */
static uly_status read_prepend_scheme(const json_t *json, uly__prepend *prepend) {
  bool adds;
  const char *scheme = NULL;
  ULY_TRY(uly__json_flag(json, "add_prefix_space", true, &adds));
  *prepend = adds ? ULY__PREPEND_ALWAYS : ULY__PREPEND_NEVER;
  if (!json_object_get(json, "prepend_scheme")) return ULY_OK;
  ULY_TRY(uly__json_text(json, "prepend_scheme", &scheme, NULL));
  if (strcmp(scheme, "always") == 0)
    *prepend = ULY__PREPEND_ALWAYS;
  else if (strcmp(scheme, "first") == 0)
    *prepend = ULY__PREPEND_FIRST;
  else if (strcmp(scheme, "never") == 0)
    *prepend = ULY__PREPEND_NEVER;
  else
    ULY_FAIL(ULY_ERR_DATA, "the prepend_scheme '%s' is not known",
             uly__make_printable(scheme).text);
  return ULY_OK;
}

static uly_status read_metaspace(const json_t *json, uly__pre_tokenizer *out) {
  const char *text;
  bool splits;
  uly__step *step;
  if (out->is_byte_level) ULY_FAIL(ULY_ERR_DATA, "Metaspace after ByteLevel is not supported");
  ULY_TRY(add_step(out, ULY__STEP_METASPACE, &step));
  ULY_TRY(uly__json_text(json, "replacement", &text, &step->num_string));
  ULY_TRY(keep(text, step->num_string, &step->string));
  if (step->num_string == 0 || uly__utf8_length((unsigned char)text[0]) != step->num_string)
    ULY_FAIL(ULY_ERR_DATA, "the replacement of Metaspace is not one character");
  ULY_TRY(read_prepend_scheme(json, &step->prepend));
  ULY_TRY(uly__json_flag(json, "split", true, &splits));
  if (!splits) return ULY_OK;
  uly__step *split;
  ULY_TRY(add_step(out, ULY__STEP_STRING, &split));
  split->behavior = ULY__MERGED_WITH_NEXT;
  split->num_string = step->num_string;
  return keep(text, step->num_string, &split->string);
}

static uly_status read_step(const json_t *json, uly__pre_tokenizer *out) {
  const char *type;
  uly__step *step;
  ULY_TRY(uly__json_text(json, "type", &type, NULL));
  if (strcmp(type, "ByteLevel") == 0) return read_byte_level(json, out);
  if (strcmp(type, "Split") == 0) return read_split(json, out);
  if (strcmp(type, "Digits") == 0) return read_digits(json, out);
  if (strcmp(type, "Metaspace") == 0) return read_metaspace(json, out);
  if (strcmp(type, "Punctuation") == 0) {
    ULY_TRY(add_step(out, ULY__STEP_PUNCTUATION, &step));
    return read_behavior(json, &step->behavior);
  }
  if (strcmp(type, "WhitespaceSplit") == 0) {
    ULY_TRY(add_step(out, ULY__STEP_CLASSES, &step));
    step->classes = ULY__SPACE;
    step->behavior = ULY__REMOVED;
    return ULY_OK;
  }
  if (strcmp(type, "Whitespace") == 0) {
    ULY_TRY(add_pattern(out, "\\w+|[^\\w\\s]+", &step));
    step->is_inverted = true;
    step->behavior = ULY__REMOVED;
    return ULY_OK;
  }
  ULY_FAIL(ULY_ERR_DATA,
           "the pre-tokenizer %s is not supported: ByteLevel, Split, Digits, Punctuation, "
           "Whitespace, WhitespaceSplit, Metaspace and a Sequence of these are",
           uly__make_printable(type).text);
}

/* Reads the steps. Where nothing follows the change of bytes into characters, it need not be done:
 * the model takes the bytes. */
static uly_status read_steps(json_t *list, uly__pre_tokenizer *out) {
  for (size_t i = 0; i < json_array_size(list); i++)
    ULY_TRY(read_step(json_array_get(list, i), out));
  if (out->num_steps > 0 && out->steps[out->num_steps - 1].kind == ULY__STEP_BYTES) {
    out->num_steps--;
    out->has_bytes_step = false;
  }
  return ULY_OK;
}

uly_status uly__read_pre_tokenizer(json_t *json, uly__pre_tokenizer *out) {
  json_t *list;
  ULY_TRY(uly__json_list(json, "pretokenizers", &list));
  uly_status status = read_steps(list, out);
  json_decref(list);
  return status;
}
