/* Limits that a container or a batch system sets: control groups, version 2 and 1 (cgroups(7)). A group's limit holds
 * for all groups within it, so the way up is looked at, as far as it can be seen. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "doctor.h"

static const char root[] = "/sys/fs/cgroup";

/* The first line of a file. */
static bool read_line(const char *path, char line[DOCTOR_TEXT]) {
  FILE *file = fopen(path, "r");
  if (!file) return false;
  bool has_line = fgets(line, DOCTOR_TEXT, file) != NULL;
  fclose(file);
  if (has_line) line[strcspn(line, "\n")] = '\0';
  return has_line;
}

/* The file of a group; controller "": version 2. */
static bool read_of_group(const char *controller, const char *group, const char *name,
                          char line[DOCTOR_TEXT]) {
  char path[PATH_MAX];
  int length = snprintf(path, sizeof path, "%s/%s%s/%s", root, controller, group, name);
  return length > 0 && (size_t)length < sizeof path && read_line(path, line);
}

/* A quota of time in each period; "max" and -1, which strtod makes 0 or less: none. */
static void look_at_quota(double quota, double period, struct doctor_machine *machine) {
  if (!(quota > 0 && period > 0)) return;
  int64_t found = (int64_t)(1000 * quota / period);
  if (machine->cpu_quota < 0 || found < machine->cpu_quota) machine->cpu_quota = found;
}

/* "max", or bytes; without a limit version 1 names a number that no machine has. */
static void look_at_memory(const char *line, struct doctor_machine *machine) {
  int64_t limit = strtoll(line, NULL, 10);
  if (limit <= 0 || (machine->memory >= 0 && limit >= machine->memory)) return;
  if (machine->memory_limit < 0 || limit < machine->memory_limit) machine->memory_limit = limit;
}

/* Whether a list with commas has the word. */
static bool has_word(const char *list, const char *word) {
  size_t length = strlen(word);
  for (const char *at = list; at; at = strchr(at, ',')) {
    if (*at == ',') at++;
    if (strncmp(at, word, length) == 0 && (at[length] == ',' || at[length] == '\0')) return true;
  }
  return false;
}

static void look_at_group(const char *controllers, const char *group,
                          struct doctor_machine *machine) {
  char line[DOCTOR_TEXT], period[DOCTOR_TEXT];
  if (controllers[0] == '\0') {
    if (read_of_group("", group, "memory.max", line)) look_at_memory(line, machine);
    if (read_of_group("", group, "cpu.max", line)) { /* "max 100000", or two numbers */
      char *end;
      double quota = strtod(line, &end);
      look_at_quota(quota, strtod(end, NULL), machine);
    }
    return;
  }
  if (has_word(controllers, "memory") &&
      read_of_group("memory", group, "memory.limit_in_bytes", line)) {
    look_at_memory(line, machine);
  }
  if (has_word(controllers, "cpu") && read_of_group("cpu", group, "cpu.cfs_quota_us", line) &&
      read_of_group("cpu", group, "cpu.cfs_period_us", period))
    look_at_quota(strtod(line, NULL), strtod(period, NULL), machine);
}

/* group: "/a/b", looked at with all that it lies in; it is taken apart. */
static void look_upwards(const char *controllers, char *group, struct doctor_machine *machine) {
  for (;;) {
    look_at_group(controllers, group, machine);
    char *slash = strrchr(group, '/');
    if (!slash) return;
    *slash = '\0';
  }
}

void doctor_look_at_limits(struct doctor_machine *machine) {
  machine->memory_limit = -1;
  machine->cpu_quota = -1;
  FILE *file = fopen("/proc/self/cgroup", "r");
  if (!file) return;
  char line[PATH_MAX];
  while (fgets(line, sizeof line, file)) { /* "4:memory:/a/b"; version 2: "0::/a/b" */
    line[strcspn(line, "\n")] = '\0';
    char *controllers = strchr(line, ':'),
         *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group) continue;
    *group = '\0';
    look_upwards(controllers + 1, group + 1, machine);
  }
  fclose(file);
}
