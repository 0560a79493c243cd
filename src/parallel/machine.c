/* Finds out about the machine that a process runs on. */
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include "base/sized.h"
#include "comm/mesh.h"
#include "device/device.h"
#include "device/limits.h"
#include "device/process.h"
#include "ops/cpu.h"
#include "ops/ops.h"

const char *uly_kernels_name(void) { return uly__ops_get()->name; }

static int ranks_on_node(const uly_mesh *mesh) {
  return uly__group_node_size(uly__mesh_world(mesh));
}

int uly_mesh_threads(const uly_mesh *mesh) {
  return mesh ? uly__device_threads(0, ranks_on_node(mesh)) : 0;
}

uly_status uly_machine_look(const uly_mesh *mesh, uly_machine *machine) {
  ULY_TRY(uly__mesh_check(mesh));
  ULY_TRY(uly__sized_check(machine, "uly_machine"));
  uly__limits limits = uly__limits_read("");
  uly_machine found;
  /* This includes the gaps: programs compare machines byte by byte. */
  memset(&found, 0, sizeof found);
  found.memory = limits.memory;
  found.available = limits.available;
  found.memory_limit = limits.memory_limit;
  found.cpu_quota = limits.cpu_quota;
  found.hardware_threads = (int)sysconf(_SC_NPROCESSORS_ONLN);
  found.allowed_threads = found.hardware_threads;
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
    found.allowed_threads = CPU_COUNT(&allowed);
  found.ranks = ranks_on_node(mesh);
  found.threads = uly_mesh_threads(mesh);
  found.multiplies_bf16 = uly__products_multiply_bf16();
  found.hides_amx = uly__cpu_hides_amx();
  snprintf(found.kernels, sizeof found.kernels, "%s", uly_kernels_name());
  snprintf(found.best_kernels, sizeof found.best_kernels, "%s", uly__ops_best_name());
  snprintf(found.products, sizeof found.products, "%s", uly__products_isa());
  snprintf(found.unused, sizeof found.unused, "%s", uly__products_unused());
  uly__sized_write(machine, &found, sizeof found);
  return ULY_OK;
}
