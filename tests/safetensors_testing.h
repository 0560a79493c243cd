/* Shared by the tests of safetensors: the one file that a test writes and opens. */
#ifndef ULY_SAFETENSORS_TESTING_H
#define ULY_SAFETENSORS_TESTING_H

#include "testing.h"

/* The path of the file. */
extern char weights_path[600];

/* Makes a fresh folder for the file, as scratch_set_up does. */
int set_up_weights(void **state);

/* Write the file: bytes; a header of `claimed` bytes by its own account, then count bytes of data
 * 0, 1, 2, ...; a header of the right size, then such data. */
void put(const void *bytes, size_t count);
void put_parts(uint64_t claimed, const char *header, size_t length, size_t count);
void put_json(const char *header, size_t count);

/* Fills in a table of tensors, and returns their number, which is at most 5. */
int make_table(uly__tensor_info *tensors);

/* Lays the table out, writes it and data bytes 11, 48, 85, ... to the file. Returns all of the file
 * in malloc'ed memory, where its data begins and how long it is. */
char *put_table(uly__tensor_info *tensors, int num, int64_t *header, int64_t *total);

uly__safetensors *open_file(void);

/* Checks that the file cannot be opened, with this status and a message that holds its path and the
 * text. */
void assert_status(uly_status status, const char *text);

/* Writes a header with data, and checks that the file is refused as damaged. */
void assert_refused(const char *header, size_t count, const char *text);

#endif
