/* Prints bytes and runs, in the same way for all commands. */
#ifndef ULYSSES_CLI_FORMAT_H
#define ULYSSES_CLI_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ulysses.h"

enum { FORMAT_BYTES = 32, FORMAT_DURATION = 32, FORMAT_MASK = 160 };

/* Writes bytes as "512 B" or "11.8 MiB". */
const char *format_bytes(int64_t bytes, char buffer[FORMAT_BYTES]);

/* Writes "3 d 04 h", "2 h 05 min", "40 min" or "12 s". */
const char *format_duration(double seconds, char buffer[FORMAT_DURATION]);

/* Returns the word of --sparse for a pattern. */
const char *sparse_name(uly_sparse_pattern pattern);

/* Describes what a token attends to, such as "the last 40 tokens, within documents"; the text is
 * empty if that is all tokens before it. */
const char *format_mask(int64_t window, const uly_sparse *sparse, int pack, char text[FORMAT_MASK]);

/* Returns the ending of a noun that counts so many things: "s", or nothing for one. */
const char *plural(int64_t count);

int64_t sum_bytes(const int64_t *bytes, int count);

/* Prints lines "  name   bytes   human" to standard output, then their sum. */
void print_arena_bytes(const int64_t *bytes);
void print_traffic_bytes(const int64_t *bytes);
/* Prints one such line. */
void print_stash_bytes(int64_t bytes);

/* Print lines about a run: its ranks and what they share; the size of a step; and what a token
 * attends to, unless that is all tokens before it, and how RoPE is scaled, if it is. */
void print_ranks(const uly_train_config *config, const uly_mesh *mesh);
void print_step_size(const uly_train_config *config, int dp);
void print_attention(const uly_train_config *config);

/* Prints a line about data: what they are ("data", "eval data"), what they were read as, what is in
 * them, and how many of their sequences a run or an evaluation goes through. */
void print_data(const char *what, const char *path, const uly_data_info *info,
                int64_t num_sequences);

#endif
