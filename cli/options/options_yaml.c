/* Options from and to YAML: sections, each a mapping of keys. libcyaml reads them by a schema that
 * the table makes: all sections are optional, and their fields are optional text, so that it
 * refuses unknown keys; what the text means is decided by options_set, as for flags. libcyaml does
 * not tell the line of a mistake, so that is looked up in the tree of nodes that libyaml makes of
 * the file. */
#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "common/input.h"
#include "common/say.h"
#include "common/try.h"
#include "options/messages.h"
#include "options/options_table.h"

enum { MAX_BYTES = 1 << 20 };

/* The whole text of the file. */
typedef struct yaml_text {
  const char *path;
  char *bytes;
  size_t count;
} yaml_text;

typedef struct yaml_section {
  /* NULL if the file has no such key, and for keys of other sections. */
  char *text[MAX_OPTIONS];
} yaml_section;

typedef struct yaml_file {
  /* NULL if the file has no such section, or if the section is empty. */
  yaml_section *sections[NUM_FILE_SECTIONS];
} yaml_file;

static cyaml_schema_field_t keys[NUM_FILE_SECTIONS][MAX_OPTIONS + 1];
static cyaml_schema_field_t fields[NUM_FILE_SECTIONS + 1];
static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, yaml_file, fields)};

/* Makes the fields of the schema, from the table of options. */
static void make_fields(void) {
  int num_keys[NUM_FILE_SECTIONS] = {0};
  for (option_id id = 0; id < num_run_options; id++) {
    section_id section = option_table[id].section;
    cyaml_schema_field_t *key = &keys[section][num_keys[section]++];
    *key = (cyaml_schema_field_t)CYAML_FIELD_STRING_PTR(option_table[id].key,
                                                        CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
                                                        yaml_section, text[0], 0, CYAML_UNLIMITED);
    key->data_offset += (uint32_t)((size_t)id * sizeof(char *));
  }
  for (section_id id = 0; id < NUM_FILE_SECTIONS; id++) {
    fields[id] = (cyaml_schema_field_t)CYAML_FIELD_MAPPING_PTR(
        section_table[id].key, CYAML_FLAG_POINTER_NULL | CYAML_FLAG_OPTIONAL, yaml_file,
        sections[0], keys[id]);
    fields[id].data_offset += (uint32_t)((size_t)id * sizeof(yaml_section *));
  }
}

/* Holds what libcyaml says about an error: first what is wrong, then a backtrace. Only the line
 * about a field has the right place; the line about the mapping has the place where the mapping
 * begins. */
typedef struct yaml_log {
  char what[256];
  char where[256];
} yaml_log;

static void keep_log(cyaml_log_t level, void *context, const char *fmt, va_list args) {
  (void)level;
  yaml_log *log = context;
  char line[256];
  vsnprintf(line, sizeof line, fmt, args);
  line[strcspn(line, "\n")] = '\0';
  const char *text = strncmp(line, "Load: ", 6) == 0 ? line + 6 : line;
  text += strspn(text, " ");
  if (strcmp(text, "Backtrace:") == 0) return;
  if (!log->what[0] && strncmp(text, "in mapping", 10) != 0)
    snprintf(log->what, sizeof log->what, "%s", text);
  else if (!log->where[0] && strncmp(text, "in mapping field", 16) == 0)
    snprintf(log->where, sizeof log->where, " %s", text);
}

static cyaml_config_t make_config(yaml_log *log) {
  return (cyaml_config_t){
      .log_fn = keep_log, .log_ctx = log, .mem_fn = cyaml_mem, .log_level = CYAML_LOG_ERROR};
}

/* ----------------------------------------------------------------------- where something stands */

typedef struct place {
  int line;                    /* from 1; 0: not found */
  char section[OPTION_BUFFER]; /* as the file has it */
  char key[OPTION_BUFFER];
  bool is_section; /* the section itself is meant */
  /* Not empty: why the file is not YAML from that line on, or is unusual YAML. */
  char problem[OPTION_BUFFER];
} place;

