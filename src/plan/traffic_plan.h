/* Plans what a rank sends in a step. */
#ifndef ULY_TRAFFIC_PLAN_H
#define ULY_TRAFFIC_PLAN_H

#include "plan/run.h"

/* Counts the bytes that the collectives of a step send or, for a run that does not train, those of
 * an evaluation of one sequence. */
void uly__plan_traffic(const uly__run *run, int64_t bytes[ULY_NUM_TRAFFIC]);

#endif
