/* Options from and to YAML. libcyaml reads a mapping whose fields are all optional text, so that it
 * refuses unknown keys; what the text means is decided by options_set, as for flags. */
#include <cyaml/cyaml.h>
#include <errno.h>
#include <string.h>

#include "options.h"

typedef struct yaml_values {
  char *text[NUM_RUN_OPTIONS];
} yaml_values;

#define FIELD(key, value, member, commands, topic, help)                              \
  CYAML_FIELD_STRING_PTR(#key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, yaml_values, \
                         text[OPTION_##key], 0, CYAML_UNLIMITED),
static const cyaml_schema_field_t fields[] = {OPTIONS_OF_RUN(FIELD) CYAML_FIELD_END};
#undef FIELD

static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, yaml_values, fields)};

/* What libcyaml says of an error: first what is wrong, then a backtrace. Of that only the line
 * about a field has the right place; the one about the mapping has where the mapping begins. */
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
  if (!log->what[0]) {
    snprintf(log->what, sizeof log->what, "%s", text);
  } else if (!log->where[0] && strncmp(text, "in mapping field", 16) == 0) {
    snprintf(log->where, sizeof log->where, " %s", text);
  }
}

static cyaml_config_t make_config(yaml_log *log) {
  return (cyaml_config_t){
      .log_fn = keep_log, .log_ctx = log, .mem_fn = cyaml_mem, .log_level = CYAML_LOG_ERROR};
}

uly_status options_read_yaml(options *o, const char *path) {
  yaml_log log = {{0}, {0}};
  cyaml_config_t config = make_config(&log);
  yaml_values *values = NULL;
  errno = 0;
  cyaml_err_t error = cyaml_load_file(path, &config, &schema, (cyaml_data_t **)&values, NULL);
  if (error == CYAML_ERR_FILE_OPEN) {
    return options_fail(o, ULY_ERR_IO, "--config '%.200s': cannot be opened: %s", path,
                        strerror(errno));
  }
  if (error != CYAML_OK) {
    return options_fail(o, ULY_ERR_CONFIG, "%.200s: %s%s%s", path,
                        log.what[0] ? log.what : cyaml_strerror(error), log.where,
                        error == CYAML_ERR_INVALID_KEY
                            ? "; 'ulysses help train' lists the options, a key has _ for -"
                            : "");
  }
  uly_status status = ULY_OK;
  for (enum option_id id = 0; values && id < NUM_RUN_OPTIONS && status == ULY_OK; id++) {
    if (!values->text[id]) continue;
    char label[OPTION_BUFFER];
    snprintf(label, sizeof label, "%.200s: %s:", path, option_table[id].key);
    status = options_set(o, id, label, values->text[id]);
  }
  cyaml_free(&config, &schema, values, 0);
  return status;
}

uly_status options_write_yaml(options *o, command cmd, FILE *file) {
  char buffers[NUM_RUN_OPTIONS][OPTION_BUFFER];
  yaml_values values = {{0}};
  for (enum option_id id = 0; id < NUM_RUN_OPTIONS; id++) {
    if (option_table[id].commands & cmd) {
      values.text[id] = (char *)(uintptr_t)options_get(o, id, buffers[id]);
    }
  }
  yaml_log log = {{0}, {0}};
  cyaml_config_t config = make_config(&log);
  char *text = NULL;
  size_t length = 0;
  cyaml_err_t error = cyaml_save_data(&text, &length, &config, &schema, &values, 0);
  if (error != CYAML_OK) {
    return options_fail(o, ULY_ERR_INTERNAL, "--print-config: %s", cyaml_strerror(error));
  }
  size_t written = fwrite(text, 1, length, file);
  config.mem_fn(config.mem_ctx, text, 0);
  if (written != length) {
    return options_fail(o, ULY_ERR_IO, "--print-config: cannot be written: %s", strerror(errno));
  }
  return ULY_OK;
}
