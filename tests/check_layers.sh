#!/bin/bash
# The dependency law of the tree, as a test:
#   - base <- device <- {ops, comm} <- parallel <- model <- store <- plan <- infer <- train, and
#     base <- tokenizer <- data <- store
#   - cli, bench and examples see only ulysses.h and headers of their own folder
#   - cli: job <- common <- commands <- options <- the other rooms, job <- common <- measure <- bench, doctor,
#     train; and plan <- train. The options of a command are seen by its own room and the table of options
#   - headers of MPI, oneDNN, CUDA and NCCL only in files named *_mpi, *_onednn, *_cuda, *_nccl
#   - src/ includes "room/file.h", "file.h" of the same room, or "ulysses.h": no other form
#   - no headers include each other in a circle
#   - OpenMP, and elements of tensors, only in ops and device; what other rooms copy and clear are
#     whole objects of the host
#   - every op of the kernel table takes its stream first
#   - only parallel/zero.c knows what a ZeRO stage means, only comm/mesh.c how ranks are numbered, and
#     only the files of Ulysses what its exchanges are
#   - the names of C files are unique in the tree
#
#   tests/check_layers.sh [ROOT]       checks the tree at ROOT (default: the one it lies in)
#   tests/check_layers.sh --self-test  checks that each breach, made in a small tree, is found
set -euo pipefail

