#!/bin/bash
# The dependency law of the tree, as a test:
#   - base <- device <- {ops, comm} <- parallel <- model <- store <- plan <- infer <- train, base <- data <- store
#   - cli, bench and examples see only ulysses.h and headers of their own folder
#   - headers of MPI, oneDNN, CUDA and NCCL only in files named *_mpi, *_onednn, *_cuda, *_nccl
#   - src/ includes "room/file.h", "file.h" of the same room, or "ulysses.h": no other form
#   - OpenMP, and elements of tensors, only in ops and device
#   - every op of the kernel table takes its stream first
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
      find "$folder" -type f \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' -o -name '*.inc' \)
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
      may["data"] = "base data"
      may["store"] = "base device ops comm parallel model data store"
      may["plan"] = "base device ops comm parallel model data store plan"
      may["infer"] = "base device ops comm parallel model data store plan infer"
      may["train"] = "base device ops comm parallel model data store plan infer train"
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
        sub(/\/.*/, "", other)
        if (!contains(may[room], other))
          breach(path, line, "\"" header "\": " room " may include only: " may[room])
      } else { # cli, bench, examples
        other = path; sub(/[^\/]*$/, "", other)
        if (!contains(known, other header))
          breach(path, line, "\"" header "\": " folder " sees only ulysses.h and its own headers")
      }
    }

    # Elements of tensors belong to ops and device, and so do threads.
    function check_elements(path, line, text) {
      if (path !~ /^src\// || path ~ /^src\/(ops|device)\// || path == "src/base/dtype.h") return
      if (text ~ /#[ \t]*pragma[ \t]+omp/ || text ~ /[<"]omp\.h[>"]/)
        breach(path, line, "OpenMP belongs to ops and device")
      if (text ~ /uly__(load|store)\(/)
        breach(path, line, "elements of tensors belong to ops and device")
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
        if (path ~ /^src\//) {
          depth = split(path, part, "/")
          if (depth != 3 || !(part[2] in may))
            breach(path, 1, "not in a room: src/{base,device,ops,comm,parallel,model,data,store,plan,infer,train}/")
        }
        line = 0
        while ((status = (getline text < path)) > 0) {
          line++
          check_elements(path, line, text)
          check_op(path, line, text)
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
      if (num_paths == 0) { print "no C file found: nothing was checked"; exit 1 }
      printf "dependency law: %d files, %d includes, %d breaches\n", num_paths, num_includes,
             num_breaches
      exit num_breaches > 0
    }'
}

check_tree() { (cd "$1" && list_files | check); }

# A small tree that keeps the law.
make_good_tree() {
  mkdir -p "$1"/{include,cli,tests,bench,examples} \
    "$1"/src/{base,device,ops,comm,parallel,model,data,store,plan,infer,train}
  (
    cd "$1"
    echo '#include <stdint.h>' >include/ulysses.h
    local room
    for room in base device ops comm parallel model data store plan infer train; do
      printf '#include "base/base.h"\n' >src/$room/$room.h
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
    printf '#include "options.h"\n#include "ulysses.h"\n' >cli/main.c
    echo '#include <stdio.h>' >cli/options.h
    printf '#include <mpi.h>\n#include "options.h"\n' >cli/bench_mpi.c
    echo '#include <dnnl.h>' >cli/ceiling_onednn.c
    printf '#include <mpi.h>\n#include "train/train.h"\n' >tests/test_step.c
    echo '#include <ulysses.h>' >examples/attention.c
  )
}

num_cases=0
num_missed=0

# expect FILE LINE MESSAGE: a tree with this line added to this file must fail, and say this.
expect() {
  local tree=$scratch/tree output
  rm -rf "$tree"
  make_good_tree "$tree"
  mkdir -p "$(dirname "$tree/$1")"
  printf '%s\n' "$2" >>"$tree/$1"
  num_cases=$((num_cases + 1))
  if output=$(check_tree "$tree"); then
    echo "not found: '$2' in $1"
    num_missed=$((num_missed + 1))
  elif [[ $output != *"$1:"*"$3"* ]]; then
    printf "found, but not said: '%s' in %s, said:\n%s\n" "$2" "$1" "$output"
    num_missed=$((num_missed + 1))
  fi
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
  for room in base device ops comm parallel model data store plan infer; do
    case $room in
      base) below="base" ;;
      data) below="base data" ;;
      device) below="base device" ;;
      ops | comm) below="base device $room" ;;
      parallel) below="base device ops comm parallel" ;;
      model) below="base device ops comm parallel model" ;;
      store) below="base device ops comm parallel model data store" ;;
      plan) below="base device ops comm parallel model data store plan" ;;
      infer) below="base device ops comm parallel model data store plan infer" ;;
    esac
    for other in base device ops comm parallel model data store plan infer train; do
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
  expect cli/main.c '#include <mpi.h>' 'files named *_mpi'
  expect cli/main.c '#include <dnnl.h>' 'files named *_onednn'
  expect cli/bench_mpi.c '#include <dnnl.h>' 'files named *_onednn'
  expect cli/bench_mpi.c '#include "comm/comm.h"' 'cli sees only'
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
    sed -n '2,10s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
  *) check_tree "${1:-$(dirname "$0")/..}" ;;
esac
