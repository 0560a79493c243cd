/* What the fuzz targets share. A target is one file fuzz_<name>.c that hands the input to a reader
 * as a file. It is linked with libFuzzer to find inputs (`make fuzz`), and with replay.c to run
 * those that were found as a test. */
#ifndef ULY_FUZZING_H
#define ULY_FUZZING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "ulysses.h"

/* The target: whatever the bytes are, it returns 0, or ends the process with a finding. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the process with a finding. */
#define FUZZ_CHECK(condition, ...)                                    \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition); \
      fprintf(stderr, __VA_ARGS__);                                   \
      fputc('\n', stderr);                                            \
      abort();                                                        \
    }                                                                 \
  } while (0)

/* The path of a new file with these bytes, in a scratch folder of this process: `name` in it. The
 * text stays valid until the next call. */
const char *fuzz_file(const char *name, const void *bytes, size_t size);
/* The scratch folder. It goes, with its files, when the process ends without a finding. */
const char *fuzz_folder(void);
/* Removes the files of the scratch folder. */
void fuzz_clear(void);

/* A reader's refusal: a status for the file's fault, and a message fit for a terminal. Too little
 * memory for a small file is the reader's own fault. */
void fuzz_check_refusal(uly_status status, const char *message);

/* Memory that is there. */
void *fuzz_alloc(size_t size);

#endif
