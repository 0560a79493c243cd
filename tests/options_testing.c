/* Shared by the tests of the program's options. */
#include "options_testing.h"

#include <unistd.h>

_Static_assert(offsetof(train_options, run) == sizeof(options) &&
                   offsetof(plan_options, run) == sizeof(options) &&
                   offsetof(bench_options, run) == sizeof(options),
               "any_options");

uly_status parse_options(any_options *o, command cmd, int argc, char *const *argv) {
  assert_int_equal(options_init(&o->base, cmd), ULY_OK);
  uly_status status = options_parse(&o->base, argc, argv);
  return status == ULY_OK && cmd == TRAIN ? train_options_check(&o->train) : status;
}

void expect_ok(uly_status status) {
  if (status != ULY_OK) fail_msg("%s: %s", uly_status_name(status), uly_last_error());
}

void expect_failure(any_options *o, uly_status got, uly_status want, ...) {
  if (got != want) fail_msg("%s: %s", uly_status_name(got), uly_last_error());
  va_list texts;
  va_start(texts, want);
  for (const char *text; (text = va_arg(texts, const char *));) {
    if (!strstr(uly_last_error(), text))
      fail_msg("message without \"%s\": %s", text, uly_last_error());
  }
  va_end(texts);
  options_free(&o->base);
}

char yaml_path[256];

void write_yaml(const char *text) {
  write_scratch_file(yaml_path, "options.yaml", text, strlen(text));
}

int remove_yaml(void **state) {
  (void)state;
  if (yaml_path[0]) unlink(yaml_path);
  yaml_path[0] = '\0';
  return 0;
}

char *printed_by(void (*print)(FILE *file)) {
  char *text = NULL;
  size_t length = 0;
  FILE *file = open_memstream(&text, &length);
  assert_non_null(file);
  print(file);
  fclose(file);
  return text;
}
