/* Settings of the environment. */
#ifndef ULY_BASE_ENVIRONMENT_H
#define ULY_BASE_ENVIRONMENT_H

/* Returns the value of a variable; NULL: it is unset or empty. An empty value means the same, as in
 * NAME= before a command. */
const char *uly__environment(const char *name);

#endif
