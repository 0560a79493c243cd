/* poison MODEL DATA SEQ_LEN OUT: makes a checkpoint in OUT of an untrained model whose embedding of
 * the byte 'Z' is NaN: a sequence with this byte in it has no finite loss. One process. */
#include <math.h>
#include <stdlib.h>

#include "testing.h"
#include "trainer_access.h"

int main(int argc, char **argv) {
  uly_mesh *mesh;
  uly_trainer *trainer;
  uly_train_config config = default_config();
  if (argc != 5 || uly_init(&argc, &argv) != ULY_OK) return 2;
  config.model = argv[1];
  config.data = argv[2];
  config.seq_len = strtoll(argv[3], NULL, 10);
  if (uly_mesh_create(NULL, &mesh) != ULY_OK ||
      uly_trainer_create(mesh, &config, &trainer) != ULY_OK)
    return 1;
  const uly__param *embed = &trainer->run.model->params.list[0];
  float *values = malloc((size_t)embed->count * sizeof *values);
  get_state(trainer, ULY_STATE_MASTER, 0, values);
  for (int64_t i = 0; i < embed->dims[1]; i++) values['Z' * embed->dims[1] + i] = NAN;
  set_weight(trainer, 0, values);
  free(values);
  uly_status status = uly_trainer_save(trainer, argv[4]);
  uly_trainer_destroy(trainer);
  uly_mesh_destroy(mesh);
  uly_finalize();
  return status == ULY_OK ? 0 : 1;
}
