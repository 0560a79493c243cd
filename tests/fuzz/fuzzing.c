/* Scratch files, and checks that every refusal must pass. */
#include "fuzzing.h"

#include <dirent.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

static char folder[PATH_MAX - 64];

static void remove_folder(void) {
  fuzz_clear();
  (void)rmdir(folder);
}

const char *fuzz_folder(void) {
  if (folder[0]) return folder;
  /* Memory where it can be had: a target writes thousands of files in a second. */
  const char *base = getenv("TMPDIR");
  if (!base || !*base) base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
  snprintf(folder, sizeof folder, "%s/uly-fuzz-XXXXXX", base);
  FUZZ_CHECK(mkdtemp(folder), "cannot make a folder in %s", base);
  FUZZ_CHECK(atexit(remove_folder) == 0, "cannot clean up later");
  return folder;
}

void fuzz_clear(void) {
  DIR *entries = opendir(fuzz_folder());
  FUZZ_CHECK(entries, "cannot open %s", folder);
  for (struct dirent *entry; (entry = readdir(entries));)
    if (entry->d_name[0] != '.') (void)unlinkat(dirfd(entries), entry->d_name, 0);
  closedir(entries);
}

const char *fuzz_file(const char *name, const void *bytes, size_t size) {
  static char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
  FILE *file = fopen(path, "wb");
  FUZZ_CHECK(file, "cannot create %s", path);
  FUZZ_CHECK(size == 0 || fwrite(bytes, 1, size, file) == size, "cannot write %s", path);
  FUZZ_CHECK(fclose(file) == 0, "cannot write %s", path);
  return path;
}

/* ASCII's control characters, and those of Latin-1 (U+0080 to U+009F), which terminals obey too. */
static bool is_printable(const char *text) {
  for (const unsigned char *at = (const unsigned char *)text; *at; at++)
    if (*at < 0x20 || *at == 0x7f || (*at == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0)) return false;
  return true;
}

void fuzz_check_refusal(uly_status status, const char *message) {
  FUZZ_CHECK(status == ULY_ERR_DATA || status == ULY_ERR_CONFIG, "refused as '%s': %s",
             uly_status_name(status), message);
  FUZZ_CHECK(message[0], "refused without a message");
  FUZZ_CHECK(is_printable(message), "control characters in the message: %s", message);
}

void *fuzz_alloc(size_t size) {
  void *memory = malloc(size ? size : 1);
  FUZZ_CHECK(memory, "no memory for %zu bytes", size);
  return memory;
}
