#!/bin/bash
# Runs that are resumed, told to stop, or lose a rank.
#   cli_stop.sh ULYSSES MPIRUN
program=$1
mpirun=$2
# shellcheck source=tests/cli_common.sh
. "$(dirname "$(realpath "$0")")/cli_common.sh"
patience 0

# Again from the first step: the metrics hold each step once, and the checkpoints are the same bytes.
for ranks in 1 3; do
  run=("$mpirun" -n "$ranks" "$program")
  expect 0 '' "${run[@]}" "${good[@]}" --out run-$ranks --save-every 1 --metrics m-$ranks.jsonl
  cp -r run-$ranks/step-0000000002 first-$ranks
  rm -r run-$ranks/step-0000000002
  expect 0 '' "${run[@]}" "${good[@]}" --out run-$ranks --resume auto --metrics m-$ranks.jsonl
  if ! diff -r first-$ranks run-$ranks/step-0000000002 || [ "$(wc -l <m-$ranks.jsonl)" -ne 2 ]; then
    fail "a resumed run differs on $ranks ranks"
  fi
  # A new run beside the checkpoints of another one.
  expect 2 'of another run' "${run[@]}" "${good[@]}" --out run-$ranks
done

# start RANKS ARGS...: a run without end, in the background.
start() {
  local ranks=$1
  shift
  rm -f pid.* m.jsonl
  begin "$mpirun" -n "$ranks" ./rank.sh "$program" "${good[@]}" --steps 1000000000 --log-every 1000000000 \
    --metrics m.jsonl "$@"
  await test -s m.jsonl
}

# One rank is told to stop: all save and end.
start 3 --out stopped
kill -USR1 "$(cat pid.1)"
wait $job
[ $? -eq 75 ] || fail "a stopped run: not exit code 75"
step=$(sed -n 's/^stopped on request after step \([0-9]*\)$/\1/p' out.log)
[ -n "$step" ] || fail "a stopped run that does not say so"
if grep 'ulysses: error:' err.log; then fail "a stopped run with an error"; fi
[ "$(wc -l <m.jsonl)" = "$step" ] || fail "a stopped run with other metrics than steps"
expect 0 '' "$mpirun" -n 3 "$program" "${good[@]}" --steps $((step + 1)) --out stopped --resume auto --metrics m.jsonl
grep -q "^resumed .*, $step steps done" out.log || fail "a stopped run was not continued"
[ "$(wc -l <m.jsonl)" -eq $((step + 1)) ] || fail "a continued run with other metrics than steps"
start 1
kill -TERM "$(cat pid.0)"
wait $job
[ $? -eq 75 ] || fail "a stopped run without --out: not exit code 75"

# One rank dies: the job ends, and its starter names the rank.
start 3
kill -KILL "$(cat pid.1)"
end_of_job $job
wait $job
code=$?
if [ $code -eq 0 ] || [ $code -eq 124 ]; then fail "a run that lost a rank: exit code $code"; fi
grep -qi 'rank 1' err.log out.log || fail "nobody named the rank that died"

finish
