/* Walks the ranges of parameters that a rank holds: see param_ranges.h. Tensor parallelism says
 * which rows and columns of a tensor are in a rank's unit, and ZeRO which part of the unit the rank
 * updates. */
#include "model/param_ranges.h"

#include "base/integers.h"

static bool is_whole_rows(const uly__param *param) {
  return param->num_dims == 1 || param->cols.count == param->dims[1];
}

/* Cuts a range of a tensor's local elements, [begin, end), where the elements that follow lie
 * elsewhere in the whole tensor, and where the ownership of rows changes. Sets where it lies in the
 * tensor, and whether tensor parallelism leaves it to this rank to count it. Returns the end. */
static int64_t cut_rows(const uly__param *param, int64_t begin, int64_t end, bool is_local,
                        uly__range *range) {
  int64_t cols = param->cols.count, row = begin / cols, stop = end;
  int64_t owned = param->owned.begin - param->rows.begin; /* the first owned row of mine */
  if (row < owned) stop = owned * cols;
  range->is_owner = row >= owned && row < owned + param->owned.count;
  if (range->is_owner) stop = (owned + param->owned.count) * cols;
  range->global = (param->rows.begin + row) * cols + begin % cols;
  if (!is_whole_rows(param)) {
    range->global = row * param->dims[1] + param->cols.begin + begin % cols;
    if (!is_local) stop = uly__min(stop, (row + 1) * cols);
  }
  return uly__min(end, stop);
}

uly__range_walk uly__param_ranges(const uly__params *params, const uly__zero *zero, int unit) {
  uly__range_walk walk = {.params = params, .zero = zero, .end = params->num};
  if (unit == ULY_ALL_UNITS) return walk;
  walk.param = params->units[unit].first;
  walk.end = walk.param + params->units[unit].num;
  return walk;
}

uly__range_walk uly__param_local_ranges(const uly__params *params, const uly__zero *zero,
                                        int unit) {
  uly__range_walk walk = uly__param_ranges(params, zero, unit);
  walk.is_local = true;
  return walk;
}

bool uly__range_next(uly__range_walk *walk, uly__range *range) {
  for (; walk->param < walk->end; walk->param++, walk->done = 0) {
    const uly__param *param = &walk->params->list[walk->param];
    uly__part held = {0, walk->params->units[param->unit].local_count}, owned = held;
    if (walk->zero) {
      held = uly__zero_updated(walk->zero, param->unit);
      owned = uly__zero_owned(walk->zero, param->unit);
    }
    int64_t offset = param->local_offset;
    int64_t begin = uly__max(offset + walk->done, held.begin);
    int64_t end = uly__min(offset + param->local_count, held.begin + held.count);
    if (begin >= end) continue;
    *range = (uly__range){.param = param, .local = begin};
    end = offset + cut_rows(param, begin - offset, end - offset, walk->is_local, range);
    /* A range has one owner, and lies in one window of the unit. */
    bool is_owner = begin >= owned.begin && begin < owned.begin + owned.count;
    if (is_owner) end = uly__min(end, owned.begin + owned.count);
    if (begin < owned.begin) end = uly__min(end, owned.begin);
    end = uly__min(end, (begin / ULY_LARGEST_RANGE + 1) * ULY_LARGEST_RANGE);
    range->count = end - begin;
    range->is_owner &= is_owner;
    walk->done = end - offset;
    return true;
  }
  return false;
}
