/* Reads config.yaml as keys and values. */
#ifndef ULYSSES_CLI_REPORT_CONFIG_H
#define ULYSSES_CLI_REPORT_CONFIG_H

typedef struct report_setting {
  char *key, *value; /* "section.key", "value" */
} report_setting;

/* settings[num], in the order of the file. */
typedef struct report_config {
  int num;
  report_setting *settings;
  char problem[512]; /* why some are missing; or empty */
} report_config;

/* Reads any mapping of YAML, whose keys are joined by dots. config->problem says what cannot be
 * read. A file that does not exist has no settings and no problem. */
void report_config_read(const char *path, report_config *config);
void report_config_free(report_config *config);
/* Returns the value of a key in any section, or NULL if there is none. */
const char *report_config_get(const report_config *config, const char *key);

#endif
