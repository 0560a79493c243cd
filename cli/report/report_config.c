/* Reads config.yaml as keys and values. It takes any mapping of YAML, read as the events of
 * libyaml, so that the file of another version of the program can be shown too. */
#include "report/report_config.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <yaml.h>

#include "report/report_text.h"

enum { MAX_BYTES = 1 << 20, MAX_SETTINGS = 1000, MAX_DEPTH = 8, MAX_TEXT = 1000 };

/* The place of an event in the file. */
typedef struct place {
  report_config *config;
  int depth;
  struct {
    bool is_list;
    bool has_key; /* a mapping between key and value */
    /* Bytes of key that name the level itself. */
    size_t length;
    int num_values; /* a list */
  } levels[MAX_DEPTH];
  char key[MAX_DEPTH * 64]; /* joined by dots */
} place;

static void add_setting(place *p, const char *value) {
  report_config *config = p->config;
  if (config->num == MAX_SETTINGS) {
    snprintf(config->problem, sizeof config->problem, "it has more than %d settings", MAX_SETTINGS);
    return;
  }
  char text[MAX_TEXT];
  report_setting *setting = &config->settings[config->num];
  report_clean(p->key, strlen(p->key), text, sizeof text);
  setting->key = strdup(text);
  report_clean(value, strlen(value), text, sizeof text);
  setting->value = strdup(text);
  if (setting->key && setting->value) {
    config->num++;
    return;
  }
  free(setting->key);
  free(setting->value);
  snprintf(config->problem, sizeof config->problem, "there is no memory");
}

/* Makes key that of a value that comes below the current level. */
static void begin_value(place *p, const char *name) {
  size_t length = p->depth > 0 ? p->levels[p->depth - 1].length : 0;
  snprintf(p->key + length, sizeof p->key - length, "%s%.60s", length ? "." : "", name);
}

/* Takes the place of the next value, of any kind. Returns whether it has a name. */
static bool take_place(place *p) {
  if (p->depth == 0) return true;
  bool is_named = p->levels[p->depth - 1].is_list || p->levels[p->depth - 1].has_key;
  p->levels[p->depth - 1].has_key = false;
  if (p->levels[p->depth - 1].is_list) {
    char number[32];
    snprintf(number, sizeof number, "%d", ++p->levels[p->depth - 1].num_values);
    begin_value(p, number);
  }
  return is_named;
}

static void take_text(place *p, const char *text) {
  bool is_key =
      p->depth > 0 && !p->levels[p->depth - 1].is_list && !p->levels[p->depth - 1].has_key;
  if (is_key) {
    p->levels[p->depth - 1].has_key = true;
    begin_value(p, text);
  } else if (take_place(p) && p->depth > 0) {
    add_setting(p, text);
  } else {
    snprintf(p->config->problem, sizeof p->config->problem, "it is not a mapping");
  }
}

static void open_level(place *p, bool is_list) {
  bool is_named = take_place(p);
  if (!is_named || p->depth == MAX_DEPTH || (p->depth == 0 && is_list)) {
    snprintf(p->config->problem, sizeof p->config->problem,
             "it is not a mapping of names to values, at most %d deep", MAX_DEPTH);
    return;
  }
  p->levels[p->depth].is_list = is_list;
  p->levels[p->depth].has_key = false;
  p->levels[p->depth].length = strlen(p->key);
  p->levels[p->depth].num_values = 0;
  p->depth++;
}

/* Returns whether the file continues. */
static bool take_event(place *p, const yaml_event_t *event) {
  switch (event->type) {
    case YAML_SCALAR_EVENT: take_text(p, (const char *)event->data.scalar.value); break;
    case YAML_ALIAS_EVENT: take_text(p, "(alias)"); break;
    case YAML_MAPPING_START_EVENT: open_level(p, false); break;
    case YAML_SEQUENCE_START_EVENT: open_level(p, true); break;
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT: p->depth--; break;
    case YAML_DOCUMENT_END_EVENT:
    case YAML_STREAM_END_EVENT: return false;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_START_EVENT: break;
  }
  return !p->config->problem[0];
}

static void parse(FILE *file, report_config *config) {
  yaml_parser_t parser;
  place p = {.config = config};
  if (!yaml_parser_initialize(&parser)) {
    snprintf(config->problem, sizeof config->problem, "there is no memory");
    return;
  }
  yaml_parser_set_input_file(&parser, file);
  for (bool goes_on = true; goes_on;) {
    yaml_event_t event;
    if (yaml_parser_parse(&parser, &event)) {
      goes_on = take_event(&p, &event);
      yaml_event_delete(&event);
    } else {
      goes_on = false;
      snprintf(config->problem, sizeof config->problem, "line %zu: %s",
               parser.problem_mark.line + 1, parser.problem ? parser.problem : "this is not YAML");
    }
  }
  yaml_parser_delete(&parser);
}

void report_config_read(const char *path, report_config *config) {
  struct stat info;
  bool is_there = stat(path, &info) == 0;
  if (!is_there && errno == ENOENT) return;
  FILE *file = is_there && S_ISREG(info.st_mode) ? fopen(path, "re") : NULL;
  config->settings = calloc(MAX_SETTINGS, sizeof *config->settings);
  if (!config->settings)
    snprintf(config->problem, sizeof config->problem, "there is no memory");
  else if (!file)
    snprintf(config->problem, sizeof config->problem, "the file could not be loaded");
  else if (info.st_size > MAX_BYTES)
    snprintf(config->problem, sizeof config->problem, "it has more than %d bytes", MAX_BYTES);
  else
    parse(file, config);
  if (file) fclose(file);
}

void report_config_free(report_config *config) {
  for (int i = 0; i < config->num; i++) {
    free(config->settings[i].key);
    free(config->settings[i].value);
  }
  free(config->settings);
  *config = (report_config){0};
}

const char *report_config_get(const report_config *config, const char *key) {
  for (int i = 0; i < config->num; i++) {
    const char *dot = strrchr(config->settings[i].key, '.');
    if (strcmp(dot ? dot + 1 : config->settings[i].key, key) == 0) return config->settings[i].value;
  }
  return NULL;
}
