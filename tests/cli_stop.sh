#!/bin/bash
# Tests runs that are resumed, are told to stop, or lose a rank.
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

# --- one rank that no starter watches over

# alone ARGS...: a run without end, in the background, with its process id in $pid. Whatever started this test may ignore
# signals, which it must not hand on.
alone() {
  rm -f m.jsonl pid
  background env --default-signal=HUP,INT,TERM,USR1,PIPE timeout -s KILL 60 sh -c 'echo $$ >pid && exec "$@"' sh \
    "$program" "${good[@]}" --steps 1000000 --log-every 1000000 --metrics m.jsonl "$@"
  await test -s m.jsonl
  pid=$(cat pid)
}
# saved CODE FOLDER WHAT: the run that has ended saved, and says by its exit code that it was stopped.
saved() {
  [ "$1" -eq 75 ] || fail "$3: exit code $1 and not 75: $(cat err.log)"
  [ -n "$(ls -d "$2"/step-* 2>/dev/null)" ] || fail "$3: nothing was saved"
}
for signal in HUP TERM INT USR1; do
  alone --out alone-$signal
  kill -$signal "$pid"
  wait $job
  saved $? alone-$signal "one rank, $signal"
  grep -q '^stopped on request after step [1-9]' out.log || fail "one rank, $signal: it does not say so"
done
# A terminal that closes tells a run twice: by itself, and through the shell.
alone --out twice --eval-data text.txt --eval-every 1 --eval-windows 20
kill -HUP "$pid"
kill -HUP "$pid"
wait $job
saved $? twice 'one rank, HUP twice'
# What was started by nohup does not hear of it.
background env --ignore-signal=HUP "$program" "${good[@]}" --steps 400 --out nohup
await says out.log '^step 1/'
kill -HUP $job
wait $job
code=$?
[ $code -eq 0 ] || fail "nohup: exit code $code"
[ -d nohup/step-0000000400 ] || fail "nohup: the run did not go on"

# The reader of what is printed goes: `ulysses train | head`.
unread=("${good[@]}" --steps 1000000 --log-every 1)
env --default-signal=PIPE timeout -s KILL 60 "$program" "${unread[@]}" --out unread 2>err.log </dev/null | sed '/^step 3/q' >out.log
saved "${PIPESTATUS[0]}" unread 'one rank, a reader that goes'
[ -s out.log ] || fail 'one rank, a reader that goes: nothing was read'
# One that reads nothing, and one of both streams.
env --default-signal=PIPE timeout -s KILL 60 "$program" "${unread[@]}" --out none 2>err.log </dev/null | true
code=${PIPESTATUS[0]}
[ "$code" -eq 75 ] || fail "a reader that reads nothing: exit code $code and not 75"
{
  env --default-signal=PIPE timeout -s KILL 60 "$program" "${unread[@]}" --out both 2>&1 </dev/null
  echo $? >code
} | sed '/^step 3/q' >out.log
saved "$(cat code)" both 'one rank, a reader of both streams that goes'
# Of a text that is drawn, too, there is no more than is read.
expect 0 '' "$program" "${good[@]}" --out drawn
env --default-signal=PIPE timeout -s KILL 60 "$program" generate --checkpoint drawn --prompt a --max-tokens 1000000 \
  --temperature 1 2>err.log </dev/null | head -c 5 >out.log
code=${PIPESTATUS[0]}
[ "$code" -eq 75 ] || fail "generate, a reader that goes: exit code $code and not 75"

# --- several ranks

# The reader of what mpirun hands on: a rank looks past its own pipe, before mpirun ends of it.
cat >mpirun <<'SH'
#!/bin/bash
"$@" | cat >rank.log
exit "${PIPESTATUS[0]}"
SH
chmod +x mpirun
timeout -s KILL 60 ./mpirun "$program" "${unread[@]}" --out handed-on 2>err.log </dev/null |
  until grep -qs '^step 3/' rank.log; do sleep 0.1; done
saved "${PIPESTATUS[0]}" handed-on "the reader of mpirun's output goes"
timeout -s KILL 60 ./mpirun "$program" "${good[@]}" --steps 50 --out read-on 2>err.log </dev/null | cat
code=${PIPESTATUS[0]}
[ "$code" -eq 0 ] || fail "a reader of mpirun's output that stays: exit code $code"

# A rank hears of a hang-up.
start 3 --out hung-up
kill -HUP "$(cat pid.1)"
wait $job
saved $? hung-up '3 ranks, HUP to one'

# launch outlives the reader of its output, and so does what it has started.
for ranks in 1 3; do
  for streams in 1 2; do
    out=launched-$ranks-$streams
    {
      if [ $streams -eq 2 ]; then exec 2>&1; else exec 2>err.log; fi
      MPIRUN=$mpirun env --default-signal=PIPE timeout -s KILL 60 "$program" launch --ranks $ranks "${unread[@]}" --out $out </dev/null
      echo $? >code
    } | sed '/^step 3/q' >out.log
    saved "$(cat code)" $out "launch, $ranks ranks, $streams streams, a reader that goes"
  done
done
# A terminal that closes tells launch twice, too; only TERM and INT mean more when they are said again.
for signal in HUP USR1; do
  MPIRUN=$mpirun background env --default-signal=HUP,USR1 "$program" launch --ranks 3 "${unread[@]}" --out again-$signal
  await says out.log '^step 1/'
  kill -$signal $job
  kill -$signal $job
  sleep 0.1
  kill -$signal $job 2>/dev/null
  wait $job
  saved $? again-$signal "launch, $signal three times"
done
# Under nohup it goes on.
MPIRUN=$mpirun background env --ignore-signal=HUP "$program" launch --ranks 2 "${good[@]}" --steps 400 --out launched-nohup
await says out.log '^step 1/'
kill -HUP $job
wait $job
code=$?
[ $code -eq 0 ] || fail "launch under nohup: exit code $code: $(cat err.log)"

finish
