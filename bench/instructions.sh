#!/bin/bash
# Compares two versions of the program by the instructions that one training step executes, which callgrind counts, so
# that other work on the machine does not matter: a run of 3 steps less a run of 2, of a small model on one rank with
# one thread and the AVX2 kernels. Prints the ratio for each configuration.
#
#   bench/instructions.sh BEFORE AFTER [FLAG...]    paths of two programs; FLAG: further flags of `train`
set -euo pipefail
command -v valgrind >/dev/null || { echo "instructions.sh: valgrind is not installed" >&2; exit 2; }
before=$(realpath "${1:?usage: $0 BEFORE AFTER [FLAG...]}") after=$(realpath "${2:?usage: $0 BEFORE AFTER [FLAG...]}")
shift 2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1 ULYSSES_ISA=avx2 ONEDNN_MAX_CPU_ISA=AVX2 OMPI_ALLOW_RUN_AS_ROOT=1 \
  OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

cat >model.json <<'JSON'
{"model_type": "llama", "hidden_size": 64, "intermediate_size": 172, "num_hidden_layers": 2,
 "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 257, "max_position_embeddings": 4096}
JSON
for ((i = 0; i < 2000; i++)); do echo "line $((i * i % 997)) of some text"; done >text.txt

# count PROGRAM STEPS FLAG...: the instructions of a run.
count() {
  local program=$1 steps=$2
  shift 2
  valgrind --tool=callgrind --callgrind-out-file=out "$program" train --model model.json --data text.txt --seq-len 250 \
    --threads 1 --steps "$steps" --warmup 1 --no-measure-peak --log-every 100 "$@" >log 2>&1 || { cat log >&2; exit 1; }
  sed -n 's/^summary: *\([0-9]*\).*/\1/p' out
}

# compare FLAG...: instructions of the third step by both versions.
compare() {
  local program step=()
  for program in "$before" "$after"; do
    step+=($(($(count "$program" 3 "$@") - $(count "$program" 2 "$@"))))
  done
  awk -v a="${step[0]}" -v b="${step[1]}" -v flags="$*" \
    'BEGIN { printf "%.4f  (%.1f M before, %.1f M after)  %s\n", b / a, a / 1e6, b / 1e6, flags }'
}

compare "$@"
compare --dtype bf16 "$@"
compare --recompute none --rounds 2 "$@"
