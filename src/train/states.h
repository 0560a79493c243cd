/* The states of training, f32: master weights and AdamW's two moments. A rank owns those of its
 * shards (ZeRO stage 0: all of them), in memory or, offloaded, in a file on local disk that is read
 * and written in windows. In f32 training the weights themselves are the master weights. A run that
 * does not train has no moments, and keeps no master weights: in bf16 a window of them, when it is
 * unmapped, is rounded to the weights. */
#ifndef ULY_STATES_H
#define ULY_STATES_H

#include "base/split.h"
#include "parallel/zero.h"

typedef enum uly__state {
  ULY_STATE_MASTER = 0,
  ULY_STATE_MOMENT1,
  ULY_STATE_MOMENT2,
  ULY_NUM_STATES
} uly__state;

/* Elements of the largest window. */
enum { ULY_STATE_WINDOW = 1 << 20 };

typedef struct uly__states {
  const uly__zero *zero;
  int64_t count; /* elements that this rank owns, of each state */
  int num;       /* all, or master weights alone */
  bool offloaded;
  /* [count]; if they are offloaded or not kept: a window. Master NULL: the weights themselves. */
  float *data[ULY_NUM_STATES];
  int fd;     /* of the file; -1: none */
  char *path; /* for messages: the file has no name once it is open */
} uly__states;

/* Plans the states; nothing is opened. offload: on disk instead of in memory. */
void uly__states_init(uly__states *states, const uly__zero *zero, bool offloaded);
/* Carves the states from the optimizer's arena; and from scratch what is used while weights are
 * set, which is never in a pass. */
void uly__states_carve(uly__states *states, uly__arena *arenas);
/* Makes the file of offloaded states, with room for all of them, all zero. */
uly_status uly__states_open(uly__states *states, const char *path);
void uly__states_close(uly__states *states);

/* Return the elements of a unit that this rank owns, and those that it writes to checkpoints (its
 * shard). */
uly__part uly__states_owned(const uly__zero *zero, int unit);
uly__part uly__states_shard(const uly__zero *zero, int unit);

/* Maps elements [begin, begin + count) of a unit's state, which this rank owns; count is at most
 * ULY_STATE_WINDOW. *window can be read and changed until unmap, which writes it back. Only one
 * window of a state is mapped at a time. */
uly_status uly__states_map(uly__states *states, uly__state which, int unit, int64_t begin,
                           int64_t count, float **window);
uly_status uly__states_unmap(uly__states *states, uly__state which, int unit, int64_t begin,
                             int64_t count);

/* Returns where this rank keeps the weight of an element of its shard. */
void *uly__states_weight(const uly__states *states, int unit, int64_t at);

/* Reads the same elements while nothing changes them; buffer [count] is used if they are on disk.
 * May run in another thread. */
uly_status uly__states_read(const uly__states *states, uly__state which, int unit, int64_t begin,
                            int64_t count, float *buffer, const float **out);

#endif
