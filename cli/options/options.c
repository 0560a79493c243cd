/* The values of options: defaults, strict parsing, printing. */
#include "options/options.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/say.h"
#include "common/suggest.h"

uly_status options_fail(options *o, uly_status status, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  vsnprintf(o->error, sizeof o->error, fmt, args);
  va_end(args);
  make_printable(o->error);
  return status;
}

static void *slot_of(options *o, option_id id) { return (char *)o + option_table[id].offset; }

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

static uly_status set_text(options *o, option_id id, const char *text) {
  const char **slot = slot_of(o, id);
  char *copy = strdup(text);
  if (!copy) return options_fail(o, ULY_ERR_MEMORY, "no memory for the value of an option");
  free_text(o, id);
  *slot = copy + prefix_length(id);
  return ULY_OK;
}

uly_status options_init(options *o) {
  *o = (options){.mesh = {.size = sizeof o->mesh, .dp = 1},
                 .ranks = 1,
                 .log_every = 1,
                 .nonfinite_limit = 10,
                 .measure_peak = 1,
                 .max_tokens = 256,
                 .desc = {.size = sizeof o->desc, .head_dim = 64},
                 .mask = {.size = sizeof o->mask, .kind = ULY_MASK_CAUSAL},
                 .array_bytes = (int64_t)256 << 20,
                 .repeats = 5};
  uly_train_config_default(&o->config, sizeof o->config);
  uly_prepare_config_default(&o->prepare, sizeof o->prepare);
  uly_sampling_default(&o->sampling, sizeof o->sampling);
  /* The defaults of the library are constants, and none has a prefix; from here on all texts are
   * allocated. */
  const char *defaults[MAX_OPTIONS] = {0};
  for (option_id id = 0; id < num_options; id++) {
    if (option_table[id].kind != KIND_TEXT) continue;
    const char **slot = slot_of(o, id);
    defaults[id] = *slot;
    *slot = NULL;
  }
  for (option_id id = 0; id < num_options; id++) {
    if (!defaults[id]) continue;
    uly_status status = set_text(o, id, defaults[id]);
    if (status != ULY_OK) return status;
  }
  return ULY_OK;
}

void options_free(options *o) {
  for (option_id id = 0; id < num_options; id++) {
    if (option_table[id].kind == KIND_TEXT) free_text(o, id);
  }
  free((void *)o->args);
  o->args = NULL;
  o->num_args = 0;
}

/* A unit that may follow a number. */
typedef struct unit {
  const char *suffix;
  uint64_t factor;
} unit;

enum { KIB = 1 << 10, MIB = 1 << 20, GIB = 1 << 30 };
static const unit units_of_integers[] = {{"", 1},    {"k", KIB}, {"K", KIB},
                                         {"m", MIB}, {"M", MIB}, {NULL, 0}};
/* In ascending order. */
static const unit units_of_bytes[] = {{"", 1}, {"KiB", KIB}, {"MiB", MIB}, {"GiB", GIB}, {NULL, 0}};

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

/* Prints bytes with the largest unit that divides them. */
static void print_bytes(uint64_t bytes, char buffer[OPTION_BUFFER]) {
  const unit *best = units_of_bytes;
  for (const unit *at = best; bytes > 0 && at->suffix; at++) {
    if (bytes % at->factor == 0) best = at;
  }
  snprintf(buffer, OPTION_BUFFER, "%llu%s", (unsigned long long)(bytes / best->factor),
           best->suffix);
}

/* Parses a decimal number. strtod alone accepts blanks, hexadecimal, infinities and NaN. */
static bool parse_real(const char *text, double *out) {
  if (!*text || text[strspn(text, "0123456789+-.eE")]) return false;
  char *end;
  errno = 0;
  *out = strtod(text, &end);
  return !errno && *end == '\0';
}

static bool set_integer(options *o, option_id id, const char *value) {
  const option_info *info = &option_table[id];
  if (info->unset && strcmp(value, info->unset) == 0) {
    *(int64_t *)slot_of(o, id) = -1;
    return true;
  }
  const unit *units = info->kind == KIND_BYTES ? units_of_bytes : units_of_integers;
  uint64_t number;
  if (!parse_integer(value, units, &number) || number < info->min || number > info->max) {
    return false;
  }
  if (info->size == sizeof(int)) {
    *(int *)slot_of(o, id) = (int)number;
  } else {
    *(uint64_t *)slot_of(o, id) = number;
  }
  return true;
}

static bool set_real(options *o, option_id id, const char *value) {
  const option_info *info = &option_table[id];
  double number;
  if (!parse_real(value, &number) || number < info->real_min || number > info->real_max ||
      (info->excludes_max && number == info->real_max)) {
    return false;
  }
  *(double *)slot_of(o, id) = number;
  return true;
}

static bool set_choice(options *o, option_id id, const char *value) {
  const char *const *choices = option_table[id].choices;
  for (int i = 0; choices[i]; i++) {
    if (strcmp(choices[i], value) == 0) {
      *(int *)slot_of(o, id) = i;
      return true;
    }
  }
  return false;
}

static bool set_boolean(options *o, option_id id, const char *value) {
  bool is_true = !value || strcmp(value, "true") == 0;
  if (!is_true && strcmp(value, "false") != 0) return false;
  *(int *)slot_of(o, id) = is_true;
  return true;
}

