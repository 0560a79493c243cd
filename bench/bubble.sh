#!/bin/bash
# Measures how long the stages of a pipeline wait for each other, and compares it with the formula:
# (S - 1) / (V M + S - 1) of the time of the passes, for S stages of V chunks and M micro-batches. The
# program is the one with the kernels of tests/timed_ops.c, which sleep for the time that they were
# measured to take, so that there may be more stages than cores. They take the times of one run on one rank, so that the
# stages differ in nothing but their place.
#
#   bench/bubble.sh [PROGRAM]      PROGRAM=build/release/tests/ulysses_timed
#
#   STAGES="2 4" CHUNKS="1 2" BATCHES="4 8 16 32" TOKENS=1024 STEPS=2
#
# Prints a line of JSON for each case: the median over the steps, and its ratio to the formula. The model's layers are
# shared equally, and its head is small.
set -euo pipefail
ulysses=$(realpath "${1:-$(dirname "$0")/../build/release/tests/ulysses_timed}")
read -ra stages <<<"${STAGES:-2 4}"
read -ra chunks <<<"${CHUNKS:-1 2}"
read -ra batches <<<"${BATCHES:-4 8 16 32}"
tokens=${TOKENS:-1024} steps=${STEPS:-2}
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >model.json <<'JSON'
{"model_type": "llama", "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 16,
 "num_attention_heads": 8, "num_key_value_heads": 8, "vocab_size": 257, "max_position_embeddings": 4096}
JSON
awk 'BEGIN { for (i = 0; i < 300000; i++) printf "%c", 97 + (i * i + int(i / 7)) % 26 }' >text.txt

# steps_of RANKS FLAG...: a run, which writes metrics.jsonl.
steps_of() {
  rm -f metrics.jsonl
  "${MPIRUN:-mpirun.openmpi}" -n "$1" "$ulysses" train --model model.json --data text.txt --seq-len "$tokens" --warmup 1 \
    --recompute none --threads 1 --no-measure-peak --nonfinite skip --nonfinite-limit 1000 --metrics metrics.jsonl \
    "${@:2}" >log 2>&1 || { cat log >&2; exit 1; }
}

# measure S V M
measure() {
  steps_of "$1" --batch "$3" --steps "$steps" --pp "$1" --pp-chunks "$2"
  sed -n 's/.*"step_s":\([0-9.e-]*\),.*"bubble":\([0-9.e-]*\),.*/\2 \1/p' metrics.jsonl | sort -g |
    awk -v s="$1" -v v="$2" -v m="$3" '{ bubble[NR] = $1; seconds[NR] = $2 } END {
      at = int((NR + 1) / 2); formula = (s - 1) / (v * m + s - 1)
      printf "{\"bench\": \"bubble\", \"stages\": %d, \"chunks\": %d, \"batch\": %d, ", s, v, m
      printf "\"step_s\": %.3f, \"bubble\": %.4f, \"formula\": %.4f, ", seconds[at], bubble[at], formula
      printf "\"ratio\": %.3f}\n", bubble[at] / formula }'
}

export ULY_OP_TIMES=$folder/times
steps_of 1 --batch 1 --steps 3
for s in "${stages[@]}"; do
  for v in "${chunks[@]}"; do
    for m in "${batches[@]}"; do measure "$s" "$v" "$m"; done
  done
done
