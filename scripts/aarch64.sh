#!/bin/bash
# Shows that the program also builds and runs on a CPU of another kind. On an x86-64 Debian 12 it
# builds for aarch64 with Debian's cross compiler, and lets qemu-user run
#   - the unit tests, and the tests of the exchange and of attention on 2 ranks
#   - 10 steps of training in f32, on 1 rank and on 2, whose losses must be those of the x86-64 build
#     to within 1e-5
# It installs what is missing (as root). The libraries for arm64 are unpacked into a folder, so that
# the machine's own packages stay as they are.
#
#   scripts/aarch64.sh
#
#   QEMU_CPU=NAME   the CPU that qemu plays: neoverse-n1 by default, which has NEON and no SVE
#   JOBS=N          tests and compilers at a time; one for each core by default
#
# build/aarch64 has the build, build/aarch64-sysroot the libraries, build/aarch64-runs the losses.
set -euo pipefail
export LC_ALL=C

fail() {
  echo "aarch64: $*" >&2
  exit 1
}

case ${1:-} in
  -h | --help)
    sed -n '2,15s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
esac
cd "$(dirname "$0")/.."
[ "$(uname -m)" = x86_64 ] || fail "this machine is no x86-64: use make test here"
command -v dpkg-deb >/dev/null || fail "this is no Debian, whose libraries for arm64 are needed"

export QEMU_CPU=${QEMU_CPU:-neoverse-n1}
jobs=${JOBS:-$(nproc)}
sysroot=$PWD/build/aarch64-sysroot
runs=build/aarch64-runs
tolerance=1e-5
packages=(libc6-dev libopenmpi-dev libdnnl-dev libjansson-dev libcyaml-dev libyaml-dev
  libhwloc-dev libxxhash-dev librandom123-dev libpcre2-dev libutf8proc-dev
  libsentencepiece-dev libcmocka-dev)

# say TEXT: what comes next, and how long everything has taken so far.
say() { printf '\n==== aarch64: %s (%d s)\n' "$*" $SECONDS; }

# ---------------------------------------------------------------- libraries for arm64

# apt FOLDER COMMAND...: apt-get for a machine of arm64 on which nothing is installed yet. Of this
# machine it uses the sources and their keys alone.
apt() {
  local folder=$1
  shift
  apt-get -q -y -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root \
    -o Dir::State="$folder" -o Dir::State::status="$folder/status" -o Dir::Cache="$folder" \
    -o Acquire::Languages=none "$@"
}

# Unpacks the packages and all that they need. What their scripts would do after an installation is
# not done: nothing here depends on it.
make_sysroot() {
  local folder=$sysroot.new/apt package
  rm -rf "$sysroot.new"
  mkdir -p "$folder/lists/partial" "$folder/archives/partial" "$sysroot.new/root"
  : >"$folder/status"
  apt "$folder" update
  apt "$folder" --no-install-recommends --download-only install "${packages[@]}"
  for package in "$folder"/archives/*.deb; do
    dpkg-deb -x "$package" "$sysroot.new/root"
  done
  mv "$sysroot.new/root" "$sysroot"
  rm -rf "$sysroot.new"
}

# ---------------------------------------------------------------- the same training on both

# train NAME RANKS PROGRAM...: 10 steps of a small Llama on this tree's own texts.
train() {
  local out=$runs/$1 ranks=$2
  shift 2
  tests/own_tmpdir.sh mpirun.openmpi -n "$ranks" --bind-to none --oversubscribe "$@" train \
    --model $runs/model.json --seq-len 256 --data $runs/text.txt --steps 10 --lr 0.003 --warmup 2 \
    --dtype f32 --seed 1 --threads 1 --no-measure-peak --out "$out" >"$out.log" ||
    fail "the training $out failed: see $out.log"
}

# losses NAME: of its steps, one a line.
losses() { sed -n 's/.*"loss": *\([-+0-9.eE]*\).*/\1/p' "$runs/$1/metrics.jsonl"; }

# compare RANKS: prints the losses side by side. Fails if there are not 10 of each, or if they differ.
compare() {
  printf '\n%s rank%s: loss of each step\n  %-14s %-14s %s\n' "$1" "$([ "$1" = 1 ] || echo s)" \
    x86-64 aarch64 difference
  paste <(losses "x86-64-$1") <(losses "aarch64-$1") | awk -v tolerance=$tolerance '
    {
      difference = $1 - $2
      if (difference < 0) difference = -difference
      if (NF != 2 || !(difference <= tolerance)) is_wrong = 1
      if (difference > largest) largest = difference
      printf "  %-14s %-14s %.1e\n", $1, $2, difference
    }
    END {
      printf "  the largest difference is %.1e, of the %g that are allowed\n", largest, tolerance
      exit is_wrong || NR != 10
    }'
}

# ---------------------------------------------------------------- all of it

scripts/install-deps.sh --aarch64
if [ ! -d "$sysroot" ]; then
  say "unpacking libraries for arm64 into ${sysroot#"$PWD/"}"
  make_sysroot
fi

say "building for x86-64 and for aarch64"
scripts/configure.sh release
cmake --build --preset release --parallel "$jobs" --target ulysses-bin
scripts/configure.sh aarch64 -DULY_WERROR=ON
cmake --build --preset aarch64 --parallel "$jobs"

# qemu-user knows no process_vm_readv, by which ranks of Open MPI would read each other's memory.
export OMPI_MCA_btl_vader_single_copy_mechanism=none
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

say "unit tests on $QEMU_CPU, then exchange and attention on 2 ranks"
ctest --preset aarch64 -L unit -j "$jobs"
ctest --preset aarch64 -R '^(exchange|attention)_2$'

say "what doctor says there"
tests/own_tmpdir.sh mpirun.openmpi -n 2 --bind-to none --oversubscribe \
  build/aarch64/tests/start/ulysses-bin doctor

say "10 steps on both, on 1 rank and on 2"
rm -rf $runs
mkdir -p $runs
cat README.md docs/*.md include/ulysses.h >$runs/text.txt
cat >$runs/model.json <<'JSON'
{"model_type": "llama", "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2,
 "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 257, "max_position_embeddings": 4096}
JSON
failed=no
for ranks in 1 2; do
  train x86-64-$ranks $ranks build/release/ulysses
  train aarch64-$ranks $ranks build/aarch64/tests/start/ulysses-bin
  compare $ranks || failed=yes
done
[ $failed = no ] || fail "the losses differ by more than $tolerance"
say "all as on x86-64"
