/* The CPU as a device. */
#ifndef ULY_DEVICE_CPU_H
#define ULY_DEVICE_CPU_H

#include "device/device_table.h"

const uly__device *uly__device_cpu(void);

#endif
