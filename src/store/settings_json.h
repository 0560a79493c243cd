/* The settings that a checkpoint records, in its trainer.json.
 *
 * A plain key in the table, such as "seed", is always written. A key in an object, such as
 * "attention.window", is left out if the setting has no effect or is off, so that a new setting in
 * the table does not change files that do not use it, and older files can still be read. */
#ifndef ULY_SETTINGS_JSON_H
#define ULY_SETTINGS_JSON_H

#include <jansson.h>

#include "ulysses.h"

/* Adds the settings to the object. */
void uly__settings_write_json(json_t *json, const uly_train_config *config);

/* Reads them from the object; all others get their defaults. The message of ULY_ERR_DATA names the
 * file, `path`, and the key. */
uly_status uly__settings_read_json(const json_t *json, const char *path, uly_train_config *config);

#endif
