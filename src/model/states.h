/* The states of training, f32: master weights and AdamW's two moments. A rank has those of the
 * parameters that it updates (model/param_ranges.h), in memory or, offloaded, in a file on local
 * disk that is read and written in windows of one range. In f32 training the weights themselves are
 * the master weights. A run that does not train has no moments, and keeps no master weights: in
 * bf16 a window of them, when it is unmapped, is rounded to the weights. */
#ifndef ULY_STATES_H
#define ULY_STATES_H

#include "model/param_ranges.h"

typedef enum uly__state {
  ULY_STATE_MASTER = 0,
  ULY_STATE_MOMENT1,
  ULY_STATE_MOMENT2,
  ULY_NUM_STATES
} uly__state;

typedef struct uly__states {
  const uly__zero *zero;
  uly_dtype dtype; /* of the weights */
  bool forward_only;
  int64_t count; /* places in each state */
  int num;       /* all, or master weights alone */
  bool offloaded;
  /* [count]; if they are offloaded or not kept: a window. Master NULL: the weights themselves. */
  float *data[ULY_NUM_STATES];
  int fd;     /* of the file; -1: none */
  char *path; /* for messages: the file has no name once it is open */
} uly__states;

/* Plans the states of weights of type dtype, on disk instead of in memory if they are offloaded;
 * opens nothing. */
void uly__states_init(uly__states *states, const uly__zero *zero, uly_dtype dtype,
                      bool forward_only, bool offloaded);
/* Carves the states from the optimizer's arena; and from scratch what is used while weights are
 * set, which is never in a pass. */
void uly__states_carve(uly__states *states, uly__arena *arenas);
/* Makes the file of offloaded states, with room for all of them, all zero. */
uly_status uly__states_open(uly__states *states, const char *path);
void uly__states_close(uly__states *states);

/* Maps a range of a state, which this rank updates: ops can read and change *window until unmap,
 * which writes it back. Only one window of a state is mapped at a time. */
uly_status uly__states_map(uly__states *states, uly__state which, const uly__range *range,
                           float **window);
uly_status uly__states_unmap(uly__states *states, uly__state which, const uly__range *range);

/* Reads a range for the host, while nothing changes it. buffer, [count], is used if the range is on
 * disk, or on a device with memory of its own. Any thread may call. */
uly_status uly__states_read(const uly__states *states, uly__state which, const uly__range *range,
                            float *buffer, const float **out);

#endif
