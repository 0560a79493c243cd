/* The settings that a checkpoint records, in its trainer.json.
 *
 * Where the table has a plain key, as "seed", that is always there. A key in an object, as
 * "attention.window", is left out where the setting has no effect or is none, so that a setting
 * that is new in the table changes no file that does not use it, and older files can be read. */
#ifndef ULY_SETTINGS_JSON_H
#define ULY_SETTINGS_JSON_H

#include <jansson.h>

#include "ulysses.h"

/* Adds the settings to the object. */
void uly__settings_write_json(json_t *json, const uly_train_config *config);

/* Reads them from the object; all others get their defaults. ULY_ERR_DATA names the file, `path`,
 * and the key. */
uly_status uly__settings_read_json(const json_t *json, const char *path, uly_train_config *config);

#endif
