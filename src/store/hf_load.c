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

static uly_status read_range(uly__hf_reader *reader, const uly__hf_place *place,
                             const uly__range *range, uly__states *states) {
  const uly__param *param = range->param;
  float *window;
  ULY_TRY(uly__states_map(states, ULY_STATE_MASTER, range, &window));
  ULY_TRY(uly__hf_read_range(reader, place, param->num_dims == 2 ? param->dims[1] : 1,
                             range->global, range->count, window));
  return uly__states_unmap(states, ULY_STATE_MASTER, range);
}

uly_status uly__hf_weights_read(const uly__hf_weights *weights, const uly__model *model,
                                uly__states *states) {
  uly__hf_reader reader;
  uly__range range;
  uly__range_walk walk = uly__param_ranges(&model->params, model->zero, ULY_ALL_UNITS);
  uly_status status =
      uly__hf_reader_create(weights->folder, model->ops, states->zero->stream, &reader);
  while (status == ULY_OK && uly__range_next(&walk, &range))
    status =
        read_range(&reader, &weights->places[range.param - model->params.list], &range, states);
  uly__hf_reader_destroy(&reader);
  return status;
}
