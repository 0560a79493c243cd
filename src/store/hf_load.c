/* Loads weights: see hf_load.h. */
#include "store/hf_load.h"

#include <stdlib.h>

#include "device/device.h"

struct uly__hf_weights {
  uly__hf_folder *folder;
  uly__hf_place *places; /* [params->num] */
};

uly_status uly__hf_weights_open(const char *dir, const uly__model_config *config,
                                const uly__params *params, uly__hf_weights **out) {
  uly__hf_weights *weights = calloc(1, sizeof *weights);
  *out = weights;
  if (!weights) ULY_FAIL(ULY_ERR_MEMORY, "no memory for reading the folder '%s'", dir);
  weights->places = calloc((size_t)params->num, sizeof *weights->places);
  ULY_TRY(uly__check_memory(weights->places, "the places of all tensors"));
  ULY_TRY(uly__hf_folder_open(dir, &weights->folder));
  return uly__hf_find_places(weights->folder, config, params, weights->places);
}

void uly__hf_weights_close(uly__hf_weights *weights) {
  if (!weights) return;
  uly__hf_folder_close(weights->folder);
  free(weights->places);
  free(weights);
}

const uly__hf_folder *uly__hf_weights_folder(const uly__hf_weights *weights) {
  return weights->folder;
}

const uly__hf_place *uly__hf_weights_places(const uly__hf_weights *weights) {
  return weights->places;
}

/* Two walks over the same ranges: the system reads ahead what the first comes to, while what the
 * second comes to is converted. */
typedef struct loading {
  const uly__hf_weights *weights;
  const uly__params *params;
  uly__hf_reader reader;
  uly__range_walk ahead, walk;
  int64_t lead; /* elements between them */
} loading;

/* How far the first walk is ahead, in elements. */
enum { LEAD = 16 << 20 };

static const uly__hf_place *place_of(const loading *l, const uly__range *range) {
  return &l->weights->places[range->param - l->params->list];
}

static int64_t cols_of(const uly__range *range) {
  return range->param->num_dims == 2 ? range->param->dims[1] : 1;
}

static void look_ahead(loading *l) {
  uly__range range;
  while (l->lead < LEAD && uly__range_next(&l->ahead, &range)) {
    uly__hf_expect_range(&l->reader, place_of(l, &range), cols_of(&range), range.global,
                         range.count);
    l->lead += range.count;
  }
}

static uly_status read_range(loading *l, const uly__range *range, uly__states *states) {
  float *window;
  ULY_TRY(uly__states_map(states, ULY_STATE_MASTER, range, &window));
  ULY_TRY(uly__hf_read_range(&l->reader, place_of(l, range), cols_of(range), range->global,
                             range->count, window));
  l->lead -= range->count;
  return uly__states_unmap(states, ULY_STATE_MASTER, range);
}

static uly_status read_all(loading *l, uly__states *states) {
  uly__range range;
  look_ahead(l);
  while (uly__range_next(&l->walk, &range)) {
    ULY_TRY(read_range(l, &range, states));
    look_ahead(l);
  }
  return ULY_OK;
}

uly_status uly__hf_weights_read(const uly__hf_weights *weights, const uly__model *model,
                                uly__states *states) {
  uly__range_walk begin = uly__param_ranges(&model->params, model->zero, ULY_ALL_UNITS);
  loading l = {.weights = weights, .params = &model->params, .ahead = begin, .walk = begin};
  uly_status status =
      uly__hf_reader_create(weights->folder, model->ops, states->zero->stream, &l.reader);
  if (status == ULY_OK) status = read_all(&l, states);
  uly__hf_reader_destroy(&l.reader);
  return status;
}
