#!/bin/bash
# Runs the demo's training in f32 and in bf16, on the same data with the same seed, and compares the
# final losses.
#
#   bench/bf16_against_f32.sh PROGRAM TEXT      STEPS=200 by default; `make demo` leaves a text in demo/text/train.txt
set -euo pipefail
export LC_ALL=C
ulysses=$(realpath "${1:?usage: $0 PROGRAM TEXT}")
text=$(realpath "${2:?usage: $0 PROGRAM TEXT}")
steps=${STEPS:-200}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1 OMPI_MCA_rmaps_base_oversubscribe=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for dtype in f32 bf16; do
  mpirun.openmpi -n 2 "$ulysses" train --model llama-1m --data "$text" --seq-len 4096 --recompute keep-attention \
    --steps "$steps" --lr 0.003 --warmup "$((steps / 10))" --log-every 1000000 --dtype $dtype \
    --metrics "$work/$dtype.jsonl" >/dev/null
  sed 's/.*"loss":\([0-9.e+-]*\).*/\1/' "$work/$dtype.jsonl" >"$work/$dtype"
done

paste "$work/f32" "$work/bf16" | awk -v steps="$steps" '
  { d = $2 / $1 - 1; if (d < 0) d = -d; if (d > most) { most = d; at = NR } }
  NR > steps - 20 { a += $1; b += $2; n++ }
  END {
    printf "{\"bench\": \"bf16_against_f32\", \"steps\": %d, \"f32_loss\": %.4f, \"bf16_loss\": %.4f, ", NR, a / n, b / n
    printf "\"ratio\": %.4f, \"largest_difference\": %.4f, \"at_step\": %d}\n", b / a, most, at
  }'
