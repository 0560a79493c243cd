/* Reads a configuration file of the program (YAML): it is refused, or gives options whose
 * --print-config reads the same. */
#include <string.h>

#include "../cli/options/options_table.h"
#include "../cli/train/train_options.h"
#include "fuzzing.h"

static void check_same(const options *a, const options *b, const char *text) {
  for (option_id id = 0; id < num_run_options; id++) {
    char buffers[2][OPTION_BUFFER];
    const char *x = options_get(a, id, buffers[0]), *y = options_get(b, id, buffers[1]);
    FUZZ_CHECK(!x == !y && (!x || strcmp(x, y) == 0), "%s: '%s' reads as '%s' from\n%s",
               option_table[id].key, x ? x : "(none)", y ? y : "(none)", text);
  }
}

static void check_written(const options *o) {
  char *text = NULL;
  size_t length = 0;
  FILE *file = open_memstream(&text, &length);
  FUZZ_CHECK(file, "no memory");
  FUZZ_CHECK(options_write_yaml(o, file) == ULY_OK, "%s", uly_last_error());
  FUZZ_CHECK(fclose(file) == 0, "no memory");
  train_options again;
  FUZZ_CHECK(options_init(&again.base, TRAIN) == ULY_OK, "%s", uly_last_error());
  const char *path = fuzz_file("written", text, length);
  FUZZ_CHECK(options_read_yaml(&again.base, path) == ULY_OK, "%s, from\n%s", uly_last_error(),
             text);
  check_same(o, &again.base, text);
  options_free(&again.base);
  free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  train_options o;
  FUZZ_CHECK(options_init(&o.base, TRAIN) == ULY_OK, "%s", uly_last_error());
  uly_status status = options_read_yaml(&o.base, fuzz_file("input", data, size));
  if (status == ULY_OK)
    check_written(&o.base);
  else
    fuzz_check_refusal(status, uly_last_error());
  options_free(&o.base);
  return 0;
}
