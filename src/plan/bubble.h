/* How long the stages of a pipeline are expected to wait for each other. */
#ifndef ULY_BUBBLE_H
#define ULY_BUBBLE_H

#include "plan/run.h"

/* Returns the part of the time of a step's passes, from 0 to 1, in which the stages idle: the mean
 * over the stages. Their schedules are played with the FLOPs of layers and head as time, and sending
 * takes none. Returns 0 without a pipeline, and -1 if there is no memory to find out. */
double uly__plan_bubble(const uly__run *run);

#endif
