#!/bin/bash
# Compares ways to divide a sequence on several emulated hosts: network namespaces joined by a bridge
# and links of limited rate, each with one single-threaded rank. MPI runs over TCP between them. If
# there are more hosts than cores, the program must be the one with the kernels of
# tests/timed_ops.c: each sleeps for the time that it was measured to take. Ranks then do not compete
# for cores, and only communication that is not overlapped adds time. Needs root, iproute2 and Open
# MPI.
#
#   bench/hosts.sh HOSTS RATE [PROGRAM]     PROGRAM=build/release/tests/ulysses_timed
#
#   RATE is that of a link in both directions, such as 80mbit, or N/1: one byte for every N FLOPs
#   that a rank computes, as measured without a limit.
#
#   MODEL=llama-25m LENGTHS="4096 8192" SCHEMES="sp ring tp"
#   MEMORY=2GiB         of a rank
#   SETTINGS="..."      pairs of a recompute policy and a ZeRO stage, such as none,2. Of each scheme, the first TRIES
#                       of those that fit into memory are measured; the cheapest come first by default
#   TRIES=2 REPEATS=3
#   ROUNDS=1            alternations of a run with the limit and one without; the medians are printed
#   FLAGS="..."         more flags for the steps, such as --rounds 2
#
# Prints JSON: for each scheme, the longest sequence that fits; for each scheme and length, the
# fastest setting. compute_s is the time of a step without a limit; exchange_s what all bytes that a
# rank sends would take at the rate that a bare MPI_Alltoall reaches on these links; ratio that of the
# step to the longer of the two.
set -euo pipefail
shopt -s inherit_errexit
usage="usage: $0 HOSTS RATE [PROGRAM]"
num=${1:?$usage} rate=${2:?$usage}
ulysses=$(realpath "${3:-$(dirname "$0")/../build/release/tests/ulysses_timed}")
model=${MODEL:-llama-25m} memory=${MEMORY:-2GiB} tries=${TRIES:-2} repeats=${REPEATS:-3} rounds=${ROUNDS:-1}
read -ra lengths <<<"${LENGTHS:-4096 8192}"
read -ra schemes <<<"${SCHEMES:-sp ring tp}"
read -ra settings <<<"${SETTINGS:-none,2 none,3 keep-attention,2 keep-attention,3 full,2 full,3}"
read -ra more_flags <<<"${FLAGS:-}"
switch=uly-switch network=10.77.0
agent=$(mktemp)

clean() {
  local i
  for ((i = 0; i < num; i++)); do ip netns del "uly-host-$i" 2>/dev/null || true; done
  ip netns del $switch 2>/dev/null || true
}
trap 'clean; rm -f "$agent"' EXIT

# make_hosts: creates the namespaces, each with a cable to a bridge in a namespace of its own, where
# mpirun is started. In place of ssh, mpirun uses a script that runs a command on a host under its name.
make_hosts() {
  local i
  ip netns add $switch
  ip -n $switch link set lo up
  ip -n $switch link add bridge type bridge
  ip -n $switch addr add $network.254/24 dev bridge
  ip -n $switch link set bridge up
  for ((i = 0; i < num; i++)); do
    ip netns add "uly-host-$i"
    ip link add cable netns "uly-host-$i" type veth peer name "port-$i" netns $switch
    ip -n $switch link set "port-$i" master bridge up
    ip -n "uly-host-$i" addr add "$network.$((i + 1))/24" dev cable
    ip -n "uly-host-$i" link set cable up
    ip -n "uly-host-$i" link set lo up
  done
  cat >"$agent" <<'END'
#!/bin/sh
host=$1
shift
exec ip netns exec "$host" unshare --uts sh -c "echo $host >/proc/sys/kernel/hostname; $*"
END
  chmod +x "$agent"
  sleep 3 # until the bridge forwards
}