static bool take_scalar(yaml_document_t *tree, int index, char text[OPTION_BUFFER]) {
  const yaml_node_t *node = yaml_document_get_node(tree, index);
  if (!node || node->type != YAML_SCALAR_NODE) return false;
  snprintf(text, OPTION_BUFFER, "%s", (const char *)node->data.scalar.value);
  return true;
}

static int line_of(yaml_document_t *tree, int index) {
  return (int)yaml_document_get_node(tree, index)->start_mark.line + 1;
}

/* Returns whether there is a key that is a list or a mapping. */
static bool found_odd_key(yaml_document_t *tree, int index, place *found) {
  found->line = line_of(tree, index);
  snprintf(found->problem, sizeof found->problem, "a key must be a word");
  return true;
}

/* Searches a section for the place of the option or, with num_run_options, of the first key that is
 * not one. */
static bool search_section(yaml_document_t *tree, int index, section_id section, option_id option,
                           place *found) {
  const yaml_node_t *node = yaml_document_get_node(tree, index);
  if (!node || node->type != YAML_MAPPING_NODE) return false;
  const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
  for (; pair < node->data.mapping.pairs.top; pair++) {
    if (!take_scalar(tree, pair->key, found->key)) return found_odd_key(tree, pair->key, found);
    if (option_find(section, found->key) != option) continue;
    found->line = line_of(tree, pair->key);
    return true;
  }
  return false;
}

/* Searches all sections in the same way, and finds the first section that is not one. */
static bool search_tree(yaml_document_t *tree, option_id option, place *found) {
  const yaml_node_t *root = yaml_document_get_root_node(tree);
  if (!root || root->type != YAML_MAPPING_NODE) return false;
  const yaml_node_pair_t *pair = root->data.mapping.pairs.start;
  for (; pair < root->data.mapping.pairs.top; pair++) {
    if (!take_scalar(tree, pair->key, found->section)) return found_odd_key(tree, pair->key, found);
    section_id section = section_find(found->section);
    found->is_section = section == NUM_FILE_SECTIONS;
    if (found->is_section && option == num_run_options) {
      found->line = line_of(tree, pair->key);
      return true;
    }
    if (search_section(tree, pair->value, section, option, found)) return true;
  }
  return false;
}

/* Finds the place of an option; found->line is 0 if the file has no such place. */
static void find_place(const yaml_text *text, option_id option, place *found) {
  yaml_parser_t parser;
  yaml_document_t tree;
  *found = (place){0};
  if (!yaml_parser_initialize(&parser)) return;
  yaml_parser_set_input_string(&parser, (const unsigned char *)text->bytes, text->count);
  if (yaml_parser_load(&parser, &tree)) {
    if (!search_tree(&tree, option, found)) found->line = 0;
    yaml_document_delete(&tree);
  } else {
    found->line = (int)parser.problem_mark.line + 1;
    snprintf(found->problem, sizeof found->problem, "%s",
             parser.problem ? parser.problem : "this is not YAML");
  }
  yaml_parser_delete(&parser);
}

/* ------------------------------------------------------------------------- what is wrong */

static uly_status fail_load(const yaml_text *text, cyaml_err_t error, yaml_log *log) {
  place found;
  char where[OPTION_BUFFER];
  find_place(text, num_run_options, &found);
  snprintf(where, sizeof where, "%.200s, line %d:", text->path, found.line);
  if (found.problem[0]) return uly_fail(ULY_ERR_CONFIG, "%s %s", where, found.problem);
  make_printable(found.section);
  make_printable(found.key);
  make_printable(log->what);
  make_printable(log->where);
  if (error == CYAML_ERR_INVALID_KEY && found.line)
    return options_fail_key(where, found.section, found.is_section ? NULL : found.key);
  return uly_fail(ULY_ERR_CONFIG, "%.200s: %s%s", text->path,
                  log->what[0] ? log->what : cyaml_strerror(error), log->where);
}

