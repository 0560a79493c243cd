/* A group's limit applies to all groups within it, so all groups on the way up are examined, as far
 * as they can be seen: a container sees its own group as the uppermost one, whatever
 * /proc/self/cgroup calls it. */
#include "device/limits.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A controller of one of the groups, as a folder. */
typedef struct group {
  /* "" for version 2, in which all controllers share a folder. */
  const char *root, *controller;
  const char *path; /* "/a/b"; "" is the uppermost */
} group;

/* The names that the two versions have for the same files. */
typedef struct memory_files {
  const char *limit, *used, *inactive;
} memory_files;

static const memory_files version_2 = {"memory.max", "memory.current", "inactive_file "},
                          version_1 = {"memory.limit_in_bytes", "memory.usage_in_bytes",
                                       "total_inactive_file "};

/* Returns the smaller of the two; -1 stands for no limit. */
static int64_t least(int64_t a, int64_t b) { return a < 0 || (b >= 0 && b < a) ? b : a; }

/* Returns the number after a word at the beginning of a line, or -1 if there is no such file, line
 * or number. */
static int64_t read_number(const char *path, const char *word) {
  FILE *file = fopen(path, "r");
  char line[256];
  int64_t number = -1;
  while (file && number < 0 && fgets(line, sizeof line, file)) {
    size_t length = strlen(word);
    if (strncmp(line, word, length) != 0) continue;
    const char *at = line + length + strspn(line + length, " ");
    if (*at >= '0' && *at <= '9') number = strtoll(at, NULL, 10);
  }
  if (file) fclose(file);
  return number;
}

static int64_t read_of_machine(const char *root, const char *word) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/proc/meminfo", root);
  int64_t kib = read_number(path, word);
  return kib < 0 ? -1 : kib * 1024;
}

static bool name_file(group g, const char *name, char path[PATH_MAX]) {
  int length = snprintf(path, PATH_MAX, "%s/sys/fs/cgroup%s%s%s/%s", g.root,
                        g.controller[0] ? "/" : "", g.controller, g.path, name);
  return length > 0 && length < PATH_MAX;
}

static int64_t read_of_group(group g, const char *name, const char *word) {
  char path[PATH_MAX];
  return name_file(g, name, path) ? read_number(path, word) : -1;
}

/* Reads the limit of memory and its use. Version 2 says "max" if there is no limit, version 1 a
 * number that no machine has. Pages of files that are not in use are given back when memory is
 * needed. */
static void look_at_memory(group g, const memory_files *files, uly__limits *out) {
  int64_t limit = read_of_group(g, files->limit, ""), used = read_of_group(g, files->used, "");
  int64_t inactive = read_of_group(g, "memory.stat", files->inactive);
  if (limit < 0 || (out->memory >= 0 && limit >= out->memory)) return;
  out->memory_limit = least(out->memory_limit, limit);
  if (used < 0) used = 0;
  used -= inactive > 0 && inactive < used ? inactive : 0;
  out->available = least(out->available, limit > used ? limit - used : 0);
}

/* Reads a quota of time in each period, in microseconds; if it is not a number above 0, there is no
 * quota. */
static void look_at_quota(double quota, double period, uly__limits *out) {
  if (quota > 0 && period > 0)
    out->cpu_quota = least(out->cpu_quota, (int64_t)(1000 * quota / period));
}

/* Reads "max 100000", or two numbers. */
static void look_at_cpu_max(group g, uly__limits *out) {
  char path[PATH_MAX], line[128] = "", *end;
  FILE *file = name_file(g, "cpu.max", path) ? fopen(path, "r") : NULL;
  if (file && !fgets(line, sizeof line, file)) line[0] = '\0';
  if (file) fclose(file);
  double quota = strtod(line, &end);
  look_at_quota(quota, strtod(end, NULL), out);
}

/* Returns whether the word is in a list that is separated by commas. */
static bool has_word(const char *list, const char *word) {
  size_t length = strlen(word);
  for (const char *at = list; at; at = strchr(at, ',')) {
    if (*at == ',') at++;
    if (strncmp(at, word, length) == 0 && (at[length] == ',' || at[length] == '\0')) return true;
  }
  return false;
}

/* Reads the limits of a group. `controllers` is "" for version 2. */
static void look_at_group(const char *root, const char *controllers, const char *path,
                          uly__limits *out) {
  group all = {root, "", path}, memory = {root, "memory", path}, cpu = {root, "cpu", path};
  if (controllers[0] == '\0') {
    look_at_memory(all, &version_2, out);
    look_at_cpu_max(all, out);
  }
  if (has_word(controllers, "memory")) look_at_memory(memory, &version_1, out);
  if (has_word(controllers, "cpu"))
    look_at_quota((double)read_of_group(cpu, "cpu.cfs_quota_us", ""),
                  (double)read_of_group(cpu, "cpu.cfs_period_us", ""), out);
}

/* Reads the limits of the group at path, such as "/a/b", and of all groups that contain it. The
 * path is changed. */
static void look_upwards(const char *root, const char *controllers, char *path, uly__limits *out) {
  if (strcmp(path, "/") == 0) *path = '\0';
  for (;;) {
    look_at_group(root, controllers, path, out);
    char *slash = strrchr(path, '/');
    if (!slash) return;
    *slash = '\0';
  }
}

uly__limits uly__limits_read(const char *root) {
  uly__limits out = {.memory = read_of_machine(root, "MemTotal:"),
                     .available = read_of_machine(root, "MemAvailable:"),
                     .memory_limit = -1,
                     .cpu_quota = -1};
  char line[PATH_MAX];
  snprintf(line, sizeof line, "%s/proc/self/cgroup", root);
  FILE *file = fopen(line, "r");
  while (file && fgets(line, sizeof line, file)) { /* "4:memory:/a/b"; version 2: "0::/a/b" */
    line[strcspn(line, "\n")] = '\0';
    char *controllers = strchr(line, ':'), *path = controllers ? strchr(++controllers, ':') : NULL;
    if (!path) continue;
    *path++ = '\0';
    look_upwards(root, controllers, path, &out);
  }
  if (file) fclose(file);
  return out;
}
