#!/bin/bash
# Draws loss curves of the demo's model at ZeRO stages 0 to 3 on 2 ranks as a picture,
# docs/loss_by_stage.svg, and prints how far they lie apart, also from a reproducible run. Needs
# gnuplot and the demo's text (`make demo` fetches it).
#
#   bench/loss_by_stage.sh PROGRAM TEXT      STEPS=60 by default
set -euo pipefail
ulysses=$(realpath "${1:?usage: $0 PROGRAM TEXT}")
text=$(realpath "${2:?usage: $0 PROGRAM TEXT}")
steps=${STEPS:-60}
docs=$(realpath "$(dirname "$0")/../docs")
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1 OMP_NUM_THREADS=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# curve NAME FLAG...: the losses of a run, one a line.
curve() {
  local name=$1
  shift
  mpirun.openmpi -n 2 "$ulysses" train --model llama-4m --data "$text" --seq-len 4096 --steps "$steps" --warmup 10 \
    --lr 1e-3 --log-every 1000000 --metrics "$name.jsonl" "$@" >/dev/null
  sed 's/.*"loss":\([0-9.e+-]*\).*/\1/' "$name.jsonl" >"$name"
}

for stage in 0 1 2 3; do curve "stage$stage" --zero $stage; done
for stage in 0 3; do curve "reproducible$stage" --zero $stage --reproducible; done

# apart A B: largest relative difference of two curves.
apart() { paste "$1" "$2" | awk '{ d = ($1 - $2) / $1; d = d < 0 ? -d : d; if (d > most) most = d } END { printf "%.3g", most }'; }
for stage in 1 2 3; do echo "stage $stage against 0: largest relative difference of a loss $(apart stage0 stage$stage)"; done
echo "reproducible, stage 3 against 0: $(apart reproducible0 reproducible3)"
echo "reproducible against default, stage 0: $(apart stage0 reproducible0)"

gnuplot <<PLOT
set terminal svg size 800,480 font "sans-serif,13"
set output "$docs/loss_by_stage.svg"
set title "llama-4m, 4,096 tokens a step, 2 ranks"
set xlabel "step"
set ylabel "loss, nats per byte"
set grid
plot "stage0" using 0:1 with lines lw 6 lc rgb "#cccccc" title "stage 0", \
     "stage1" using 0:1 with lines lw 4 lc rgb "#88aadd" title "stage 1", \
     "stage2" using 0:1 with lines lw 2 lc rgb "#dd8855" title "stage 2", \
     "stage3" using 0:1 with points pt 7 ps 0.35 lc rgb "#000000" title "stage 3"
PLOT
echo "wrote docs/loss_by_stage.svg"
