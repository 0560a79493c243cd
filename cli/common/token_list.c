/* See token_list.h. */
#include "common/token_list.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/try.h"

/* Reads the next number, and moves *at behind it. */
static uly_status read_number(const char *option, const char **at, token_list *out) {
  char *end;
  errno = 0;
  long long number = strtoll(*at, &end, 10);
  bool is_number = **at >= '0' && **at <= '9' && errno == 0 && number <= INT32_MAX;
  if (is_number && *end != ',') end += strspn(end, " \r\n\t");
  if (!is_number || (*end != ',' && *end != '\0'))
    return uly_fail(ULY_ERR_CONFIG,
                    "%s: number %lld of the list is not a token: expected numbers separated by "
                    "commas, as in 12,5,7",
                    option, (long long)out->count + 1);
  out->tokens[out->count++] = (int32_t)number;
  *at = end;
  return ULY_OK;
}

static uly_status read_all(const char *option, const char *text, token_list *out) {
  for (const char *at = text;; at++) {
    TRY(read_number(option, &at, out));
    if (*at == '\0') return ULY_OK;
  }
}

uly_status token_list_read(const char *option, const char *text, token_list *out) {
  size_t room = 1;
  for (const char *c = text; *c; c++) room += *c == ',';
  *out = (token_list){.tokens = malloc(room * sizeof *out->tokens)};
  if (!out->tokens) return uly_fail(ULY_ERR_MEMORY, "no memory for %zu tokens", room);
  uly_status status = read_all(option, text, out);
  if (status != ULY_OK) {
    free(out->tokens);
    out->tokens = NULL;
  }
  return status;
}
