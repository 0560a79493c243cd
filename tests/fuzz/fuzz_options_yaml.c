/* Reads a configuration file of the program (YAML): it is refused, or gives options whose
 * --print-config reads the same. */
#include <string.h>

#include "../cli/options/options.h"
#include "fuzzing.h"

static void check_same(const options *a, const options *b, const char *text) {
  for (option_id id = 0; id < num_run_options; id++) {
    char buffers[2][OPTION_BUFFER];
    const char *x = options_get(a, id, buffers[0]), *y = options_get(b, id, buffers[1]);
    FUZZ_CHECK(!x == !y && (!x || strcmp(x, y) == 0), "%s: '%s' reads as '%s' from\n%s",
               option_table[id].key, x ? x : "(none)", y ? y : "(none)", text);
  }
}

static void check_written(options *o) {
  char *text = NULL;
  size_t length = 0;
  FILE *file = open_memstream(&text, &length);
  FUZZ_CHECK(file, "no memory");
  FUZZ_CHECK(options_write_yaml(o, TRAIN, file) == ULY_OK, "%s", o->error);
  FUZZ_CHECK(fclose(file) == 0, "no memory");
  options again;
  FUZZ_CHECK(options_init(&again) == ULY_OK, "%s", again.error);
  const char *path = fuzz_file("written", text, length);
  FUZZ_CHECK(options_read_yaml(&again, path) == ULY_OK, "%s, from\n%s", again.error, text);
  check_same(o, &again, text);
  options_free(&again);
  free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  options o;
  FUZZ_CHECK(options_init(&o) == ULY_OK, "%s", o.error);
  uly_status status = options_read_yaml(&o, fuzz_file("input", data, size));
  if (status == ULY_OK)
    check_written(&o);
  else
    fuzz_check_refusal(status, o.error);
  options_free(&o);
  return 0;
}
