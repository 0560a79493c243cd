#!/bin/bash
# Tests that the checkpoint after STEPS steps has the same SHA-256 on every mesh, with 1 and 2
# threads, at every ZeRO stage and recompute policy, and across a run that changes its ranks twice
# in between.
#
#   tests/soak/same_bits.sh PROGRAM      STEPS=50 by default
ulysses=$(realpath "${1:?usage: $0 PROGRAM}")
steps=${STEPS:-50}
. "$(dirname "$(realpath "$0")")/common.sh"

policies=(none keep-attention full)
expected=
runs=0

# compare FOLDER WHAT: the first run sets what the others must give.
compare() {
  local found
  found=$(bits "$1")
  expected=${expected:-$found}
  printf '%s  %s\n' "$found" "$2"
  [ "$found" = "$expected" ] || fail "other bits than the first run: $2"
  rm -rf "$1"
  runs=$((runs + 1))
}

last=$(printf 'step-%010d' "$steps")
for mesh in 1x1 1x2 2x1 1x4 2x2 4x1 1x8 2x4; do
  dp=${mesh%x*} sp=${mesh#*x}
  for stage in 0 1 2 3; do
    threads=$((1 + runs % 2)) recompute=${policies[runs % 3]}
    train $((dp * sp)) $threads --dp "$dp" --sp "$sp" --zero $stage --recompute "$recompute" \
      --steps "$steps" --out out >log || { cat log; fail "dp $dp x sp $sp, stage $stage failed"; }
    compare "out/$last" "dp $dp x sp $sp, stage $stage, $threads threads, recompute $recompute"
  done
done

# Half the steps of each part are not its own: stop in the middle, go on elsewhere.
third=$((steps / 3))
train 2 1 --sp 2 --zero 3 --steps "$steps" --save-every $third --out part1 >log
rm -rf "part1/$last" && mkdir out2 && mv "part1/$(printf 'step-%010d' $third)" out2/
train 8 1 --dp 2 --sp 4 --zero 1 --steps "$steps" --save-every $((2 * third)) --out out2 \
  --resume auto >log
rm -rf "out2/$last"
train 4 1 --dp 4 --sp 1 --zero 2 --steps "$steps" --out out2 --resume auto >log
compare "out2/$last" "1x2 stage 3, then 2x4 stage 1, then 4x1 stage 2"
echo "same bits in $runs runs of $steps steps"
