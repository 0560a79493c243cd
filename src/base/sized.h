/* Structs that begin with their size, and how they pass between a program and the library, which
 * may have been compiled with headers of different ages. Every pointer below is to such a struct;
 * `known` is its size in this library. */
#ifndef ULY_SIZED_H
#define ULY_SIZED_H

#include "base/status.h"

/* Copies a caller's struct into `to`, which holds the defaults: members that the caller does not
 * know keep these. Returns ULY_ERR_CONFIG if `from` is NULL, has no plausible size, or sets members
 * that the library does not know. `name` is the name of the struct, for messages. */
uly_status uly__sized_read(const void *from, const char *name, void *to, size_t known);

/* Checks that a caller's struct can be filled. Returns ULY_ERR_CONFIG if it is NULL or has no
 * plausible size. */
uly_status uly__sized_check(const void *to, const char *name);

/* Fills a caller's struct, which was checked, and keeps its size. Members that the library does not
 * know become 0. */
void uly__sized_write(void *to, const void *from, size_t known);

/* Fills a struct of `size` bytes with defaults, and sets its size. Does nothing if it is NULL or
 * has no room for a size. */
void uly__sized_default(void *to, size_t size, const void *defaults, size_t known);

/* Returns from the function with ULY_ERR_CONFIG if an argument is NULL. */
#define ULY_NOT_NULL(argument)                                                         \
  do {                                                                                 \
    if (!(argument)) ULY_FAIL(ULY_ERR_CONFIG, "the argument '%s' is NULL", #argument); \
  } while (0)

#endif
