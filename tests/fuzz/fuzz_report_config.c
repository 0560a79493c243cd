/* Reads config.yaml as `ulysses report` does: any bytes give settings, or a problem, that are text,
 * and that are HTML once they are put into a page. */
#include <string.h>

#include "../cli/report/report_config.h"
#include "../cli/report/report_text.h"
#include "fuzzing.h"

/* Nothing that begins a tag or ends an attribute. */
static void check_html(const char *text) {
  char *html = NULL;
  size_t length = 0;
  FILE *file = open_memstream(&html, &length);
  FUZZ_CHECK(file, "no memory");
  report_put_html(file, text);
  FUZZ_CHECK(fclose(file) == 0, "no memory");
  FUZZ_CHECK(strcspn(html, "<>\"'\n") == length, "in a page: %s", html);
  free(html);
}

/* One constant: the quotes within are doubled. */
static void check_gnuplot(const char *text) {
  char *script = NULL;
  size_t length = 0;
  FILE *file = open_memstream(&script, &length);
  FUZZ_CHECK(file, "no memory");
  report_put_gnuplot(file, text);
  FUZZ_CHECK(fclose(file) == 0, "no memory");
  FUZZ_CHECK(length >= 2 && script[0] == '\'' && script[length - 1] == '\'', "%s", script);
  for (size_t i = 1; i + 1 < length; i++) {
    FUZZ_CHECK((unsigned char)script[i] >= 0x20, "a control character");
    if (script[i] == '\'') FUZZ_CHECK(script[++i] == '\'' && i + 1 < length, "%s", script);
  }
  free(script);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  report_config config = {0};
  report_config_read(fuzz_file("input", data, size), &config);
  for (int i = 0; i < config.num; i++) {
    check_html(config.settings[i].key);
    check_html(config.settings[i].value);
    check_gnuplot(config.settings[i].value);
  }
  check_html(config.problem);
  report_config_free(&config);
  char *text = fuzz_alloc(size + 1);
  memcpy(text, data, size);
  text[size] = '\0';
  check_html(text);
  check_gnuplot(text);
  free(text);
  return 0;
}
