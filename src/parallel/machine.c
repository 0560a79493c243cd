/* What the library makes of the machine that a process runs on. */
#include "comm/comm.h"
#include "comm/mesh.h"
#include "device/device.h"
#include "ops/ops.h"

const char *uly_kernels_name(void) { return uly__ops_get()->name; }

int uly_mesh_threads(const uly_mesh *mesh) {
  if (!mesh) return 0;
  return uly__device_threads(0, mesh->world ? uly__comm_node_size(mesh->world) : 1);
}
