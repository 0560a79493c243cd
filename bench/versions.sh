#!/bin/bash
# Compares the speed of two builds of the program, in alternation: A B A B ...
#
#   bench/versions.sh BEFORE AFTER attention|step [ROUNDS]
#
# BEFORE and AFTER are two programs `ulysses`. For each case they take ROUNDS turns (11), one right
# after the other, since the speed of a shared machine drifts. A line for each case gives the median
# seconds of both, and the median over the turns of AFTER's time in units of that of BEFORE: 1 means
# no change, and more than 1 that AFTER is slower.
#
#   attention  forward and backward of 4,096 tokens on one thread: f32 and bf16, head_dim 64 and 128,
#              causal and full
#   step       a training step of MODEL (llama-110m) in bf16: 4,096 tokens on 1 rank with 2 threads, and
#              8,192 tokens on 2 ranks with 1 thread each
set -euo pipefail

if [ $# -lt 3 ]; then
  sed -n '2,14s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
before=$1 after=$2 what=$3 rounds=${4:-11}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# seconds COMMAND...: a line for each part that it measures, such as "forward SECONDS".
seconds() { "$@" | sed -E 's/.*"what": "([a-z]+)".*"seconds": ([0-9.e-]+).*/\1 \2/'; }

# compare NAME RANKS OPTION...: a line for each part.
compare() {
  local starter=()
  if [ "$2" -gt 1 ]; then starter=(mpirun -n "$2" --bind-to none); fi
  for ((round = 0; round < rounds; round++)); do
    first=$(seconds "${starter[@]}" "$before" bench "$what" "${@:3}")
    second=$(seconds "${starter[@]}" "$after" bench "$what" "${@:3}")
    paste -d ' ' <(echo "$first") <(echo "$second")
  done | awk -v name="$1" '
    {
      n = ++count[$1]
      value[$1, 2, n] = $2; value[$1, 3, n] = $4; value[$1, 4, n] = $4 / $2
    }
    # median PART COLUMN: of the values in that column.
    function median(part, column,   n, i, j, swap, list) {
      n = count[part]
      for (i = 1; i <= n; i++) list[i] = value[part, column, i]
      for (i = 2; i <= n; i++)
        for (j = i; j > 1 && list[j - 1] > list[j]; j--) {
          swap = list[j]; list[j] = list[j - 1]; list[j - 1] = swap
        }
      return (list[int((n + 1) / 2)] + list[int(n / 2) + 1]) / 2
    }
    END {
      for (part in count)
        printf "%-8s  %-30s %9.5f s  %9.5f s  %.3f\n", part, name, median(part, 2),
               median(part, 3), median(part, 4)
    }'
}

case $what in
  attention)
    for dtype in f32 bf16; do
      for head_dim in 64 128; do
        for mask in causal full; do
          compare "$dtype, head_dim $head_dim, $mask" 1 --seq-len 4k --q-heads 2 --kv-heads 2 \
            --threads 1 --repeats 3 --dtype $dtype --head-dim $head_dim --mask $mask
        done
      done
    done
    ;;
  step)
    step=(--model "${MODEL:-llama-110m}" --dtype bf16 --repeats 1)
    compare '4,096 tokens, 1 rank' 1 "${step[@]}" --seq-len 4k --threads 2
    compare '8,192 tokens, 2 ranks' 2 "${step[@]}" --seq-len 8k --threads 1
    ;;
  *)
    echo "$0: '$what' is neither attention nor step" >&2
    exit 2
    ;;
esac
