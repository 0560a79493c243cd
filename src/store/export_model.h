/* Exports models to Hugging Face folders. The contract is that of uly_export. */
#ifndef ULY_EXPORT_MODEL_H
#define ULY_EXPORT_MODEL_H

#include "base/status.h"

uly_export_config uly__export_config_default(void);
uly_status uly__export(const uly_export_config *config, uly_export_report *report);

#endif
