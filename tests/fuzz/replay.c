/* Runs a fuzz target over files that are known: each file of each folder named, in the order of
 * names.
 *
 *   replay FOLDER|FILE...
 *
 * Fails where there is none: a test that tests nothing must not pass. */
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzzing.h"

/* In memory of exactly its size, so that a sanitizer sees a read past its end. */
static void run_file(const char *path) {
  FILE *file = fopen(path, "rb");
  struct stat info;
  FUZZ_CHECK(file && fstat(fileno(file), &info) == 0, "cannot open %s", path);
  size_t size = (size_t)info.st_size;
  uint8_t *bytes = fuzz_alloc(size);
  FUZZ_CHECK(fread(bytes, 1, size, file) == size, "cannot read %s", path);
  fclose(file);
  /* Before the run: the last line names the input of a crash. */
  printf("%s (%zu bytes)\n", path, size);
  fflush(stdout);
  FUZZ_CHECK(LLVMFuzzerTestOneInput(bytes, size) == 0, "%s", path);
  free(bytes);
}

static int is_visible(const struct dirent *entry) { return entry->d_name[0] != '.'; }

static int run_folder(const char *path) {
  struct dirent **entries;
  int num = scandir(path, &entries, is_visible, alphasort);
  FUZZ_CHECK(num >= 0, "cannot list %s", path);
  for (int i = 0; i < num; i++) {
    char name[4096];
    snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
    run_file(name);
    free(entries[i]);
  }
  free(entries);
  return num;
}

int main(int argc, char **argv) {
  int num = 0;
  for (int i = 1; i < argc; i++) {
    struct stat info;
    FUZZ_CHECK(stat(argv[i], &info) == 0, "cannot find %s", argv[i]);
    if (S_ISDIR(info.st_mode)) {
      num += run_folder(argv[i]);
    } else {
      run_file(argv[i]);
      num++;
    }
  }
  printf("%d inputs\n", num);
  return num > 0 ? 0 : 1;
}
