/* The table of options: its rows, and how they are named and described. */
#include <assert.h>
#include <float.h>
#include <string.h>

#include "options/options.h"

#define ROW(section_, title_) [SECTION_##section_] = {.key = #section_, .title = title_},
const section_info section_table[NUM_SECTIONS] = {SECTIONS_OF_FILE(ROW) SECTIONS_OF_CALL(ROW)};
#undef ROW

#define ROW(section_, key_, value_, member_, commands_, help_) \
  {.section = SECTION_##section_,                              \
   .key = #key_,                                               \
   .member = #member_,                                         \
   value_,                                                     \
   .offset = offsetof(options, member_),                       \
   .size = sizeof(((options *)0)->member_),                    \
   .commands = commands_,                                      \
   .help = help_},
/* Has no key; member is the name of the last setting that stands here. */
#define PLACE(section_, last_, commands_) \
  {.section = SECTION_##section_, .member = last_, .commands = commands_},
static const option_info rows[] = {OPTIONS_OF_RUN(ROW, PLACE) OPTIONS_OF_CALL(ROW, PLACE)};
#undef PLACE
#undef ROW

/* How the program writes a setting; NULL and 0: as follows from the setting. */
typedef struct setting_form {
  const char *name;
  const char *key, *prefix, *metavar, *help;
  unsigned also, without; /* commands */
} setting_form;

#define FORM(name_, ...) {.name = #name_, __VA_ARGS__},
static const setting_form forms[] = {SETTING_FORMS(FORM){.name = NULL}};
#undef FORM

/* What the table says of settings in words of its own. */
typedef struct setting_words {
  char key[64], member[80];
} setting_words;

static option_info table[MAX_OPTIONS];
static setting_words words[MAX_OPTIONS];
const option_info *const option_table = table;
int num_run_options, num_options;

static const option_kind kinds[] = {
    [ULY_SETTING_TEXT] = KIND_TEXT,     [ULY_SETTING_INTEGER] = KIND_INTEGER,
    [ULY_SETTING_BYTES] = KIND_BYTES,   [ULY_SETTING_REAL] = KIND_REAL,
    [ULY_SETTING_CHOICE] = KIND_CHOICE, [ULY_SETTING_BOOLEAN] = KIND_BOOLEAN};

/* Returns the commands that know a setting: a benchmark of the step knows what a run and its plan
 * do. */
static unsigned commands_of(const uly_setting *s) {
  const unsigned step = ULY_USE_TRAINING | ULY_USE_PLANNING;
  return (s->uses & ULY_USE_TRAINING ? TRAIN : 0U) | (s->uses & ULY_USE_PLANNING ? PLAN : 0U) |
         (s->uses & ULY_USE_EVALUATION ? EVAL : 0U) |
         (s->uses & ULY_USE_GENERATION ? GENERATE : 0U) |
         ((s->uses & step) == step ? BENCH_STEP : 0U);
}

static option_info setting_option(const uly_setting *s, const option_info *place,
                                  setting_words *own) {
  const setting_form *form = forms;
  while (form->name && strcmp(form->name, s->name) != 0) form++;
  snprintf(own->member, sizeof own->member, "config.%s", s->name);
  snprintf(own->key, sizeof own->key, "%s", form->key ? form->key : s->name);
  for (char *c = own->key; *c; c++) {
    if (*c == '.') *c = '_';
  }
  bool is_text = s->type == ULY_SETTING_TEXT;
  return (option_info){.section = place->section,
                       .key = own->key,
                       .member = own->member,
                       .kind = kinds[s->type],
                       .metavar = form->metavar ? form->metavar : s->placeholder,
                       .prefix = form->prefix,
                       .min = s->min.integer,
                       .max = is_text ? PATH_MAX - 1 : s->max.integer,
                       .unset = s->unset,
                       .real_min = s->min.real,
                       .real_max = s->max.real,
                       .excludes_max = s->excludes_max != 0,
                       .choices = s->words,
                       .offset = offsetof(options, config) + s->offset,
                       .size = s->bytes,
                       .commands = (commands_of(s) | form->also | place->commands) & ~form->without,
                       .help = form->help ? form->help : s->help};
}

/* Returns the option that stores the setting; -1: there is none yet. */
static option_id find_setting(const char *name) {
  option_id id = num_options - 1;
  while (id >= 0 && (strncmp(table[id].member, "config.", 7) != 0 ||
                     strcmp(table[id].member + 7, name) != 0)) {
    id--;
  }
  return id;
}

static void add_option(option_info info) {
  assert(num_options < MAX_OPTIONS);
  if (info.section < NUM_FILE_SECTIONS) num_run_options++;
  table[num_options++] = info;
}

/* Adds the settings that stand at a place of the table. */
static void add_settings(const option_info *place) {
  size_t num;
  const uly_setting *settings = uly_settings(&num);
  for (size_t i = 0; i < num; i++) {
    const uly_setting *s = &settings[i];
    if (!s->topic || strcmp(s->topic, section_table[place->section].key) != 0) continue;
    if (find_setting(s->name) >= 0) continue;
    add_option(setting_option(s, place, &words[num_options]));
    if (place->member && strcmp(place->member, s->name) == 0) return;
  }
}

/* Looks up what each setting needs. */
static void connect_settings(void) {
  size_t num;
  const uly_setting *settings = uly_settings(&num);
  for (option_id id = 0; id < num_options; id++) table[id].needs = -1;
  for (size_t i = 0; i < num; i++) {
    option_id id = find_setting(settings[i].name);
    if (id >= 0 && settings[i].needs) table[id].needs = find_setting(settings[i].needs);
  }
}

/* The table is made before main, since everything that reads the command line reads it. */
__attribute__((constructor)) static void make_table(void) {
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    if (rows[i].key) {
      add_option(rows[i]);
    } else {
      add_settings(&rows[i]);
    }
  }
  connect_settings();
}

