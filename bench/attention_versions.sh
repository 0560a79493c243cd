#!/bin/bash
# Compares the attention of two builds of the program, in alternation: A B A B ...
#
#   bench/attention_versions.sh BEFORE AFTER [ROUNDS]
#
# BEFORE and AFTER are two programs `ulysses`. For each shape they take ROUNDS turns (5), one right
# after the other, since the speed of a shared machine drifts. A line for each shape gives the median
# seconds of both, and the median over the turns of AFTER's time in units of that of BEFORE: 1 means
# no change, and more than 1 that AFTER is slower.
set -euo pipefail

if [ $# -lt 2 ]; then
  sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
before=$1 after=$2 rounds=${3:-5}

# seconds PROGRAM OPTION...: "forward seconds" and "backward seconds", a line each.
seconds() {
  "$1" bench attention --seq-len 4k --q-heads 2 --kv-heads 2 --threads 1 --repeats 3 "${@:2}" |
    sed -E 's/.*"what": "([a-z]+)".*"seconds": ([0-9.e-]+).*/\1 \2/'
}

# compare SHAPE OPTION...: one line for forward and one for backward.
compare() {
  for ((round = 0; round < rounds; round++)); do
    first=$(seconds "$before" "${@:2}") second=$(seconds "$after" "${@:2}")
    paste -d ' ' <(echo "$first") <(echo "$second")
  done | awk -v shape="$1" '
    {
      n = ++count[$1]
      value[$1, 2, n] = $2; value[$1, 3, n] = $4; value[$1, 4, n] = $4 / $2
    }
    # median WHAT COLUMN: of the values in that column.
    function median(what, column,   n, i, j, swap, list) {
      n = count[what]
      for (i = 1; i <= n; i++) list[i] = value[what, column, i]
      for (i = 2; i <= n; i++)
        for (j = i; j > 1 && list[j - 1] > list[j]; j--) {
          swap = list[j]; list[j] = list[j - 1]; list[j - 1] = swap
        }
      return (list[int((n + 1) / 2)] + list[int(n / 2) + 1]) / 2
    }
    END {
      for (what in count)
        printf "%-8s  %-30s %9.5f s  %9.5f s  %.3f\n", what, shape, median(what, 2),
               median(what, 3), median(what, 4)
    }'
}

for dtype in f32 bf16; do
  for head_dim in 64 128; do
    for mask in causal full; do
      compare "$dtype, head_dim $head_dim, $mask" --dtype $dtype --head-dim $head_dim --mask $mask
    done
  done
done
