#!/bin/bash
# Compares a training step with that of PyTorch on one process and of DeepSpeed-Ulysses on two, in
# alternation on the same cores: the same Llama from the same weights, the same tokens, AdamW.
#
#   bench/peers.sh PROGRAM [--json FILE] [--chart]
#   MODEL=llama-110m TOKENS=4096 DTYPE="bf16 f32" ROUNDS=5 WARMUP=2 STEPS=3
#   VENV=build/peers/venv JEMALLOC=FILE
#
# Each of ROUNDS runs, for each storage type: `ulysses train` on 1 rank of two threads, PyTorch on 1
# process of two threads, DeepSpeed on 2 processes of one thread, `ulysses train` on 2 ranks of one
# thread. Every run is a process of its own, and times STEPS steps after WARMUP others. The table
# gives medians, the resident memory of the largest process at its peak (that of the peers without
# what compilation took), the peer's time in units of ours of the same round, and how far the losses
# of all steps lie apart, which shows that both compute the same: a difference that rounding does
# not explain ends the script with an error. --json writes the table to FILE; --chart draws
# docs/peers.svg (needs gnuplot).
#
# The first call makes a virtual environment with PyTorch and DeepSpeed, which takes 6 GB (PyPI has
# no build of PyTorch for x86 without CUDA). Compiled code stays beside it, so that only the first
# round waits for the compiler (needs g++).
#
# The peers get what makes them faster:
#   - Each block and the loss are compiled by torch.compile. scaled_dot_product_attention takes its
#     flash kernel for CPUs, with grouped key/value heads as they are. AdamW is the fused one.
#   - In bf16, weights, activations and gradients are bf16, and the optimizer has f32 weights of its
#     own. On 2 ranks gradients travel in bf16, while `ulysses` keeps and sends them in f32.
#   - Nothing is recomputed on either side, but for what torch.compile chooses to.
#   - Memory comes in huge pages and stays mapped when it is freed, so that the kernel need not
#     clear it anew in each step. It comes from jemalloc if that is installed (libjemalloc2) or
#     JEMALLOC names its library, and otherwise from glibc with such settings.
#   - DistributedAttention is all that is taken from DeepSpeed. It works in the same PyTorch model,
#     over gloo. PyTorch's DistributedDataParallel sums the gradients while backward goes on.
set -euo pipefail
shopt -s inherit_errexit

usage() {
  sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
  exit 2
}
[ $# -ge 1 ] || usage
ulysses=$(realpath "$1") json=/dev/null chart=no
shift
while [ $# -gt 0 ]; do
  case $1 in
    --json)
      [ $# -ge 2 ] || usage
      json=$2
      shift 2
      ;;
    --chart)
      chart=yes
      shift
      ;;
    *) usage ;;
  esac
done
model=${MODEL:-llama-110m} tokens=${TOKENS:-4096} dtypes=${DTYPE:-bf16 f32} rounds=${ROUNDS:-5}
warmup=${WARMUP:-2} steps=${STEPS:-3}
root=$(realpath "$(dirname "$0")/..")
venv=${VENV:-$root/build/peers/venv}
peers=$root/bench/peers.py

if [ ! -e "$venv/complete" ]; then
  if ! command -v python3 >/dev/null || ! command -v g++ >/dev/null; then
    echo "$0: PyTorch needs python3, its module venv, and g++ to compile with" >&2
    exit 1
  fi
  # Without its cache, since pip holds in memory what it caches.
  pip=("$venv/bin/pip" install --quiet --no-cache-dir)
  python3 -m venv "$venv"
  "${pip[@]}" torch numpy safetensors setuptools wheel
  # DeepSpeed's own installation asks the PyTorch that is there.
  DS_ACCELERATOR=cpu "${pip[@]}" --no-build-isolation deepspeed
  touch "$venv/complete"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export DS_ACCELERATOR=cpu GLOO_SOCKET_IFNAME=lo TORCHINDUCTOR_CACHE_DIR=$(dirname "$venv")/cache