option_id option_named(const char *key) {
  option_id id = 0;
  while (strcmp(table[id].key, key) != 0) {
    id++;
    assert(id < num_options);
  }
  return id;
}

void option_flag(option_id id, char buffer[OPTION_BUFFER]) {
  snprintf(buffer, OPTION_BUFFER, "--%s", option_table[id].key);
  for (char *c = buffer; *c; c++) {
    if (*c == '_') *c = '-';
  }
}

void option_range(option_id id, char buffer[OPTION_BUFFER]) {
  const option_info *info = &option_table[id];
  if (info->kind == KIND_INTEGER) {
    snprintf(buffer, OPTION_BUFFER, "from %llu to %llu%s%s", (unsigned long long)info->min,
             (unsigned long long)info->max, info->unset ? ", or " : "",
             info->unset ? info->unset : "");
  } else if (info->real_max < DBL_MAX) {
    snprintf(buffer, OPTION_BUFFER, "from %g to %s%g", info->real_min,
             info->excludes_max ? "below " : "", info->real_max);
  } else {
    snprintf(buffer, OPTION_BUFFER, "of at least %g", info->real_min);
  }
}

void option_allowed(option_id id, char buffer[OPTION_BUFFER]) {
  const option_info *info = &option_table[id];
  char range[OPTION_BUFFER];
  int used = 0;
  switch (info->kind) {
    case KIND_TEXT:
      if (info->prefix) {
        snprintf(buffer, OPTION_BUFFER, "%s: '%s' and a path", info->metavar, info->prefix);
      } else {
        snprintf(buffer, OPTION_BUFFER, "%s, not empty", info->metavar);
      }
      break;
    case KIND_BYTES:
      snprintf(buffer, OPTION_BUFFER, "bytes: a number, or one with KiB, MiB or GiB, as in 512MiB");
      break;
    case KIND_BOOLEAN: snprintf(buffer, OPTION_BUFFER, "true or false"); break;
    case KIND_SWITCH: snprintf(buffer, OPTION_BUFFER, "no value"); break;
    case KIND_INTEGER:
    case KIND_REAL:
      option_range(id, range);
      snprintf(buffer, OPTION_BUFFER, "%s %.200s",
               info->kind == KIND_REAL ? "a number" : "an integer", range);
      break;
    case KIND_CHOICE:
      used = snprintf(buffer, OPTION_BUFFER, "one of");
      for (const char *const *word = info->choices; *word; word++) {
        used += snprintf(buffer + used, OPTION_BUFFER - (size_t)used, "%s %s",
                         word == info->choices ? "" : ",", *word);
      }
      break;
  }
}

bool option_placeholder(option_id id, char buffer[OPTION_BUFFER]) {
  const option_info *info = &option_table[id];
  int used = 0;
  switch (info->kind) {
    case KIND_TEXT: snprintf(buffer, OPTION_BUFFER, "%s", info->metavar); return true;
    case KIND_INTEGER: snprintf(buffer, OPTION_BUFFER, "N"); return true;
    case KIND_BYTES: snprintf(buffer, OPTION_BUFFER, "BYTES"); return true;
    case KIND_REAL: snprintf(buffer, OPTION_BUFFER, "X"); return true;
    case KIND_CHOICE:
      for (const char *const *word = info->choices; *word; word++) {
        used += snprintf(buffer + used, OPTION_BUFFER - (size_t)used, "%s%s",
                         word == info->choices ? "" : "|", *word);
      }
      return true;
    case KIND_BOOLEAN:
    case KIND_SWITCH: break;
  }
  return false;
}
