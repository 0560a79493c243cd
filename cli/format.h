/* How the commands print bytes and errors. */
#ifndef ULYSSES_CLI_FORMAT_H
#define ULYSSES_CLI_FORMAT_H

#include <stddef.h>
#include <stdint.h>

enum { FORMAT_BYTES = 32 };

/* "512 B", "11.8 MiB", ... */
const char *format_bytes(int64_t bytes, char buffer[FORMAT_BYTES]);

int64_t sum_bytes(const int64_t *bytes, int count);

/* Lines "  name   bytes   human" to standard output, then their sum. */
void print_arena_bytes(const int64_t *bytes);
void print_traffic_bytes(const int64_t *bytes);

/* "ulysses: error: MESSAGE" to standard error. */
void print_error(const char *message);

#endif