# One line a file: its path, relative to the root. tests/ may include anything.
list_files() {
  local folder
  for folder in include src cli tests bench examples; do
    if [ -d "$folder" ]; then
      find "$folder" -type f \( -name '*.[ch]' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.inc' \)
    fi
  done | sort
}

# Reads the list; prints a line for each breach and a summary; fails when there is a breach.
check() {
  awk '
    BEGIN {
      may["base"] = "base"
      may["device"] = "base device"
      may["ops"] = "base device ops"
      may["comm"] = "base device comm"
      may["parallel"] = "base device ops comm parallel"
      may["model"] = "base device ops comm parallel model"
      may["tokenizer"] = "base tokenizer"
      may["data"] = "base tokenizer data"
      may["store"] = "base device ops comm parallel model tokenizer data store"
      may["plan"] = "base device ops comm parallel model tokenizer data store plan"
      may["infer"] = "base device ops comm parallel model tokenizer data store plan infer"
      may["train"] = "base device ops comm parallel model tokenizer data store plan infer train"
      cli_may["job"] = "job"
      cli_may["common"] = "job common"
      cli_may["commands"] = "job common commands"
      cli_may["options"] = "job common commands options"
      cli_may["measure"] = "job common measure"
      num = split("help export plan prepare tokenize report doctor launch bench checkpoint train use", room, " ")
      for (i = 1; i <= num; i++) cli_may[room[i]] = cli_may["options"] " " room[i]
      cli_may["bench"] = cli_may["bench"] " measure"
      cli_may["doctor"] = cli_may["doctor"] " measure"
      cli_may["train"] = cli_may["train"] " measure plan"
      owner["mpi.h"] = "mpi"; owner["nccl.h"] = "nccl"
    }

    function breach(path, line, text) {
      printf "%s:%d: %s\n", path, line, text
      num_breaches++
    }

    function contains(words, word) { return index(" " words " ", " " word " ") > 0 }

    # The backend that a header belongs to, or nothing.
    function backend(header, base) {
      if (header in owner) return owner[header]
      base = header
      sub(/.*\//, "", base)
      if (header ~ /^oneapi\// || base ~ /^dnnl[^\/]*\.h/) return "onednn"
      if (base ~ /^(cuda|cublas|cudnn|curand|nvml|nvrtc)[^\/]*\.h/) return "cuda"
      if (base in owner) return owner[base]
      return ""
    }

    function check_include(path, line, header, quoted,    folder, room, stem, other, owns) {
      num_includes++
      folder = path; sub(/\/.*/, "", folder)
      if (folder == "tests") return

      stem = path; sub(/.*\//, "", stem); sub(/\.[a-z]+$/, "", stem)
      owns = backend(header)
      if (owns != "" && stem !~ ("_" owns "$"))
        breach(path, line, "<" header "> belongs in files named *_" owns)
      if (header ~ /(^|\/)\.\.?(\/|$)/ || header ~ /^\//) {
        breach(path, line, "\"" header "\": a path that climbs; include \"room/file.h\"")
        return
      }
      if (header ~ /\/ulysses\.h$/ && !contains(known, "src/" header)) {
        breach(path, line, "\"" header "\": include \"ulysses.h\"")
        return
      }
      if (!quoted || owns != "") return
      if (header == "ulysses.h") {
        other = path; sub(/[^\/]*$/, "", other)
        if (folder == "src" && contains(known, other header))
          breach(path, line, "\"ulysses.h\" means " other header " here, not the public header")
        return
      }

      if (folder == "include") {
        breach(path, line, "\"" header "\": the public header includes system headers only")
      } else if (folder == "src") {
        room = path; sub(/^src\//, "", room); sub(/\/.*/, "", room)
        other = header
        if (index(other, "/") == 0) other = room "/" other
        if (!contains(known, "src/" other)) {
          breach(path, line, "\"" header "\": no such file in src/, nor beside this one")
          return
        }
        included[path] = included[path] " src/" other
        sub(/\/.*/, "", other)
        if (!contains(may[room], other))
          breach(path, line, "\"" header "\": " room " may include only: " may[room])
      } else if (folder == "cli") {
        if (!contains(known, "cli/" header)) {
          breach(path, line, "\"" header "\": cli sees only ulysses.h and its own headers")
          return
        }
        included[path] = included[path] " cli/" header
        room = path; sub(/^cli\//, "", room); sub(/\/.*/, "", room)
        other = header; sub(/\/.*/, "", other)
        if (header ~ /\/[a-z]+_options\.h$/) {
          if (other != room && path != "cli/options/options_table.c")
            breach(path, line, "\"" header "\": a room sees only the options of its own commands")
        } else if (room in cli_may && !contains(cli_may[room], other)) {
          breach(path, line, "\"" header "\": " room " may include only: " cli_may[room])
        }
      } else { # bench, examples
        other = path; sub(/[^\/]*$/, "", other)
        if (!contains(known, other header))
          breach(path, line, "\"" header "\": " folder " sees only ulysses.h and its own headers")
        included[path] = included[path] " " other header
      }
    }

    # Returns what a line is without its comments and the texts in it.
    function code_of(text,    at, end) {
      if (in_comment && (at = index(text, "*/")) == 0) return ""
      if (in_comment) text = substr(text, at + 2)
      in_comment = 0
      gsub(/\047(\\.|[^\047\\])\047/, "0", text)
      gsub(/"(\\.|[^"\\])*"/, "\"\"", text)
      while ((at = index(text, "/*")) > 0) {
        end = index(substr(text, at + 2), "*/")
        if (end == 0) in_comment = 1
        text = substr(text, 1, at - 1) " " (end ? substr(text, at + 3 + end) : "")
      }
      sub(/\/\/.*/, "", text)
      return text
    }

    # Elements of tensors belong to ops and device, and so do threads.
    function check_elements(path, line, text) {
      if (path !~ /^src\// || path ~ /^src\/(ops|device)\// || path == "src/base/dtype.h") return
      if (text ~ /#[ \t]*pragma[ \t]+omp/ || text ~ /[<"]omp\.h[>"]/)
        breach(path, line, "OpenMP belongs to ops and device")
      if (text ~ /uly__(load|store)\(/)
        breach(path, line, "elements of tensors belong to ops and device")
    }

    # Whoever else copies or clears bytes does it with one object, whose sizeof it says: a struct or a
    # list of the host. So no count of elements reaches memcpy, and no tensor does. base and data know
    # no tensors; two files of store copy members of settings, whose sizes stand in the table.
    function check_copies(path, line, code) {
      if (path !~ /^src\/(comm|parallel|model|store|plan|infer|train)\//) return
      if (path ~ /^src\/store\/(settings|checkpoint_info)\.c$/) return
      if (copying != "") copying = copying " " code
      else if (match(code, /(^|[^A-Za-z0-9_])mem(cpy|set|move)[ \t]*\(/))
        copying = substr(code, RSTART)
      if (index(copying, ";") == 0) return
      if (copying !~ /,[ \t]*sizeof[ (]+\*?[A-Za-z_][A-Za-z0-9_.>\[\]-]*\)?\);/)
        breach(path, line, "memcpy takes the sizeof of one object here: device copies tensors")
      copying = ""
    }

    # Looks for a stage, perhaps behind a path such as run->config, that is compared with a number, or
    # asked for.
    function check_stage(path, line, code,    stage, number, compared) {
      if (path !~ /^src\// || path ~ /^src\/(parallel\/zero|plan\/fit)\.c$/) return
      stage = "([A-Za-z0-9_]+(->|\\.))*[A-Za-z0-9_]*stage"
      number = "-?[A-Z0-9][A-Z0-9_]*"
      compared = "[ )]*([<>]=?|[=!]=)[ (]*"
      if (code ~ (stage compared number) ||
          code ~ ("(^|[^A-Za-z0-9_])" number compared stage "([^A-Za-z0-9_.(-]|$)") ||
          code ~ ("(if|while|switch) *\\( *" stage " *\\)") || code ~ (stage " *([?]|&&|[|][|])") ||
          code ~ ("(!|&&|[|][|]) *" stage " *([);?]|&&|[|][|])") || code ~ ("\\[" stage " *\\]"))
        breach(path, line, "what a ZeRO stage means is known to parallel/zero.c: ask its functions")
    }

    # Extents bear the names of axes, or are asked for; ranks, the usual ones.
    function check_ranks(path, line, code,    axis, extent, rank, start, end) {
      if (path !~ /^(src|cli)\// || path ~ /^src\/comm\/mesh\.[ch]$/) return
      gsub(/\((int|int64_t|size_t|double|long long)\)/, "", code)
      start = "(^|[^A-Za-z0-9_])"
      end = "([^A-Za-z0-9_.-]|$)"
      axis = "(num_)?(dp|sp|tp|pp|ring|ulysses)(_size|_ranks)?"
      extent = "(" axis "|uly_mesh_(dp|sp|tp)\\([^()]*\\)|uly__mesh_extent\\([^()]*\\))"
      rank = "([a-z_]*(rank|ranks|peer|place|index|size)|p|r|uly__?(mesh|group)_[a-z]+\\([^()]*\\))"
      if (code ~ (start extent " \\* ([A-Za-z0-9_]+(->|\\.))*" extent end))
        breach(path, line, "a product of extents: ask the mesh for the extent of a set of axes")
      else if (code ~ (start rank " [%\\/*] ([A-Za-z0-9_]+(->|\\.))*" extent end))
        breach(path, line, "arithmetic of ranks belongs to comm/mesh.c: ask it for an index")
    }

    function check_scheme(path, line, code) {
      if (path ~ /^src\/parallel\/(ulysses[a-z_]*|scheme_ulysses|explicit_attention)\.[ch]$/) return
      if (path !~ /^src\// || path == "src/comm/mesh.c") return
      if (code ~ /uly__ulysses_/ || code ~ /(->|\.)ulysses([^A-Za-z0-9_]|$)/)
        breach(path, line, "the exchanges of Ulysses are its own: use the functions of a scheme")
    }

    # Follows what headers include; one that leads back to a header on the way closes a circle.
    function follow(path, way,    i, num, others) {
      state[path] = "open"
      num = split(included[path], others, " ")
      for (i = 1; i <= num; i++) {
        if (state[others[i]] == "open")
          breach(path, 1, "headers include each other in a circle:" \
                          substr(way, index(way " ", " " others[i] " ")) " " others[i])
        else if (state[others[i]] == "")
          follow(others[i], way " " others[i])
      }
      state[path] = "closed"
    }

    # The kernel table declares an op on a line that begins with its type and its name.
    function check_op(path, line, text) {
      if (path != "src/ops/ops.h" || text !~ /^[a-z_0-9 ]+\(\*[a-z_0-9]+\)\(/) return
      if (text ~ /\(\*matmul_bytes\)/) return # computes nothing on a device
      if (text !~ /\)\(uly__stream \*stream[,)]/)
        breach(path, line, "an op takes the stream that it runs on as its first parameter")
    }

    { paths[++num_paths] = $0; known = known " " $0 }

    END {
      for (i = 1; i <= num_paths; i++) {
        path = paths[i]
        name = path; sub(/.*\//, "", name)
        # The scheme bears the name of the project; check_include keeps the two headers apart.
        if (name in first && name != "ulysses.h")
          breach(path, 1, "the name is taken by " first[name])
        else
          first[name] = path
        if (path ~ /^cli\//) {
          depth = split(path, part, "/")
          if (path != "cli/main.c" && (depth != 3 || !(part[2] in cli_may)))
            breach(path, 1, "not in a room of cli/")
        }
        if (path ~ /^src\//) {
          depth = split(path, part, "/")
          if (depth != 3 || !(part[2] in may))
            breach(path, 1, "not in a room: src/{base,device,ops,comm,parallel,model,tokenizer,data,store,plan,infer,train}/")
        }
        line = in_comment = 0
        copying = ""
        while ((status = (getline text < path)) > 0) {
          line++
          check_elements(path, line, text)
          check_op(path, line, text)
          code = code_of(text)
          check_copies(path, line, code)
          check_stage(path, line, code)
          check_ranks(path, line, code)
          check_scheme(path, line, code)
          if (text !~ /^[ \t]*#[ \t]*include[ \t]*["<]/) continue
          quoted = text ~ /include[ \t]*"/
          header = text
          sub(/^[^"<]*["<]/, "", header)
          sub(/[">].*/, "", header)
          check_include(path, line, header, quoted)
        }
        if (status < 0) breach(path, 1, "cannot be read")
        close(path)
      }
      for (i = 1; i <= num_paths; i++)
        if (state[paths[i]] == "") follow(paths[i], " " paths[i])
      if (num_paths == 0) { print "no C file found: nothing was checked"; exit 1 }
      printf "dependency law: %d files, %d includes, %d breaches\n", num_paths, num_includes,
             num_breaches
      exit num_breaches > 0
    }'
}

check_tree() { (cd "$1" && list_files | check); }

# A small tree that keeps the law.
make_good_tree() {
  mkdir -p "$1"/{include,cli/{bench,job,options,plan,train},tests,bench,examples} \
    "$1"/src/{base,device,ops,comm,parallel,model,tokenizer,data,store,plan,infer,train}
  (
    cd "$1"
    echo '#include <stdint.h>' | tee include/ulysses.h >src/base/base.h
    local room
    for room in base device ops comm parallel model tokenizer data store plan infer train; do
      if [ $room != base ]; then echo '#include "base/base.h"' >src/$room/$room.h; fi
      printf '#include "%s/%s.h"\n#include "%s.h"\n#include <stdio.h>\n' \
        $room $room $room >src/$room/$room.c
    done
    printf '  %s;\n' 'void (*fill)(uly__stream *stream, int64_t n, float *x)' \
      'int64_t (*matmul_bytes)(uly_dtype dtype, int threads)' >>src/ops/ops.h
    echo '#include "ulysses.h"' >src/base/status.h
    echo '#include "ops/ops.h"' >src/parallel/ulysses.h
    echo '#include "parallel/ulysses.h"' >src/parallel/ulysses.c
    echo '#include <mpi.h>' >src/comm/comm_mpi.c
    echo '#include <oneapi/dnnl/dnnl.h>' >src/ops/matmul_onednn.c
    printf '#include "model/model.h"\n#include "data/data.h"\n' >src/train/step.c
    printf '#include "options/options.h"\n#include "ulysses.h"\n' >cli/main.c
    echo '#include <stdio.h>' >cli/options/options.h
    printf '#include <mpi.h>\n#include "options/options.h"\n' >cli/bench/bench_mpi.c
    echo '#include "options/options.h"' | tee cli/plan/plan_options.h >cli/train/train_options.h
    echo '#include "ulysses.h"' | tee cli/plan/print.h >cli/job/signals.h
    printf '#include "%s"\n' train/train_options.h plan/print.h job/signals.h >cli/train/run.c
    printf '#include "%s"\n' train/train_options.h plan/plan_options.h >cli/options/options_table.c
    echo '#include <dnnl.h>' >cli/bench/ceiling_onednn.c
    printf '#include <mpi.h>\n#include "train/train.h"\n' >tests/test_step.c
    # What comes near to a breach.
    cat >>src/model/model.c <<'END'
/* memcpy(x, y, bytes); desc.stage == 3; index % sp,
 * dp * sp */ uly__stage *stage;
fail("config.zero_stage > 3; rank / sp: dp * sp ranks, \"uly__ulysses_x\"");
memset(report, 0, sizeof *report);
memcpy(a[i].dims, b->dims,
       sizeof b->dims[0]);
if (model->stage.first > 0 && uly__stage_embeds(model->stage)) config.zero_stage = 3;
int mine = heads / (sp * rounds) + batch / uly_mesh_dp(mesh), *dp = p * ulysses->num_rounds;
END
    echo 'if (desc.stage == 3) switch (zero->desc.stage) {' >src/parallel/zero.c
    echo 'int size = dp * sp, index = rank / sp;' >src/comm/mesh.c
    echo 'uly__ulysses_create(desc->ulysses);' >src/parallel/scheme_ulysses.c
    echo 'memcpy(values, rows, n * sizeof(float));' >>src/ops/ops.c
  )
}

num_cases=0
num_missed=0

# expect FILE LINE MESSAGE: a tree with this line added to this file must fail, and say this. $extra
# is another file of the tree, and what is in it.
extra=
expect() {
  local tree=$scratch/tree where=$1: output
  rm -rf "$tree"
  cp -r "$scratch/good" "$tree"
  mkdir -p "$(dirname "$tree/$1")"
  printf '%s\n' "$2" >>"$tree/$1"
  if [ -n "$extra" ]; then
    printf '%s\n' "${extra#* }" >"$tree/${extra%% *}"
    where= # either file
  fi
  num_cases=$((num_cases + 1))
  if output=$(check_tree "$tree"); then
    echo "not found: '$2' in $1"
    num_missed=$((num_missed + 1))
  elif [[ $output != *"$where"*"$3"* ]]; then
    printf "found, but not said: '%s' in %s, said:\n%s\n" "$2" "$1" "$output"
    num_missed=$((num_missed + 1))
  fi
}

# expect_lines FILE MESSAGE: the same of each line of the input.
expect_lines() {
  local line
  while IFS= read -r line; do expect "$1" "$line" "$2"; done
}

self_test() {
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  make_good_tree "$scratch/good"
  if ! check_tree "$scratch/good"; then
    echo "a tree that keeps the law was refused"
    exit 1
  fi
  if (mkdir "$scratch/empty" && check_tree "$scratch/empty") >/dev/null; then
    echo "an empty tree was accepted"
    exit 1
  fi

  # Each room against each room that it must not see.
  local room other below
  for room in base device ops comm parallel model tokenizer data store plan infer; do
    case $room in
      base) below="base" ;;
      tokenizer) below="base tokenizer" ;;
      data) below="base tokenizer data" ;;
      device) below="base device" ;;
      ops | comm) below="base device $room" ;;
      parallel) below="base device ops comm parallel" ;;
      model) below="base device ops comm parallel model" ;;
      store) below="base device ops comm parallel model tokenizer data store" ;;
      plan) below="base device ops comm parallel model tokenizer data store plan" ;;
      infer) below="base device ops comm parallel model tokenizer data store plan infer" ;;
    esac
    for other in base device ops comm parallel model tokenizer data store plan infer train; do
      [[ " $below " == *" $other "* ]] && continue
      expect "src/$room/$room.c" "#include \"$other/$other.h\"" "$room may include only"
    done
  done
  expect src/ops/ops.h '  #  include "comm/comm.h" /* hidden */' 'ops may include only'

  expect cli/main.c '#include "base/base.h"' 'cli sees only'
  expect examples/attention.c '#include "train/train.h"' 'examples sees only'
  expect bench/step.c '#include "ops/ops.h"' 'bench sees only'
  expect include/ulysses.h '#include "base/base.h"' 'system headers only'

  expect src/comm/comm.c '#include <mpi.h>' 'files named *_mpi'
  expect src/train/step.c '#include "mpi.h"' 'files named *_mpi'
  expect include/ulysses.h '#include <mpi.h>' 'files named *_mpi'
  expect cli/plan/plan_options.h '#include "train/train_options.h"' 'options of its own commands'
  expect cli/train/run.c '#include "plan/plan_options.h"' 'options of its own commands'
  expect cli/options/options.h '#include "plan/plan_options.h"' 'options of its own commands'
  expect cli/main.c '#include "plan/plan_options.h"' 'options of its own commands'
  expect cli/plan/print.h '#include "train/run.h"' 'cli sees only'
  expect cli/job/signals.h '#include "options/options.h"' 'job may include only: job'
  expect cli/plan/print.h '#include "bench/bench.h"' 'cli sees only'
  extra='cli/bench/bench.h #include "ulysses.h"'
  expect cli/plan/print.h '#include "bench/bench.h"' 'plan may include only'
  extra=
  expect cli/stray.c '' 'not in a room of cli/'
  expect cli/extra/extra.c '' 'not in a room of cli/'
  expect cli/main.c '#include <mpi.h>' 'files named *_mpi'
  expect cli/main.c '#include <dnnl.h>' 'files named *_onednn'
  expect cli/bench/bench_mpi.c '#include <dnnl.h>' 'files named *_onednn'
  expect cli/bench/bench_mpi.c '#include "comm/comm.h"' 'cli sees only'
  expect src/ops/ops.c '#include <dnnl.h>' 'files named *_onednn'
  expect src/ops/ops.c '#include <oneapi/dnnl/dnnl_types.h>' 'files named *_onednn'
  expect src/comm/comm_mpi.c '#include <dnnl_types.h>' 'files named *_onednn'
  expect src/device/device.c '#include <cuda_runtime.h>' 'files named *_cuda'
  expect src/comm/comm.c '#include <nccl.h>' 'files named *_nccl'

  expect src/parallel/parallel.c '#include "ulysses.h"' 'not the public header'
  expect src/base/base.c '#include "../../include/ulysses.h"' 'climbs'
  expect src/base/base.c '#include "../train/train.h"' 'climbs'
  expect cli/main.c '#include "../include/ulysses.h"' 'climbs'
  expect src/base/base.c '#include "include/ulysses.h"' 'include "ulysses.h"'
  expect cli/main.c '#include <include/ulysses.h>' 'include "ulysses.h"'
  expect src/model/model.c '#include "src/ops/ops.h"' 'no such file'
  expect src/model/model.c '#include "ops.h"' 'no such file'

  expect src/train/train.c '#pragma omp parallel for' 'OpenMP belongs to'
  expect src/base/base.c '  #  pragma  omp simd' 'OpenMP belongs to'
  expect src/model/model.c '#include <omp.h>' 'OpenMP belongs to'
  expect src/parallel/parallel.c 'float f(void *x) { return uly__load(x, 0, 0); }' 'elements of tensors'
  expect src/comm/comm.h 'uly__store(x, dtype, 0, 1.0f);' 'elements of tensors'

  expect_lines src/parallel/parallel.c 'sizeof of one object' <<'END'
memcpy(values, rows, (size_t)n * sizeof *rows);
memset(x, 0, sizeof(float) * n);
if (n) memmove(kept->qkv + at, qkv, plan->bytes); /* sizeof x */
END
  expect src/parallel/parallel.c 'memcpy(to, from,
       n * size);' 'sizeof of one object'
  local message='sizeof of one object'
  for room in comm model store plan infer train; do
    expect "src/$room/$room.h" 'memset(x, 0, bytes);' "$message"
  done

  expect_lines src/model/model.h 'what a ZeRO stage means' <<'END'
if (config->zero_stage >= 2) return;
bool all = 3 == run->config.zero_stage;
int shards = zero_stage > 1 ? n : 1;
switch (config->zero_stage) {
if (!zero->desc.stage) free(x);
return x && c->zero_stage;
int64_t bytes = by_stage[desc.stage];
if (zero_stage) return;
while (0 < desc.stage) n++;
END
  expect src/parallel/bulk.c 'if (z->desc.stage == 0) return;' 'what a ZeRO stage means'
  expect_lines src/train/train.c 'a product of extents' <<'END'
int ranks = uly_mesh_dp(mesh) * uly_mesh_sp(mesh);
int64_t all = (int64_t)dp * sp;
int all = uly_mesh_sp(mesh) * uly_mesh_tp(mesh);
int n = desc->sp * desc->dp;
x = tp * uly__mesh_extent(mesh, ULY_AXIS_DP);
x = num_sp * mesh.dp_size;
END
  expect_lines cli/main.c 'arithmetic of ranks' <<'END'
int place = rank % sp;
for (;;) f(p / uly_mesh_sp(mesh));
g = uly_mesh_rank(mesh) / mesh->dp;
int groups = uly_mesh_size(mesh) / sp;
to = dp_index * sp + i;
END
  expect src/parallel/seq_attention.c 'uly__ulysses_sent(u);' 'exchanges of Ulysses'
  expect src/infer/infer.h 'int rounds = plan->ulysses.num_rounds;' 'exchanges of Ulysses'

  expect src/model/model.h '#include "model/model.h"' 'circle: src/model/model.h src/model/model.h'
  extra='src/train/more.h #include "train/train.h"'
  expect src/train/train.h '#include "more.h"' 'circle: src/train/'
  extra='cli/options/more.h #include "options/options.h"'
  expect cli/options/options.h '#include "options/more.h"' 'circle: cli/'
  extra=

  expect src/ops/ops.h '  void (*square)(int64_t n, float *x);' 'takes the stream'
  expect src/ops/ops.h '  void (*adamw)(int64_t n, uly__stream *stream);' 'takes the stream'

  expect src/extra/extra.c '' 'not in a room'
  expect src/stray.c '' 'not in a room'
  expect src/ops/fast/kernel.c '' 'not in a room'
  expect src/train/main.c '' 'taken by cli/main.c'
  expect tests/step.c '' 'taken by src/train/step.c'

  echo "self-test: $num_cases breaches made, $num_missed missed"
  [ $num_missed -eq 0 ]
}

case ${1:-} in
  --self-test) self_test ;;
  -*)
    sed -n '2,18s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
  *) check_tree "${1:-$(dirname "$0")/..}" ;;
esac
