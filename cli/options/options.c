/* The values of options: defaults, strict parsing, printing. */
#include "options/options.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/try.h"
#include "options/options_table.h"

static void *slot_of(options *o, option_id id) {
  return (char *)o + option_place_of(id, o->command)->offset;
}

static bool is_stored(const options *o, option_id id) {
  return option_place_of(id, o->command)->member != NULL;
}

/* Returns the number of bytes of a text before the part that is stored: the slot points behind its
 * prefix. */
static size_t prefix_length(option_id id) {
  const char *prefix = option_table[id].prefix;
  return prefix ? strlen(prefix) : 0;
}

static void free_text(options *o, option_id id) {
  const char **slot = slot_of(o, id);
  if (*slot) free((char *)(uintptr_t)*slot - prefix_length(id));
  *slot = NULL;
}

/* Stores a value that is allowed; a text is copied. */
static uly_status store(options *o, option_id id, uly_setting_value value) {
  size_t size = option_place_of(id, o->command)->size;
  if (option_table[id].kind == KIND_TEXT) {
    char *copy = value.text ? strdup(value.text) : NULL;
    if (value.text && !copy)
      return uly_fail(ULY_ERR_MEMORY, "no memory for the value of an option");
    free_text(o, id);
    if (copy) *(const char **)slot_of(o, id) = copy + prefix_length(id);
  } else if (size == sizeof(bool)) {
    *(bool *)slot_of(o, id) = value.integer != 0;
  } else if (size == sizeof(int)) {
    *(int *)slot_of(o, id) = (int)value.integer;
  } else {
    memcpy(slot_of(o, id), &value, sizeof value);
  }
  return ULY_OK;
}

uly_status options_init(options *o, command cmd) {
  memset(o, 0, options_size(cmd));
  o->command = cmd;
  options_set_rest(o);
  /* The library's texts are constants; from here on all texts are allocated. */
  for (option_id id = 0; id < num_options; id++)
    if (is_stored(o, id) && option_table[id].kind == KIND_TEXT)
      *(const char **)slot_of(o, id) = NULL;
  for (option_id id = 0; id < num_options; id++)
    if (is_stored(o, id)) TRY(store(o, id, option_table[id].rules.initial));
  return ULY_OK;
}

void options_free(options *o) {
  if (!o->command) return; /* it was never initialised */
  for (option_id id = 0; id < num_options; id++)
    if (is_stored(o, id) && option_table[id].kind == KIND_TEXT) free_text(o, id);
  free((void *)o->args);
  o->args = NULL;
  o->num_args = 0;
}

/* ------------------------------------------------------------------------- reading */

/* A unit that may follow a number. */
typedef struct unit {
  const char *suffix;
  uint64_t factor;
} unit;

enum { KIB = 1 << 10, MIB = 1 << 20, GIB = 1 << 30, KB = 1000, MB = 1000 * KB, GB = 1000 * MB };
static const unit units_of_integers[] = {{"", 1},    {"k", KIB}, {"K", KIB},
                                         {"m", MIB}, {"M", MIB}, {NULL, 0}};
/* In ascending order. */
static const unit units_of_bytes[] = {{"", 1},      {"KB", KB}, {"KiB", KIB}, {"MB", MB},
                                      {"MiB", MIB}, {"GB", GB}, {"GiB", GIB}, {NULL, 0}};

/* Parses digits and perhaps a unit. strtoull alone accepts blanks and signs. */
static bool parse_integer(const char *text, const unit *units, uint64_t *out) {
  if (*text < '0' || *text > '9') return false;
  char *end;
  errno = 0;
  uint64_t number = strtoull(text, &end, 10);
  if (errno) return false;
  while (units->suffix && strcmp(units->suffix, end) != 0) units++;
  return units->suffix && !__builtin_mul_overflow(number, units->factor, out);
}

/* Parses a decimal number. strtod alone accepts blanks, hexadecimal, infinities and NaN. */
static bool parse_real(const char *text, double *out) {
  if (!*text || text[strspn(text, "0123456789+-.eE")]) return false;
  char *end;
  errno = 0;
  *out = strtod(text, &end);
  return !errno && *end == '\0';
}

