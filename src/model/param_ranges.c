/* Walks the ranges of parameters that a rank holds: see param_ranges.h. A rank's unit holds whole
 * tensors, so an element's place in the unit is the tensor's offset plus the element's index; ZeRO
 * says which part of the unit the rank updates. */
#include "model/param_ranges.h"

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

uly__range_walk uly__param_ranges(const uly__params *params, const uly__zero *zero, int unit) {
  uly__range_walk walk = {.params = params, .zero = zero, .end = params->num};
  if (unit == ULY_ALL_UNITS) return walk;
  walk.param = params->units[unit].first;
  walk.end = walk.param + params->units[unit].num;
  return walk;
}

bool uly__range_next(uly__range_walk *walk, uly__range *range) {
  for (; walk->param < walk->end; walk->param++, walk->done = 0) {
    const uly__param *param = &walk->params->list[walk->param];
    uly__part held = {0, walk->params->units[param->unit].count}, owned = held;
    if (walk->zero) {
      held = uly__zero_updated(walk->zero, param->unit);
      owned = uly__zero_owned(walk->zero, param->unit);
    }
    int64_t begin = max64(param->offset + walk->done, held.begin);
    int64_t end = min64(param->offset + param->count, held.begin + held.count);
    if (begin >= end) continue;
    /* A range has one owner, and lies in one window of the unit. */
    bool is_owner = begin >= owned.begin && begin < owned.begin + owned.count;
    if (is_owner) end = min64(end, owned.begin + owned.count);
    if (begin < owned.begin) end = min64(end, owned.begin);
    end = min64(end, (begin / ULY_LARGEST_RANGE + 1) * ULY_LARGEST_RANGE);
    *range = (uly__range){param, begin - param->offset, begin, end - begin, is_owner};
    walk->done = end - param->offset;
    return true;
  }
  return false;
}
