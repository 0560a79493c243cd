#!/bin/bash
# Prints the model-state memory of a rank by ZeRO stage on 1, 2, 4 and 8 ranks: from the formulas of
# arXiv 1910.02054, from `ulysses plan`, from the arenas of a run, and the resident set of the
# largest process (which also holds activations, the layers in use, MPI and code). bf16 with bf16
# gradients; bytes of the rank that holds most.
#
#   bench/model_states.sh PROGRAM      MODEL=llama-25m by default
set -euo pipefail
ulysses=$(realpath "${1:?usage: $0 PROGRAM}")
model=${MODEL:-llama-25m}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1 OMP_NUM_THREADS=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
awk 'BEGIN { for (i = 0; i < 20000; i++) printf "%c", 97 + (i * i + int(i / 7)) % 26 }' >text.txt

# states < JSON: parameters + gradients + optimizer.
states() {
  grep -o '"\(parameters\|gradients\|optimizer\)": *[0-9]*' | tail -n 3 | awk '{ s += $NF } END { print s }' FS=': *'
}
# The report names gradients and parameters twice: sent bytes, then arenas.
arenas() { sed 's/.*"arena_bytes": *//; s/}.*//' | states; }

echo "| stage | ranks | formula | bytes | plan | run | run / formula | resident |"
echo "|---|---|---|---|---|---|---|---|"
for stage in 0 1 2 3; do
  for ranks in 1 2 4 8; do
    flags=(--model "$model" --seq-len 128 --dp $ranks --sp 1 --dtype bf16 --grad-dtype bf16 --zero $stage)
    params=$("$ulysses" plan "${flags[@]}" --json | grep -o '"num_params": [0-9]*' | grep -o '[0-9]*$')
    planned=$("$ulysses" plan "${flags[@]}" --json | arenas)
    rm -f metrics
    mpirun.openmpi -n $ranks "$ulysses" train "${flags[@]}" --data text.txt --steps 1 --metrics metrics >/dev/null
    held=$(arenas <metrics)
    resident=$(grep -o '"resident_bytes":[0-9]*' metrics | grep -o '[0-9]*$')
    awk -v s=$stage -v w=$ranks -v f="$params" -v p="$planned" -v h="$held" -v r="$resident" 'BEGIN {
      split("16F,4F+12F/W,2F+14F/W,16F/W", name, ",")
      full = s == 0 ? 16 : s == 1 ? 4 : s == 2 ? 2 : 0
      bytes = f * (full + (16 - full) / w)
      printf "| %d | %d | %s | %.0f | %d | %d | %.4f | %d |\n", s, w, name[s + 1], bytes, p, h, h / bytes, r
    }'
  done
done
