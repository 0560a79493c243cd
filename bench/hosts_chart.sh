#!/bin/bash
# Draws docs/hosts.svg from what bench/hosts.sh printed: tokens per second by length, for each scheme
# and number of hosts. Needs gnuplot.
#
#   bench/hosts_chart.sh FILE...      the output of bench/hosts.sh, one file per number of hosts
set -euo pipefail
[ $# -gt 0 ] || {
  echo "usage: $0 FILE..." >&2
  exit 2
}
docs=$(realpath "$(dirname "$0")/../docs")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# value KEY: prints the value of this key from each line of JSON on standard input.
value() { sed -n 's/.*"'"$1"'": "\{0,1\}\([^",}]*\).*/\1/p'; }

hosts=()
for file in "$@"; do
  hosts+=("$(value hosts <"$file" | head -n 1)")
  for scheme in sp ring tp; do
    grep "\"scheme\": \"$scheme\".*tokens_per_s" "$file" >"$work/lines"
    paste <(value tokens <"$work/lines") <(value tokens_per_s <"$work/lines") >"$work/$scheme-${hosts[-1]}"
  done
done

# panel HOSTS: the commands that draw its curves.
panel() {
  cat <<PLOT
set title "$1 hosts" textcolor rgb "#7d8590"
plot "$work/sp-$1" with linespoints pt 7 lw 2 lc rgb "#2f81f7" title "Ulysses", \
     "$work/ring-$1" with linespoints pt 7 lw 2 lc rgb "#a371f7" title "ring", \
     "$work/tp-$1" with linespoints pt 7 lw 2 lc rgb "#db6d28" title "tensor parallelism"
PLOT
}

# Grey text and no background: readable on white and on black.
gnuplot <<PLOT
set terminal svg size 800,360 font "sans-serif,13"
set output "$docs/hosts.svg"
set multiplot layout 1,${#hosts[@]}
set border 3 lc rgb "#7d8590"
set key top left Left reverse samplen 2 textcolor rgb "#7d8590"
set offsets 0, 0, graph 0.4, 0
set xtics nomirror textcolor rgb "#7d8590" ("2k" 2048, "4k" 4096, "8k" 8192, "16k" 16384, "32k" 32768)
set ytics nomirror textcolor rgb "#7d8590"
set logscale x 2
set xrange [1800:38000]
set yrange [0:*]
set xlabel "tokens per sequence" textcolor rgb "#7d8590"
set ylabel "tokens per second" textcolor rgb "#7d8590"
$(for num in "${hosts[@]}"; do panel "$num"; done)
unset multiplot
PLOT
echo "wrote docs/hosts.svg"