static bool parse_choice(const char *text, const char *const *words, uint64_t *out) {
  for (*out = 0; words[*out]; ++*out)
    if (strcmp(words[*out], text) == 0) return true;
  return false;
}

/* Returns whether the text is not empty, also after the prefix. */
static bool is_text_allowed(option_id id, const char *text) {
  size_t length = prefix_length(id);
  return (length == 0 || strncmp(text, option_table[id].prefix, length) == 0) && text[length];
}

static bool parse(option_id id, const char *text, uly_setting_value *out) {
  const uly_setting *rules = &option_table[id].rules;
  option_kind kind = option_table[id].kind;
  switch (kind) {
    case KIND_TEXT: out->text = text; return is_text_allowed(id, text);
    case KIND_INTEGER:
    case KIND_BYTES:
      out->integer = UINT64_MAX;
      if (rules->unset && strcmp(text, rules->unset) == 0) return true;
      return parse_integer(text, kind == KIND_BYTES ? units_of_bytes : units_of_integers,
                           &out->integer) &&
             out->integer >= rules->min.integer && out->integer <= rules->max.integer;
    case KIND_REAL:
      return parse_real(text, &out->real) && out->real >= rules->min.real &&
             out->real <= rules->max.real && !(rules->excludes_max && out->real == rules->max.real);
    case KIND_CHOICE: return parse_choice(text, rules->words, &out->integer);
    case KIND_BOOLEAN:
      out->integer = !text || strcmp(text, "true") == 0;
      return out->integer || strcmp(text, "false") == 0;
    case KIND_SWITCH: out->integer = 1; return !text;
  }
  return false;
}

/* Returns whether a text is UTF-8, as YAML, the format of configurations, is. */
static bool is_utf8(const char *text) {
  json_t *json = json_string(text);
  json_decref(json);
  return json != NULL;
}

static uly_status check_text(option_id id, const char *label, const char *value) {
  uint64_t most = option_table[id].rules.max.integer;
  if (strlen(value) > most)
    return uly_fail(ULY_ERR_CONFIG, "%s '%.100s...' has %zu bytes, but at most %llu are allowed",
                    label, value, strlen(value), (unsigned long long)most);
  if (id < num_run_options && !is_utf8(value))
    return uly_fail(ULY_ERR_CONFIG,
                    "%s '%.200s' is not UTF-8, as all of a run's configuration must be: use "
                    "another name, or a symbolic link with such a name",
                    label, value);
  return ULY_OK;
}

static uly_status fail_value(option_id id, const char *label, const char *value) {
  char allowed[OPTION_BUFFER];
  suggestion meant = suggest(value);
  if (option_table[id].kind == KIND_CHOICE)
    for (const char *const *word = option_table[id].rules.words; *word; word++)
      suggest_offer(&meant, *word);
  return uly_fail(ULY_ERR_CONFIG, "%s '%.200s': expected %s%s", label, value,
                  option_allowed(id, allowed), suggest_phrase(&meant));
}

uly_status options_set(options *o, option_id id, const char *label, const char *value) {
  uly_setting_value parsed;
  if (!parse(id, value, &parsed)) return fail_value(id, label, value);
  if (option_table[id].kind == KIND_TEXT) TRY(check_text(id, label, value));
  return is_stored(o, id) ? store(o, id, parsed) : ULY_OK;
}

/* ------------------------------------------------------------------------- printing */

/* Prints bytes with the largest unit that divides them. */
static void print_bytes(uint64_t bytes, char buffer[OPTION_BUFFER]) {
  const unit *best = units_of_bytes;
  for (const unit *at = best; bytes > 0 && at->suffix; at++)
    if (bytes % at->factor == 0) best = at;
  snprintf(buffer, OPTION_BUFFER, "%llu%s", (unsigned long long)(bytes / best->factor),
           best->suffix);
}

/* Prints the fewest digits that read back as the same number: 17 always do. */
static void print_real(double real, char buffer[OPTION_BUFFER]) {
  for (int digits = 1; digits <= 17; digits++) {
    snprintf(buffer, OPTION_BUFFER, "%.*g", digits, real);
    if (strtod(buffer, NULL) == real) break;
  }
}

