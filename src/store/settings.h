/* The settings of a run: one table, in which every member of uly_train_config has a row, and what
 * follows from it: defaults, checks, the copying of texts, and what the ranks must pass alike.
 * Checkpoints (checkpoint_format.c, checkpoint_info.c) and the options of the program, which reads
 * uly_settings, follow from it too. */
#ifndef ULY_SETTINGS_H
#define ULY_SETTINGS_H

#include <stdbool.h>

#include "ulysses.h"

/* Returns the defaults. */
uly_train_config uly__train_config_default(void);

extern const uly_setting uly__settings[];
extern const int uly__num_settings;

/* Return and store the value of a setting in a configuration. */
uly_setting_value uly__setting_get(const uly_setting *s, const uly_train_config *config);
void uly__setting_put(const uly_setting *s, uly_train_config *config, uly_setting_value value);

/* Returns whether the setting that this one needs, if any, is given. */
bool uly__setting_has_effect(const uly_setting *s, const uly_train_config *config);

/* Returns whether the value lies in the range of the setting, and describes that range, as in
 * "from 1 to 4096" or "from 0 to below 1". */
bool uly__setting_allows(const uly_setting *s, uly_setting_value value);
enum { ULY_RANGE_TEXT = 128 };
void uly__setting_range(const uly_setting *s, char text[ULY_RANGE_TEXT]);

/* Refuses settings of these uses (bits of uly_setting_use) that are out of range, or are set but
 * have no effect. */
uly_status uly__settings_check(const uly_train_config *config, unsigned uses);

/* Copies the settings of these uses. */
void uly__settings_take(uly_train_config *to, const uly_train_config *from, unsigned uses);

/* Replaces the texts with copies, all of which must be freed, even after a failure. */
uly_status uly__settings_copy_texts(uly_train_config *config);
void uly__settings_free_texts(uly_train_config *config);

/* Fails on all ranks if they do not pass a setting of these uses alike that they must, and names
 * the first such setting. Collective. */
uly_status uly__settings_same(const uly_mesh *mesh, const uly_train_config *config, unsigned uses);

#endif
