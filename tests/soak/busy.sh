#!/bin/bash
# Runs the whole suite RUNS times on a machine that has other work to do: beside two busy loops. A
# test that fails here sometimes waits for a fixed time instead of an event. Prints what failed in
# each run, and fails if anything did.
#
#   tests/soak/busy.sh [CTEST ARGUMENT]...     such as -R cli; RUNS=5 and PRESET=release by default
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/../.."
runs=${RUNS:-5} preset=${PRESET:-release}
failures=0
log=$(mktemp)
loops=()
# Otherwise Open MPI's ranks yield whenever they look for a message, if they outnumber the cores, and each yield costs
# a time slice of a loop.
export OMPI_MCA_mpi_yield_when_idle=0
trap 'kill "${loops[@]}" 2>/dev/null || true; rm -f "$log"' EXIT

for _ in 1 2; do
  while :; do :; done &
  loops+=($!)
done

for ((run = 1; run <= runs; run++)); do
  start=$SECONDS
  ctest --preset "$preset" -j $((2 * $(nproc))) "$@" >"$log" 2>&1 || true
  # Numbers and names of the tests that failed, as ctest lists them at its end.
  failed=$(sed -n '/^The following tests FAILED:/,$s/^[[:space:]]*[0-9]* - //p' "$log")
  grep -q '^[0-9]*% tests passed' "$log" || failed="ctest itself: $(tail -n 3 "$log")"
  printf 'run %d of %d: %d s, %s\n' "$run" "$runs" $((SECONDS - start)) "${failed:-no failure}"
  if [ -n "$failed" ]; then
    failures=$((failures + 1))
    cp "$log" "build/$preset/busy-$run.log"
    echo "  see build/$preset/busy-$run.log"
  fi
done
echo "$failures of $runs runs had failures"
[ $failures -eq 0 ]
