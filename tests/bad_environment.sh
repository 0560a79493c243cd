#!/bin/bash
# Tests unusual environments: standard streams that are closed, full or without a reader, few
# descriptors, no home, no folder for temporary files, settings of other programs that make no
# sense. On 1 and on 3 ranks where MPI plays a part.
#   bad_environment.sh ULYSSES MPIRUN
program=$1
mpirun=$2
# shellcheck source=tests/cli_common.sh
. "$(dirname "$(realpath "$0")")/cli_common.sh"
patience 0

# end CODE WHAT: the exit code of the command before
end() {
  local code=$?
  num_rows=$((num_rows + 1))
  [ $code -eq "$1" ] || fail "$2: exit code $code (expected $1): $(cat err.log)"
}

# --- standard output that cannot be written

expect 0 '' "$program" "${good[@]}" --out run
for command in help --version 'help train' 'train --help' man 'completion bash' 'plan --model tiny.json' \
  'plan --model tiny.json --json' 'checkpoint show run' 'checkpoint show run --json' 'checkpoint verify run' \
  'eval --checkpoint run --data text.txt' 'generate --checkpoint run --prompt a --max-tokens 9' \
  'generate --checkpoint run --prompt a --max-tokens 9 --json' \
  'prepare text.txt --out data' 'report run' 'doctor' "${good[*]}" "${good[*]} --print-config"; do
  # shellcheck disable=SC2086
  timeout $limit "$program" $command >/dev/full 2>err.log </dev/null
  end 3 "$command >/dev/full"
  [ "$(grep -c 'ulysses: error: .*\(standard output cannot be written\|No space left\)' err.log)" -eq 1 ] ||
    fail "$command >/dev/full: $(cat err.log)"
done

# --- descriptors that are closed: nothing is written into a file that has got one of them

for case in '0 <&-' '3 >&-' '0 2>&-' '3 <&- >&-' '3 >&- 2>&-' '3 <&- >&- 2>&-'; do
  read -r code closed <<<"$case" # standard output is missed
  rm -rf closed*
  : >err.log
  eval 'timeout $limit "$program" "${good[@]}" --out closed --trace closed.json --rank-logs closed-logs >closed.log 2>closed.err' "$closed"
  end "$code" "$closed"
  [ "$(grep -c '^{"step":' closed/metrics.jsonl) $(wc -l <closed/metrics.jsonl)" = '2 2' ] || fail "$closed: other metrics"
  [ "$(head -n 1 closed.json) $(tail -n 1 closed.json)" = '[ ]' ] || fail "$closed: another trace"
  grep -qv '^20..-..-..T..:..:..Z ' closed-logs/rank-00000.log && fail "$closed: another log"
  expect 0 '' "$program" checkpoint verify closed
done
for ranks in 1 3; do
  for closed in '<&-' '>&-' '2>&-'; do
    eval 'timeout $limit "$mpirun" -n $ranks "$program" "${good[@]}" >out.log 2>err.log' "$closed"
    end 0 "$ranks ranks, $closed"
  done
done

# --- a reader that goes: whatever the exit code, all processes end

for command in help "${good[*]} --steps 2000" 'generate --checkpoint run --prompt a --max-tokens 2000'; do
  # shellcheck disable=SC2086
  timeout $limit "$program" $command 2>err.log </dev/null | head -n 1 >out.log
  [ "${PIPESTATUS[0]}" -ne 124 ] || fail "$command | head: does not end"
  [ -s out.log ] || fail "$command | head: no line"
  num_rows=$((num_rows + 1))
done
for ranks in 1 3; do
  timeout $limit "$mpirun" -n $ranks "$program" "${good[@]}" --steps 2000 2>err.log </dev/null | head -n 1 >out.log
  [ "${PIPESTATUS[0]}" -ne 124 ] || fail "$ranks ranks | head: does not end"
  num_rows=$((num_rows + 1))
done

# --- variables

# tolerated VARIABLE=VALUE...: or -u VARIABLE
tolerated() {
  local usual=("${starter[@]}")
  local starter=(env "$@" "${usual[@]}")
  row 0 '' "${good[@]}"
  row 0 '' report run --out page-@.html
}
tolerated -u HOME
tolerated HOME=/nonexistent
tolerated LC_ALL=xx_YY
tolerated LC_ALL=C.UTF-8
tolerated LANG=tr_TR.UTF-8 LC_ALL=
tolerated TERM=bogus COLUMNS=-1
tolerated ULYSSES_ISA= ULYSSES_CHECK= ULYSSES_DEBUG=
for threads in abc -3 0 99999999999 2,1 ''; do tolerated "OMP_NUM_THREADS=$threads"; done
tolerated OMP_PROC_BIND=bogus OMP_WAIT_POLICY=bogus OMP_SCHEDULE=bogus
tolerated ONEDNN_MAX_CPU_ISA=bogus
rows_end
for ranks in 1 3; do
  for place in /nonexistent ''; do expect 0 '' env TMPDIR=$place "$mpirun" -n $ranks "$program" "${good[@]}"; done
  expect 2 'ULYSSES_ISA=bogus' env ULYSSES_ISA=bogus "$mpirun" -n $ranks "$program" "${good[@]}"
  expect 2 'ULYSSES_CHECK' env ULYSSES_CHECK=bogus "$mpirun" -n $ranks "$program" "${good[@]}"
  num_rows=$((num_rows + 2))
done

# Set to nothing is not set.
expect 3 'missing.txt' env ULYSSES_DEBUG= "$program" "${bare[@]}" --data missing.txt
[ "$(wc -l <err.log)" -eq 1 ] || fail "ULYSSES_DEBUG= traces: $(cat err.log)"
num_rows=$((num_rows + 1))

# --- few descriptors: more files than may be open are data all the same; MPI cannot start with hardly any, and says so

mkdir many
for ((i = 0; i < 300; i++)); do cp text.txt many/$i; done
for ranks in 1 3; do
  (ulimit -n 128 && expect 0 '' "$mpirun" -n $ranks "$program" "${bare[@]}" --data many --steps 9 && exit $failed) || failed=1
  (ulimit -n 12 && timeout $limit "$mpirun" -n $ranks "$program" "${good[@]}") >out.log 2>err.log </dev/null
  code=$?
  if [ $code -eq 0 ] || [ $code -eq 124 ] || [ ! -s err.log ]; then fail "12 descriptors: exit code $code: $(cat err.log)"; fi
  num_rows=$((num_rows + 2))
done

# --- launch: starts ranks itself

expect 1 "'nowhere' cannot be started" env MPIRUN=nowhere "$program" launch "${good[@]}"
for ranks in 1 3; do
  expect 2 'no-such-flag' "$program" launch --ranks $ranks "${good[@]}" --no-such-flag
  expect 3 'missing.txt' "$program" launch --ranks $ranks "${bare[@]}" --data missing.txt
done
num_rows=$((num_rows + 5))

finish