/* Returns whether the text is not empty, also after the prefix. */
static bool is_text_allowed(option_id id, const char *value) {
  size_t length = prefix_length(id);
  return (length == 0 || strncmp(value, option_table[id].prefix, length) == 0) && value[length];
}

/* Returns whether a text is UTF-8, as YAML, the format of configurations, is. */
static bool is_utf8(const char *text) {
  json_t *json = json_string(text);
  json_decref(json);
  return json != NULL;
}

static uly_status check_text(options *o, option_id id, const char *label, const char *value) {
  if (strlen(value) > option_table[id].max) {
    return options_fail(o, ULY_ERR_CONFIG,
                        "%s '%.100s...': has %zu bytes: at most %llu are allowed", label, value,
                        strlen(value), (unsigned long long)option_table[id].max);
  }
  if (id < num_run_options && !is_utf8(value)) {
    return options_fail(o, ULY_ERR_CONFIG,
                        "%s '%.200s': is not UTF-8, as all of a run's configuration must be: use "
                        "another name, or a symbolic link that has one",
                        label, value);
  }
  return set_text(o, id, value);
}

uly_status options_set(options *o, option_id id, const char *label, const char *value) {
  bool accepted = false;
  switch (option_table[id].kind) {
    case KIND_TEXT:
      if (is_text_allowed(id, value)) return check_text(o, id, label, value);
      break;
    case KIND_INTEGER:
    case KIND_BYTES: accepted = set_integer(o, id, value); break;
    case KIND_REAL: accepted = set_real(o, id, value); break;
    case KIND_CHOICE: accepted = set_choice(o, id, value); break;
    case KIND_BOOLEAN: accepted = set_boolean(o, id, value); break;
    case KIND_SWITCH:
      accepted = !value;
      if (accepted) *(bool *)slot_of(o, id) = true;
      break;
  }
  if (accepted) return ULY_OK;
  char allowed[OPTION_BUFFER];
  option_allowed(id, allowed);
  suggestion meant = suggest(value);
  if (option_table[id].kind == KIND_CHOICE) {
    for (const char *const *word = option_table[id].choices; *word; word++) {
      suggest_offer(&meant, *word);
    }
  }
  return options_fail(o, ULY_ERR_CONFIG, "%s '%.200s': expected %s%s", label, value, allowed,
                      suggest_phrase(&meant));
}

const char *options_get(const options *o, option_id id, char buffer[OPTION_BUFFER]) {
  const option_info *info = &option_table[id];
  const void *slot = (const char *)o + info->offset;
  switch (info->kind) {
    case KIND_TEXT: {
      const char *text = *(const char *const *)slot;
      return text ? text - prefix_length(id) : NULL;
    }
    case KIND_CHOICE: return info->choices[*(const int *)slot];
    case KIND_BOOLEAN: return *(const int *)slot ? "true" : "false";
    case KIND_SWITCH: return *(const bool *)slot ? "true" : "false";
    case KIND_INTEGER:
      if (info->unset && *(const int64_t *)slot == -1) return info->unset;
      if (info->size == sizeof(int)) {
        snprintf(buffer, OPTION_BUFFER, "%d", *(const int *)slot);
      } else {
        snprintf(buffer, OPTION_BUFFER, "%llu", (unsigned long long)*(const uint64_t *)slot);
      }
      return buffer;
    case KIND_BYTES: print_bytes(*(const uint64_t *)slot, buffer); return buffer;
    case KIND_REAL:
      /* Prints the fewest digits that read back as the same number: 17 always do. */
      for (int digits = 1; digits <= 17; digits++) {
        snprintf(buffer, OPTION_BUFFER, "%.*g", digits, *(const double *)slot);
        if (strtod(buffer, NULL) == *(const double *)slot) break;
      }
      return buffer;
  }
  return NULL;
}

/* Returns whether the value is something else than 0, no text, or the first word. */
static bool is_on(const options *o, option_id id) {
  const char *slot = (const char *)o + option_table[id].offset;
  size_t at = 0;
  while (at < option_table[id].size && slot[at] == 0) at++;
  return at < option_table[id].size;
}

static uly_status reset(options *o, option_id id) {
  options defaults;
  uly_status status = options_init(&defaults);
  const char **text = slot_of(&defaults, id);
  if (option_table[id].kind != KIND_TEXT) {
    memcpy(slot_of(o, id), slot_of(&defaults, id), option_table[id].size);
  } else if (status == ULY_OK && *text) {
    status = set_text(o, id, *text - prefix_length(id));
  } else {
    free_text(o, id);
  }
  options_free(&defaults);
  return status;
}

uly_status options_check_needs(options *o, command cmd) {
  uly_status status = ULY_OK;
  for (option_id id = 0; id < num_options && status == ULY_OK; id++) {
    option_id needed = option_table[id].needs;
    if (needed < 0 || !(option_table[id].commands & option_table[needed].commands & cmd)) continue;
    if (is_on(o, needed)) continue;
    bool is_overruled = o->given[needed] > o->given[id] || o->given[needed] == GIVEN_IN_LIST;
    if (o->given[id] && !is_overruled) {
      char flag[OPTION_BUFFER], other[OPTION_BUFFER], value[OPTION_BUFFER];
      option_flag(id, flag);
      option_flag(needed, other);
      return options_fail(o, ULY_ERR_CONFIG, "%s %.200s: needs %s, without which it has no effect",
                          flag, options_get(o, id, value), other);
    }
    status = reset(o, id);
  }
  return status;
}
