/* Records findings, and lists hosts and ranks. */
#include <stdarg.h>
#include <string.h>

#include "common/format.h"
#include "doctor/doctor.h"

void doctor_find(doctor *d, verdict how, const char *what, const char *fmt, ...) {
  if (d->num_findings == DOCTOR_MAX_FINDINGS) return;
  finding *f = &d->findings[d->num_findings++];
  f->verdict = how;
  f->what = what;
  va_list args;
  va_start(args, fmt);
  vsnprintf(f->text, sizeof f->text, fmt, args);
  va_end(args);
}

bool doctor_same_host(const doctor *d, int a, int b) {
  return strcmp(d->facts[a].host, d->facts[b].host) == 0;
}

int doctor_next_host(const doctor *d, int rank) {
  for (rank++; rank < d->num_ranks; rank++) {
    int first = 0;
    while (!doctor_same_host(d, first, rank)) first++;
    if (first == rank) return rank;
  }
  return d->num_ranks;
}

void doctor_list_ranks(const doctor *d, const bool *marks, char text[DOCTOR_TEXT]) {
  int num = 0;
  for (int rank = 0; rank < d->num_ranks; rank++) num += marks[rank];
  size_t used = (size_t)snprintf(text, DOCTOR_TEXT, "rank%s ", plural(num)), begin = used;
  for (int first = 0; first < d->num_ranks; first++) {
    if (!marks[first]) continue;
    int last = first;
    while (last + 1 < d->num_ranks && marks[last + 1]) last++;
    char part[48];
    snprintf(part, sizeof part, last > first ? "%s%d-%d" : "%s%d", used > begin ? ", " : "", first,
             last);
    if (used + strlen(part) + sizeof ", ..." > DOCTOR_TEXT) {
      snprintf(text + used, DOCTOR_TEXT - used, ", ...");
      return;
    }
    used += (size_t)snprintf(text + used, DOCTOR_TEXT - used, "%s", part);
    first = last;
  }
}
