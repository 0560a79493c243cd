#!/bin/bash
# Runs a training step on two emulated hosts: two network namespaces joined by a link of limited
# rate, with one rank of one thread in each, and MPI over TCP between them (MPICH: its starter needs
# no network). Measures how much of the exchange does not overlap: compares the step with the longer
# of its two parts, computation (the same step without the limit) and exchange (all bytes that a
# rank sends: attention's, gradients, weights; at the rate that a bare MPI_Alltoall reaches on this
# link). Needs root and iproute2.
#
#   bench/two_hosts.sh PROGRAM      built for MPICH, such as build/mpich/ulysses
#   RATE=1gbit MODEL=llama-25m SEQ_LEN=8192 ROUNDS="1 2" STAGES="0 3" REPEATS=3
set -euo pipefail
ulysses=$(realpath "${1:?usage: $0 PROGRAM}")
rate=${RATE:-1gbit} model=${MODEL:-llama-25m} seq_len=${SEQ_LEN:-8192} rounds=${ROUNDS:-1 2} stages=${STAGES:-0 3} repeats=${REPEATS:-3}
hosts=(uly-host-a uly-host-b)

clean() { for host in "${hosts[@]}"; do ip netns del "$host" 2>/dev/null || true; done; }
trap clean EXIT
clean
for host in "${hosts[@]}"; do ip netns add "$host"; done
ip link add cable netns "${hosts[0]}" type veth peer name cable netns "${hosts[1]}"
for i in 0 1; do
  ip -n "${hosts[i]}" addr add 10.77.0.$((i + 1))/24 dev cable
  ip -n "${hosts[i]}" link set cable up
  ip -n "${hosts[i]}" link set lo up
done

sleep 2 # until the cable is up

# limit RATE: of both directions; no argument: none.
limit() {
  for host in "${hosts[@]}"; do
    tc -n "$host" qdisc del dev cable root 2>/dev/null || true
    if [ $# -gt 0 ]; then tc -n "$host" qdisc add dev cable root tbf rate "$1" burst 256kb latency 50ms; fi
  done
}

export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive MPIR_CVAR_NOLOCAL=1 UCX_TLS=tcp,self UCX_NET_DEVICES=cable
# both ARGUMENT...: the program, a rank on each host.
both() { mpirun.mpich -n 1 ip netns exec "${hosts[0]}" "$ulysses" "$@" : -n 1 ip netns exec "${hosts[1]}" "$ulysses" "$@"; }
# value KEY: of the last line of JSON.
value() { sed -n 's/.*"'"$1"'": \([-0-9.e+]*\).*/\1/p' | tail -n 1; }
# step ROUNDS STAGE: its line of JSON.
step() {
  both bench step --model "$model" --seq-len "$seq_len" --dtype bf16 --recompute none --threads 1 --repeats "$repeats" \
    --rounds "$1" --zero "$2"
}

limit "$rate"
cable=$(both bench ceiling --array-bytes 1MiB --repeats 3 | grep '"alltoall"' | value achieved) # the last: 16 MiB
for stage in $stages; do
  for r in $rounds; do
    limit
    compute=$(step "$r" "$stage" | value seconds)
    limit "$rate"
    line=$(step "$r" "$stage")
    bytes=$(echo "$line" | sed -n 's/.*"sent_bytes": {\([^}]*\)}.*/\1/p' | tr ',' '\n' | awk '{ s += $2 } END { printf "%.0f", s }')
    echo "$line" | value seconds | awk -v c="$compute" -v b="$bytes" -v g="$cable" -v r="$r" -v z="$stage" -v rate="$rate" '{
      e = b / (g * 1e9); longer = c > e ? c : e
      printf "{\"bench\": \"two_hosts\", \"rate\": \"%s\", \"stage\": %d, \"rounds\": %d, \"compute_s\": %.3f, ", rate, z, r, c
      printf "\"exchange_s\": %.3f, \"sent_bytes\": %.0f, \"step_s\": %.3f, \"ratio\": %.3f}\n", e, b, $1, $1 / longer
    }'
  done
done
