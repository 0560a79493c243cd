/* How long the stages of a pipeline are expected to wait for each other. */
#ifndef ULY_BUBBLE_H
#define ULY_BUBBLE_H

#include "plan/run.h"

/* Finds the part of the time of the passes, from 0 to 1, in which the stages idle: the mean over
 * the stages, or 0 without a pipeline. The schedules of a step are played, or those of the
 * sequences that an evaluation takes at a time, with the FLOPs of layers and head as time; sending
 * takes none. */
uly_status uly__plan_bubble(const uly__run *run, double *bubble);

#endif