static const char *print_value(option_id id, uly_setting_value value, char buffer[OPTION_BUFFER]) {
  const uly_setting *rules = &option_table[id].rules;
  switch (option_table[id].kind) {
    case KIND_TEXT: return value.text ? value.text - prefix_length(id) : NULL;
    case KIND_CHOICE: return rules->words[value.integer];
    case KIND_BOOLEAN:
    case KIND_SWITCH: return value.integer ? "true" : "false";
    case KIND_INTEGER:
      if (rules->unset && value.integer == UINT64_MAX) return rules->unset;
      snprintf(buffer, OPTION_BUFFER, "%llu", (unsigned long long)value.integer);
      break;
    case KIND_BYTES: print_bytes(value.integer, buffer); break;
    case KIND_REAL: print_real(value.real, buffer); break;
  }
  return buffer;
}

const char *options_get(const options *o, option_id id, char buffer[OPTION_BUFFER]) {
  if (!is_stored(o, id)) return NULL;
  return print_value(id, option_load(option_place_of(id, o->command), o), buffer);
}

const char *option_default(option_id id, char buffer[OPTION_BUFFER]) {
  return print_value(id, option_table[id].rules.initial, buffer);
}

/* ------------------------------------------------------------------------- what goes together */

/* Returns whether the value is anything other than 0, no text, or the first word. */
static bool is_on(const options *o, option_id id) {
  uly_setting_value value = option_load(option_place_of(id, o->command), o);
  if (option_table[id].kind == KIND_TEXT) return value.text != NULL;
  return option_table[id].kind == KIND_REAL ? value.real != 0 : value.integer != 0;
}

/* Refuses the option, or takes its default, if what it needs is not on. */
static uly_status check_need(options *o, option_id id) {
  option_id needed = option_table[id].needs;
  if (needed < 0 || !(option_table[id].commands & option_table[needed].commands & o->command))
    return ULY_OK;
  if (is_on(o, needed)) return ULY_OK;
  bool is_overruled = o->given[needed] > o->given[id] || o->given[needed] == GIVEN_IN_LIST;
  if (!o->given[id] || is_overruled) return store(o, id, option_table[id].rules.initial);
  char flag[OPTION_BUFFER], other[OPTION_BUFFER], value[OPTION_BUFFER];
  return uly_fail(ULY_ERR_CONFIG, "%s %.200s needs %s, without which it has no effect",
                  option_flag(id, flag), options_get(o, id, value), option_flag(needed, other));
}

uly_status options_check_needs(options *o) {
  for (option_id id = 0; id < num_options; id++) TRY(check_need(o, id));
  return ULY_OK;
}

/* Writes all options that the command knows, and `more`, or returns NULL if there is no memory. The
 * list holds what a configuration file and --set have set, so these two may themselves differ. */
static char *list_values(const options *o, const char *more, size_t *length) {
  char *text = NULL, buffer[OPTION_BUFFER];
  FILE *stream = open_memstream(&text, length);
  if (!stream) return NULL;
  for (option_id id = 0; id < num_options; id++) {
    if (!(option_table[id].commands & o->command)) continue;
    if (id == option_named("config") || id == option_named("set")) continue;
    const char *value = options_get(o, id, buffer);
    fprintf(stream, "%s: %s\n", option_table[id].key, value ? value : "");
  }
  fputs(more, stream);
  if (fclose(stream) == 0) return text;
  free(text);
  return NULL;
}

uly_status options_compare_text(uly_mesh *world, char *text, size_t length, const char *what) {
  uly_status status = ULY_OK;
  if (!text) status = uly_fail(ULY_ERR_MEMORY, "no memory to compare the options of all ranks");
  status = uly_mesh_agree(world, status);
  if (status == ULY_OK) status = uly_mesh_same(world, text, length, what);
  free(text);
  return status;
}

uly_status options_compare(const options *o, uly_mesh *world, const char *more) {
  size_t length = 0;
  char *text = list_values(o, more, &length);
  return options_compare_text(world, text, length, "configuration");
}
