/* Settings of the environment. */
#ifndef ULY_BASE_ENVIRONMENT_H
#define ULY_BASE_ENVIRONMENT_H

/* Returns the value of a variable. NULL: it is unset, or empty, which means the same to whoever
 * writes NAME= before a command. */
const char *uly__environment(const char *name);

#endif
