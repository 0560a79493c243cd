/* Finds out whether the names that MPI looks up when it starts can be resolved: the host's own, and
 * localhost. If they cannot, MPI waits for name servers that do not answer. */
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "doctor/doctor.h"

/* Returns the milliseconds that it takes to look up the name, and sets *error to the reason why it
 * is not found, or to 0. */
static int64_t find_name(const char *name, int *error) {
  struct addrinfo wanted = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found = NULL;
  double begin = clock_seconds();
  *error = getaddrinfo(name, NULL, &wanted, &found);
  if (*error == 0) freeaddrinfo(found);
  return (int64_t)(1000 * (clock_seconds() - begin));
}

/* Keeps the name that is not found, or of several such names, the one that takes longest. */
void doctor_look_at_names(doctor_facts *facts) {
  const char *const names[] = {facts->host, "localhost"};
  for (int i = 0; i < 2; i++) {
    int error;
    int64_t ms = find_name(names[i], &error);
    bool is_worse = (error != 0) != (facts->name_error != 0) ? error != 0 : ms > facts->name_ms;
    if (i > 0 && !is_worse) continue;
    snprintf(facts->name, sizeof facts->name, "%s", names[i]);
    facts->name_error = error;
    facts->name_ms = ms;
  }
}

void doctor_check_names(doctor *d) {
  enum { SLOW_MS = 1000 };
  for (int rank = 0; rank < d->num_ranks; rank++) {
    const doctor_facts *facts = &d->facts[rank];
    if (facts->name_error == 0 && facts->name_ms < SLOW_MS) continue;
    doctor_find(d, VERDICT_WARN, "names",
                "%s: the name '%s' %s%s%s after %.1f s: MPI looks it up more than once whenever it "
                "starts, which may take minutes: add it to /etc/hosts, as in '%s %s'",
                facts->host, facts->name, facts->name_error ? "is not found (" : "is found",
                facts->name_error ? gai_strerror(facts->name_error) : "",
                facts->name_error ? ")" : "", (double)facts->name_ms / 1000,
                strcmp(facts->name, "localhost") == 0 ? "127.0.0.1" : "127.0.1.1", facts->name);
    return;
  }
  doctor_find(d, VERDICT_OK, "names", "localhost and the names of the hosts are found at once");
}
