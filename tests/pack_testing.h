/* Shared by the tests of packed documents: a stream of documents, and runs on it. */
#ifndef ULY_PACK_TESTING_H
#define ULY_PACK_TESTING_H

#include "testing.h"
#include "trainer_access.h"

/* Tokens of the streams: END ends documents; VOCAB is that of the models; window BLANK has no
 * label. */
enum { END = 7, VOCAB = 1200, N = 101, BLANK = 4, NUM_WINDOWS = 7, COUNT = NUM_WINDOWS * N + 1 };
enum { NUM_LABELLED = NUM_WINDOWS - 1 };

extern int size; /* number of ranks */
/* The configurations of the models, and the stream as a shard. */
extern char config_path[2][256], data_path[256];

/* Every token is its own place, so that values tell where they come from, but for the ends of
 * documents. */
extern int32_t stream[COUNT];

/* Begin and end a test of packed documents, as begin_ranks and end_ranks do. */
void begin_packs(int *argc, char ***argv);
int end_packs(int num_failed);

/* Writes an llm.c shard of the stream, as write_scratch_file does; header: its fourth number. */
void write_shard(char *path, const char *name, int32_t header);

/* A run on the stream; `which` selects its model. */
typedef struct setting {
  int which, dp, stage, reproducible;
  int64_t seq_len, batch, window;
  uly_sparse_pattern pattern;
  uly_recompute recompute;
  int pack;
} setting;

uly_train_config make_config(const setting *s);
uly_trainer *make(uly_mesh *mesh, const setting *s);

/* Returns a mesh of this rank alone. */
uly_mesh *alone(void);

#endif
