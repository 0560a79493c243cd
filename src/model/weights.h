/* Sets the weights of a model from its master weights. */
#ifndef ULY_WEIGHTS_H
#define ULY_WEIGHTS_H

#include "model/model.h"
#include "model/states.h"

/* Sets the initial values of the master weights that this rank updates; moments are zero
 * already. */
uly_status uly__weights_init(const uly__model *model, uly__states *states, uint64_t seed);

/* Sets the weights from the master weights. Collective. */
uly_status uly__weights_from_master(const uly__model *model, uly__states *states);

#endif
