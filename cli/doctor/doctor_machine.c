/* Collects what a rank can find out about its machine and itself. hwloc knows the topology. */
#include <errno.h>
#include <hwloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "doctor/doctor.h"
#include "job/starter.h"

static void copy_text(char to[DOCTOR_TEXT], const char *from) {
  snprintf(to, DOCTOR_TEXT, "%s", from ? from : "unknown");
}

static int count(hwloc_topology_t topology, hwloc_obj_type_t type) {
  int num = hwloc_get_nbobjs_by_type(topology, type);
  return num > 0 ? num : 0;
}

static void look_at_topology(doctor_facts *facts) {
  struct doctor_machine *machine = &facts->machine;
  hwloc_topology_t topology;
  if (hwloc_topology_init(&topology) != 0) return;
  if (hwloc_topology_load(topology) == 0) {
    hwloc_obj_t all = hwloc_get_root_obj(topology),
                cpu = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PACKAGE, 0);
    copy_text(machine->cpu, hwloc_obj_get_info_by_name(cpu ? cpu : all, "CPUModel"));
    machine->packages = count(topology, HWLOC_OBJ_PACKAGE);
    machine->numa_nodes = count(topology, HWLOC_OBJ_NUMANODE);
    machine->cores = count(topology, HWLOC_OBJ_CORE);
    machine->hardware_threads = count(topology, HWLOC_OBJ_PU);
    hwloc_bitmap_t bound = hwloc_bitmap_alloc();
    if (bound && hwloc_get_cpubind(topology, bound, HWLOC_CPUBIND_PROCESS) == 0)
      hwloc_bitmap_list_snprintf(facts->allowed, sizeof facts->allowed, bound);
    hwloc_bitmap_free(bound);
  }
  hwloc_topology_destroy(topology);
}

/* Lists the instruction sets that the kernels are compiled for. */
static void look_at_instructions(char text[DOCTOR_TEXT]) {
#if defined(__x86_64__)
  static const char *const separators[] = {"", " "};
  const struct {
    const char *name;
    bool is_there;
  } sets[] = {{"avx2", __builtin_cpu_supports("avx2")},
              {"fma", __builtin_cpu_supports("fma")},
              {"avx512f", __builtin_cpu_supports("avx512f")},
              {"avx512bw", __builtin_cpu_supports("avx512bw")},
              {"avx512dq", __builtin_cpu_supports("avx512dq")},
              {"avx512vl", __builtin_cpu_supports("avx512vl")},
              {"avx512bf16", __builtin_cpu_supports("avx512bf16")}};
  size_t used = 0;
  for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
    if (!sets[i].is_there) continue;
    used += (size_t)snprintf(text + used, DOCTOR_TEXT - used, "%s%s", separators[used > 0],
                             sets[i].name);
  }
  if (used == 0) copy_text(text, "none beyond x86-64");
#elif defined(__aarch64__)
  copy_text(text, "asimd"); /* NEON, as Linux calls it */
#else
  copy_text(text, "the compiler's default");
#endif
}

/* Returns the word in brackets of "always [madvise] never". */
static void look_at_huge_pages(char text[DOCTOR_TEXT]) {
  char line[DOCTOR_TEXT] = "";
  FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
  if (file && !fgets(line, sizeof line, file)) line[0] = '\0';
  if (file) fclose(file);
  char *begin = strchr(line, '['), *end = begin ? strchr(begin, ']') : NULL;
  if (end) *end = '\0';
  copy_text(text, end ? begin + 1 : NULL);
}

static int64_t find_free(const char *path) {
  struct statvfs info;
  return statvfs(path, &info) == 0 ? (int64_t)info.f_bavail * (int64_t)info.f_frsize : -1;
}

static int try_to_write(const char *folder) {
  char path[DOCTOR_TEXT + 32];
  snprintf(path, sizeof path, "%s/ulysses-doctor-XXXXXX", folder);
  int fd = mkstemp(path);
  if (fd < 0) return errno;
  ssize_t written = write(fd, path, sizeof path);
  int error = written < 0 ? errno : written < (ssize_t)sizeof path ? ENOSPC : 0;
  close(fd);
  (void)unlink(path);
  return error;
}

void doctor_look(doctor_facts *facts, const uly_mesh *world) {
  struct doctor_machine *machine = &facts->machine;
  struct rlimit locked;
  if (gethostname(facts->host, sizeof facts->host - 1) != 0) copy_text(facts->host, NULL);
  doctor_look_at_names(facts);
  look_at_topology(facts);
  look_at_instructions(machine->instructions);
  look_at_huge_pages(machine->huge_pages);
  starter_mpi_name(machine->mpi, sizeof machine->mpi);
  doctor_onednn_version(machine->onednn);
  facts->system.size = sizeof facts->system;
  (void)uly_machine_look(world, &facts->system);
  machine->memory = facts->system.memory;
  machine->memory_limit = facts->system.memory_limit;
  machine->cpu_quota = facts->system.cpu_quota;
  bool is_limited = getrlimit(RLIMIT_MEMLOCK, &locked) == 0 && locked.rlim_cur != RLIM_INFINITY;
  machine->locked_limit = is_limited ? (int64_t)locked.rlim_cur : -1;
  machine->has_infiniband = access("/sys/class/infiniband", F_OK) == 0;
  const char *tmp = getenv("TMPDIR");
  copy_text(machine->tmp, tmp && *tmp ? tmp : "/tmp");
  facts->tmp_error = try_to_write(machine->tmp);
  facts->tmp_free = find_free(machine->tmp);
  facts->shm_free = find_free("/dev/shm");
  copy_text(facts->kernels, uly_kernels_name());
  facts->threads = facts->system.threads;
  CPU_ZERO(&facts->allowed_set);
  (void)sched_getaffinity(0, sizeof facts->allowed_set, &facts->allowed_set);
}