/* Puts the file and the line before the message. */
static uly_status fail_value(uly_status status, const yaml_text *text, option_id id) {
  char why[1024];
  place found;
  snprintf(why, sizeof why, "%s", last_failure());
  make_printable(why);
  find_place(text, id, &found);
  if (!found.line) return uly_fail(status, "%.200s: %s", text->path, why);
  return uly_fail(status, "%.200s, line %d: %s", text->path, found.line, why);
}

/* ------------------------------------------------------------------------- from and to a file */

/* Takes the value of a key. A file may have all keys, most of them with their defaults; those count
 * as not given. */
static uly_status take_value(options *o, const yaml_text *text, option_id id, const char *value) {
  char path[OPTION_BUFFER], label[OPTION_BUFFER + 1];
  char buffer[OPTION_BUFFER], before[OPTION_BUFFER] = "";
  snprintf(label, sizeof label, "%s:", option_path(id, path));
  const char *was = options_get(o, id, buffer);
  if (was) snprintf(before, sizeof before, "%s", was);
  uly_status status = options_set(o, id, label, value);
  if (status != ULY_OK) return fail_value(status, text, id);
  const char *is = options_get(o, id, buffer);
  if (is && strcmp(is, before) != 0) o->given[id] = GIVEN_IN_FILE;
  return ULY_OK;
}

static uly_status take_values(options *o, const yaml_text *text, const yaml_file *values) {
  for (option_id id = 0; values && id < num_run_options; id++) {
    const yaml_section *section = values->sections[option_table[id].section];
    if (section && section->text[id]) TRY(take_value(o, text, id, section->text[id]));
  }
  return ULY_OK;
}

static uly_status read_text(options *o, const yaml_text *text) {
  yaml_log log = {{0}, {0}};
  cyaml_config_t config = make_config(&log);
  yaml_file *values = NULL;
  make_fields();
  cyaml_err_t error = cyaml_load_data((const uint8_t *)text->bytes, text->count, &config, &schema,
                                      (cyaml_data_t **)&values, NULL);
  if (error != CYAML_OK) return fail_load(text, error, &log);
  uly_status status = take_values(o, text, values);
  cyaml_free(&config, &schema, values, 0);
  return status;
}

uly_status options_read_yaml(options *o, const char *path) {
  yaml_text text = {.path = path};
  TRY(input_load("--config", path, MAX_BYTES, &text.bytes, &text.count));
  uly_status status = read_text(o, &text);
  free(text.bytes);
  return status;
}

uly_status options_write_yaml(const options *o, FILE *file) {
  char buffers[MAX_OPTIONS][OPTION_BUFFER];
  yaml_section sections[NUM_FILE_SECTIONS] = {0};
  yaml_file values = {0};
  for (option_id id = 0; id < num_run_options; id++) {
    section_id section = option_table[id].section;
    const char *value = options_get(o, id, buffers[id]);
    if (!(option_table[id].commands & o->command) || !value) continue;
    sections[section].text[id] = (char *)(uintptr_t)value;
    values.sections[section] = &sections[section];
  }
  yaml_log log = {{0}, {0}};
  cyaml_config_t config = make_config(&log);
  make_fields();
  char *text = NULL;
  size_t length = 0;
  cyaml_err_t error = cyaml_save_data(&text, &length, &config, &schema, &values, 0);
  if (error != CYAML_OK)
    return uly_fail(ULY_ERR_INTERNAL, "the configuration cannot be written as YAML: %s",
                    cyaml_strerror(error));
  size_t written = fwrite(text, 1, length, file);
  config.mem_fn(config.mem_ctx, text, 0);
  if (written == length) return ULY_OK;
  return uly_fail(ULY_ERR_IO, "the configuration cannot be written: %s", strerror(errno));
}
