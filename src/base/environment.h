/* Reads settings from the environment. */
#ifndef ULY_BASE_ENVIRONMENT_H
#define ULY_BASE_ENVIRONMENT_H

/* Returns the value of a variable, or NULL if it is unset or empty: NAME= before a command means
 * the same as no NAME. */
const char *uly__environment(const char *name);

#endif
