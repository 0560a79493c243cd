/* Lists the part of each parameter that a rank holds, as ranges of the whole tensors.
 *
 * Whatever reads or writes model states (initial values, the optimizer, the gradient norm, saving
 * and loading checkpoints) walks these ranges, and knows nothing else of how parameters are
 * divided:
 *
 *   uly__range range;
 *   uly__range_walk walk = uly__param_ranges(&model->params, model->zero, ULY_ALL_UNITS);
 *   while (uly__range_next(&walk, &range)) ...
 *
 * Ranges come in the order of the parameter table. */
#ifndef ULY_PARAM_RANGES_H
#define ULY_PARAM_RANGES_H

#include "model/params.h"
#include "parallel/zero.h"

/* The most elements of a range. A window of the states has room for as many. */
enum { ULY_LARGEST_RANGE = 1 << 20 };

typedef struct uly__range {
  const uly__param *param;
  int64_t global; /* first element, in the whole tensor */
  int64_t local;  /* the same element, in the unit as this rank holds it: see zero.h */
  int64_t count;
  /* Whether this rank owns the elements. If not, it updates them, but another rank counts and saves
   * them. */
  bool is_owner;
} uly__range;

typedef struct uly__range_walk {
  const uly__params *params;
  const uly__zero *zero;
  int param, end; /* the next tensor; the end */
  int64_t done;   /* its local elements already passed */
  bool is_local;  /* as uly__param_local_ranges says */
} uly__range_walk;

enum { ULY_ALL_UNITS = -1 };

/* Begins a walk over the ranges of a unit, or of all units, that this rank updates. With zero NULL
 * they are those of a rank that is alone. */
uly__range_walk uly__param_ranges(const uly__params *params, const uly__zero *zero, int unit);
/* Begins the same walk, with fewer ranges, for callers that need not know where in its tensor an
 * element is: `global` is then right only for the first element of a range. */
uly__range_walk uly__param_local_ranges(const uly__params *params, const uly__zero *zero, int unit);
/* Finds the next range; returns false if there is none. */
bool uly__range_next(uly__range_walk *walk, uly__range *range);

#endif