# limit [RATE]: limits what a host sends and receives; without an argument, removes the limit. A burst must hold
# a whole packet of 64 KiB: otherwise the kernel splits it into frames, on the ranks' cores.
limit() {
  local i end
  for ((i = 0; i < num; i++)); do
    for end in "uly-host-$i cable" "$switch port-$i"; do
      tc -n "${end% *}" qdisc del dev "${end#* }" root 2>/dev/null || true
      if [ $# -gt 0 ]; then tc -n "${end% *}" qdisc add dev "${end#* }" root tbf rate "$1" burst 128kb latency 200ms; fi
    done
  done
}

export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_plm=rsh OMPI_MCA_plm_rsh_agent="$agent" OMPI_MCA_oob_tcp_if_include=$network.0/24
export OMPI_MCA_pml=ob1 OMPI_MCA_btl=tcp,self OMPI_MCA_btl_tcp_if_include=$network.0/24
export OMPI_MCA_hwloc_base_binding_policy=none

# everywhere ARGUMENT...: runs the program with one rank on each host.
everywhere() {
  local names
  names=$(seq -s , -f 'uly-host-%g' 0 $((num - 1)))
  ip netns exec $switch mpirun.openmpi -H "$names" -n "$num" "$ulysses" "$@" 2> >(grep -v setpgid >&2 || true)
}

# number KEY: the last value of this key in lines of JSON.
number() { sed -n 's/.*"'"$1"'": \([-0-9.e+]*\).*/\1/p' | tail -n 1; }

# calculate EXPRESSION
calculate() { awk "BEGIN { printf \"%.6g\", $1 }"; }

# run COMMAND SCHEME TOKENS SETTING FLAG...
run() {
  local command=$1 scheme=$2 tokens=$3 recompute=${4%,*} zero=${4#*,}
  shift 4
  $command --model "$model" --seq-len "$tokens" --dtype bf16 --recompute "$recompute" --zero "$zero" --dp 1 \
    "--$scheme" "$num" "${more_flags[@]}" "$@"
}

# fitting SCHEME TOKENS: the first settings that fit.
fitting() {
  local setting found=0
  for setting in "${settings[@]}"; do
    if run "$ulysses plan" "$@" "$setting" --memory-limit "$memory" >/dev/null 2>&1; then
      echo "$setting"
      if ((++found >= tries)); then break; fi
    fi
  done
}

# step SCHEME TOKENS SETTING: its line of JSON.
step() { run "everywhere bench step" "$@" --threads 1 --repeats "$repeats"; }

# sent: the sum of the sent bytes in a line of JSON.
sent() { sed -n 's/.*"sent_bytes": {\([^}]*\)}.*/\1/p' | tr ',' '\n' | awk '{ sum += $2 } END { printf "%.0f", sum }'; }

# fastest SCHEME TOKENS SETTING...: the setting with the fastest step, which is measured if there are several.
fastest() {
  local setting seconds least='' chosen=${3:-}
  if [ $# -gt 3 ]; then
    limit "$rate"
    for setting in "${@:3}"; do
      seconds=$(step "$1" "$2" "$setting" | number seconds)
      if [ -z "$least" ] || [ "$(calculate "$seconds < $least")" = 1 ]; then least=$seconds chosen=$setting; fi
    done
  fi
  echo "$chosen"
}

# median: of the numbers on standard input, one a line; of an even count, the lower one in the middle.
median() { sort -g | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'; }

# measure SCHEME TOKENS: prints the line of the fastest setting, whose steps with and without the limit alternate.
measure() {
  local fit chosen line limited=() free=() i
  mapfile -t fit < <(fitting "$@")
  chosen=$(fastest "$@" "${fit[@]}")
  if [ -z "$chosen" ]; then
    printf '{"bench": "hosts", "hosts": %d, "scheme": "%s", "tokens": %d, "fits": false}\n' "$num" "$1" "$2"
    return
  fi
  for ((i = 0; i < rounds; i++)); do
    limit "$rate"
    line=$(step "$@" "$chosen")
    limited+=("$(number seconds <<<"$line")")
    limit
    free+=("$(step "$@" "$chosen" | number seconds)")
  done
  awk -v hosts="$num" -v rate="$rate" -v bytes="$bytes_per_second" -v scheme="$1" -v tokens="$2" -v setting="$chosen" \
    -v step="$(printf '%s\n' "${limited[@]}" | median)" -v free="$(printf '%s\n' "${free[@]}" | median)" \
    -v sent="$(sent <<<"$line")" -v flops="$(number flops <<<"$line")" 'BEGIN {
      exchange = sent / bytes; longer = exchange > free ? exchange : free
      printf "{\"bench\": \"hosts\", \"hosts\": %d, \"rate\": \"%s\", \"scheme\": \"%s\", \"tokens\": %d, ", hosts, rate, scheme, tokens
      printf "\"setting\": \"%s\", \"compute_s\": %.3f, \"exchange_s\": %.3f, \"step_s\": %.3f, ", setting, free, exchange, step
      printf "\"ratio\": %.3f, \"tokens_per_s\": %.1f, \"gflops_per_rank\": %.2f}\n", step / longer, tokens / step, flops / step / hosts / 1e9
    }'
}

# longest SCHEME: in multiples of 1,024 tokens.
longest() {
  local low=0 high=1 middle
  while [ -n "$(fitting "$1" $((high * 1024)))" ]; do low=$high high=$((2 * high)); done
  while ((high - low > 1)); do
    middle=$(((low + high) / 2))
    if [ -n "$(fitting "$1" $((middle * 1024)))" ]; then low=$middle; else high=$middle; fi
  done
  printf '{"bench": "hosts", "hosts": %d, "scheme": "%s", "memory": "%s", "longest": %d}\n' "$num" "$1" "$memory" $((low * 1024))
}

for scheme in "${schemes[@]}"; do longest "$scheme"; done
clean
make_hosts
if [[ $rate = */1 ]]; then
  # What the first scheme computes at the middle length.
  tokens=${lengths[${#lengths[@]} / 2]}
  line=$(step "${schemes[0]}" "$tokens" "$(fitting "${schemes[0]}" "$tokens" | head -n 1)")
  rate=$(calculate "int($(number flops <<<"$line") / $(number seconds <<<"$line") / $num / ${rate%/1} * 8 / 1000)")kbit
fi
limit "$rate"
bytes_per_second=$(calculate "1e9 * $(everywhere bench ceiling --array-bytes 256KiB --repeats 3 | grep '"alltoall"' | number achieved)")
printf '{"bench": "hosts", "hosts": %d, "rate": "%s", "alltoall_bytes_per_s": %.0f}\n' "$num" "$rate" "$bytes_per_second"
for tokens in "${lengths[@]}"; do
  for scheme in "${schemes[@]}"; do measure "$scheme" "$tokens"; done
done