jemalloc=${JEMALLOC:-$(/sbin/ldconfig -p | sed -n '/libjemalloc\.so\.2/ { s/.*=> //p; q; }')}
if [ -n "$jemalloc" ]; then
  memory=(LD_PRELOAD="$jemalloc" MALLOC_CONF=thp:always,dirty_decay_ms:-1,muzzy_decay_ms:-1)
else
  memory=(GLIBC_TUNABLES=glibc.malloc.hugetlb=1)
  memory[0]+=:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1000000000000
fi

# ours DTYPE RANKS THREADS
ours() {
  local starter=()
  if [ "$2" -gt 1 ]; then starter=(mpirun -n "$2" --bind-to none); fi
  rm -f "$work/metrics"
  "${starter[@]}" "$ulysses" train --model "$model" --data "$work/data.txt" --seq-len "$tokens" \
    --dtype "$1" --threads "$3" --recompute none --steps $((warmup + steps)) --lr 3e-4 --warmup 0 \
    --schedule constant --no-measure-peak --metrics "$work/metrics" >"$work/log"
  "$venv/bin/python" "$peers" ours "$work/metrics" "$warmup"
}

# theirs DTYPE RANKS THREADS
theirs() {
  local starter=()
  if [ "$2" -gt 1 ]; then
    starter=(-m torch.distributed.run --nproc-per-node "$2" --rdzv-backend c10d
      --rdzv-endpoint 127.0.0.1:0 --local-addr 127.0.0.1)
  fi
  env OMP_NUM_THREADS="$3" "${memory[@]}" "$venv/bin/python" "${starter[@]}" "$peers" step \
    "$work"/start/step-* "$work/data.txt" "$1" "$warmup" "$steps" 2>"$work/log" | grep '^{' ||
    { cat "$work/log" >&2 && return 1; }
}

# turn NAME ours|theirs DTYPE RANKS THREADS: a line of JSON more in the results.
turn() {
  local line
  line=$("${@:2}")
  echo "{\"program\": \"$1\", \"model\": \"$model\", \"tokens\": $tokens, \"dtype\": \"$3\"," \
    "\"ranks\": $4, \"threads\": $5, ${line#\{}" | tee -a "$work/results"
}

"$venv/bin/pip" list 2>/dev/null | grep -E '^(torch|deepspeed) '
echo "memory of the peers from ${jemalloc:-glibc}"
"$venv/bin/python" "$peers" data "$work/data.txt" "$tokens"
# The weights that every run begins with: those of the first step, with a learning rate of 0.
"$ulysses" train --model "$model" --data "$work/data.txt" --seq-len 16 --steps 1 --lr 0 \
  --no-measure-peak --out "$work/start" >"$work/log"
for ((round = 1; round <= rounds; round++)); do
  for dtype in $dtypes; do
    turn ulysses ours "$dtype" 1 2
    turn pytorch theirs "$dtype" 1 2
    turn deepspeed theirs "$dtype" 2 1
    turn ulysses ours "$dtype" 2 1
  done
done
"$venv/bin/python" "$peers" table "$work/results" "$json" "$work/plot"

if [ $chart = yes ]; then
  # Grey text and no background: readable on white and on black.
  gnuplot <<PLOT
set terminal svg size 760,400 font "sans-serif,13"
set output "$root/docs/peers.svg"
set title "Training $model on $tokens tokens, two cores: tokens per second" textcolor rgb "#7d8590"
set border 1 lc rgb "#7d8590"
set key top right textcolor rgb "#7d8590"
set xtics scale 0 textcolor rgb "#7d8590"
unset ytics
set bmargin 3.5
set autoscale yfixmin
set yrange [0:]
set offsets 0.3, 0.3, graph 0.1, 0
set style fill solid 1 noborder
set boxwidth 0.95
plot for [i = 0:2] "$work/plot" using 1:(\$3 == i ? \$2 : NaN) with boxes \
       lc rgb word("#2f81f7 #db6d28 #a371f7", i + 1) \
       title word("Ulysses PyTorch DeepSpeed-Ulysses", i + 1), \
     "" using 1:2:4 with labels offset 0,0.7 textcolor rgb "#7d8590" notitle, \
     "" using (\$1 + 0.5):(0):(""):xtic(5) with labels notitle
PLOT
  echo "wrote docs/peers.svg"
fi
