#!/bin/bash
# Searches for files that crash the readers: runs libFuzzer on each target of tests/fuzz/, with the
# address, leak and undefined-behaviour sanitizers. Fails if it finds one.
#
#   scripts/fuzz.sh [SECONDS [TARGET...]]          600 seconds for each target, all targets
#   scripts/fuzz.sh --merge [TARGET...]            adds to tests/fuzz/corpus what was found since
#
#   JOBS=2           targets at once
#
# What a target learns stays in build/fuzz/corpus/TARGET, where the next run continues. A finding is
# build/fuzz/findings/TARGET-*: fix the reader, then add the file to tests/fuzz/corpus/TARGET under
# a short name, where the tests fuzz_corpus_* read it in each build.
set -euo pipefail
cd "$(dirname "$0")/.."

programs=build/fuzz/tests/fuzz
findings=build/fuzz/findings
tracked=tests/fuzz/corpus

# Inputs are small: a reader that takes 10 seconds or 1 GB for one has a defect.
limits=(-timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=1024 -detect_leaks=1)

all_targets() {
  find $programs -maxdepth 1 -name 'fuzz_*' -type f -perm -u+x | sed 's/.*fuzz_//' | sort
}

# run TARGET ARGUMENT...: runs a target with its limits, and with words of its format. The scratch
# files of a run that was ended are removed with their folder.
run() {
  local target=$1 scratch status=0 base=/tmp arguments=("${limits[@]}")
  shift
  case $target in
    token_file) arguments+=(-max_len=8192) ;; # a shard's header alone has 1024 bytes
    tokenizer) arguments+=(-max_len=8192) ;;  # 256 bytes need a token each
    *) arguments+=(-max_len=4096) ;;
  esac
  if [ -w /dev/shm ]; then base=/dev/shm; fi
  scratch=$(mktemp -d "${TMPDIR:-$base}/fuzz-XXXXXX")
  if [ -f "tests/fuzz/$target.dict" ]; then
    cp "tests/fuzz/$target.dict" "$scratch/dict"
    if [ "$target" = options_yaml ]; then # the keys of all options
      sed -n 's/^[a-z]*\.\([a-z0-9_]*\) .*/"  \1: "/p' tests/data/options.txt >>"$scratch/dict"
    fi
    arguments+=("-dict=$scratch/dict")
  fi
  TMPDIR=$scratch "$programs/fuzz_$target" "${arguments[@]}" "$@" || status=$?
  rm -rf "$scratch"
  return $status
}

# value NAME LOG: prints the last number that libFuzzer printed under this name, or 0 if it printed
# none.
value() { sed -n -e '1i 0' -e "s/.*$1[: ] *\([0-9][0-9]*\).*/\1/p" "$2" | tail -n 1; }

# Prints one line about a target; if it has a finding, the details are in its log.
fuzz_one() { # SECONDS TARGET
  local target=$2 log=build/fuzz/$2.log grown=build/fuzz/corpus/$2 status=0 start=$SECONDS found
  mkdir -p "$grown"
  run "$target" -max_total_time="$1" -print_final_stats=1 -artifact_prefix="$findings/$target-" \
    "$grown" "$tracked/$target" >"$log" 2>&1 || status=$?
  found="no findings"
  if [ $status -ne 0 ]; then
    found="FINDING: $(sed -n 's/.*Test unit written to //p' "$log") (see $log)"
  fi
  printf '%-14s %9s runs in %4d s, %4s edges and %5s features covered, %s\n' "$target" \
    "$(value stat::number_of_executed_units "$log")" $((SECONDS - start)) "$(value cov "$log")" \
    "$(value ft "$log")" "$found"
  return $status
}

# Adds inputs only for what the tracked ones do not cover. Their names are the beginnings of hashes.
merge_one() { # TARGET
  local target=$1 new=build/fuzz/merged/$1 file
  rm -rf "$new"
  mkdir -p "$new"
  cp "$tracked/$target"/* "$new"
  run "$target" -set_cover_merge=1 "$new" "build/fuzz/corpus/$target" >"build/fuzz/$target-merge.log" 2>&1
  for file in "$new"/*; do
    [ -e "$tracked/$target/${file##*/}" ] || cp "$file" "$tracked/$target/$(basename "$file" | cut -c 1-8)"
  done
  printf '%-14s %d files, %d bytes\n' "$target" "$(find "$tracked/$target" -type f | wc -l)" \
    "$(cat "$tracked/$target"/* | wc -c)"
}

case ${1-} in
  --one) # what xargs calls
    fuzz_one "$2" "$3"
    exit
    ;;
  -h | --help)
    sed -n '2,12s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
esac

scripts/configure.sh fuzz -DULY_WERROR=ON >/dev/null
cmake --build --preset fuzz
mkdir -p $findings build/fuzz/corpus

merge=no seconds=600
if [ "${1-}" = --merge ]; then
  merge=yes
  shift
elif [ $# -gt 0 ]; then
  seconds=$1
  shift
fi
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { echo "fuzz: '$seconds' is no number of seconds (try --help)" >&2; exit 2; }
mapfile -t targets < <(if [ $# -gt 0 ]; then printf '%s\n' "$@"; else all_targets; fi)
for target in "${targets[@]}"; do
  [ -x "$programs/fuzz_$target" ] || { echo "fuzz: there is no target '$target'" >&2; exit 2; }
done

if [ $merge = yes ]; then
  for target in "${targets[@]}"; do merge_one "$target"; done
else
  printf '%s\0' "${targets[@]}" | xargs -0 -n 1 -P "${JOBS:-2}" scripts/fuzz.sh --one "$seconds"
fi
