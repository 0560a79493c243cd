#!/bin/bash
# Tests disks that are full and folders that cannot be written to, at the start, during a save, and
# at the end: the earlier checkpoint stays good, training reports the failure and continues, and the
# exit code tells of it at the end. On 1 and on 3 ranks.
#   bad_disk.sh ULYSSES MPIRUN
program=$1
mpirun=$2
# shellcheck source=tests/cli_common.sh
# A small disk is mounted: where nobody else may, in name spaces of our own.
if [ "$(id -u)" -ne 0 ] && [ -z "${ULY_UNSHARED:-}" ] && unshare -rm true 2>/dev/null; then
  ULY_UNSHARED=1 exec unshare -rm "$0" "$@"
fi
. "$(dirname "$(realpath "$0")")/cli_common.sh"
patience 0

# --- before the first step

mkdir empty
ln -s loop loop
ln -s nowhere/else broken
: >file
for out in file file/run loop loop/run /proc/run /dev/null; do
  row 3 "'$out'" "${good[@]}" --out $out
done
row 3 "'broken'" "${good[@]}" --out broken
row 3 "--metrics 'no/such/file' cannot be opened: No such file" "${good[@]}" --metrics no/such/file
row 3 "--metrics 'empty' cannot be opened: Is a directory" "${good[@]}" --metrics empty
row 3 "--trace 'no/such/file' cannot be written: No such file" "${good[@]}" --trace no/such/file
row 3 "--trace 'empty' cannot be written: Is a directory" "${good[@]}" --trace empty
row 3 "--rank-logs 'no/such' cannot be created: No such file" "${good[@]}" --rank-logs no/such
row 3 "--rank-logs: 'file/rank-00000.log' cannot be opened: Not a directory" "${good[@]}" --rank-logs file
row 3 "'file/states'" "${good[@]}" --offload-optimizer disk:file/states
row 3 "'file/stash'" "${good[@]}" --stash disk:file/stash
row 3 "'/proc/stash'" "${good[@]}" --stash disk:/proc/stash
for out in file file/data loop /proc/data; do
  row 3 "'$out'" prepare text.txt --out $out
done
if [ $has_permissions = yes ]; then
  mkdir locked && chmod 555 locked
  row 3 "'locked/.probe': Permission denied" "${good[@]}" --out locked
  row 3 "'locked/run': Permission denied" "${good[@]}" --out locked/run
  row 3 "--metrics 'locked/m' cannot be opened: Permission denied" "${good[@]}" --metrics locked/m
  row 3 "--trace 'locked/t' cannot be written: Permission denied" "${good[@]}" --trace locked/t
  row 3 "--rank-logs 'locked/logs' cannot be created: Permission denied" "${good[@]}" --rank-logs locked/logs
  row 3 "'locked.*: Permission denied" "${good[@]}" --stash disk:locked
  row 3 "'locked.*: Permission denied" "${good[@]}" --offload-optimizer disk:locked
  row 3 "'locked/data': Permission denied" prepare text.txt --out locked/data
fi
rows_end

# --- a save that fails: the next one may succeed

# error_lines NUMBER: of err.log
error_lines() { [ "$(grep -c 'ulysses: error:' err.log)" -eq "$1" ] || fail "not $1 messages: $(cat err.log)"; }
# whole FOLDER STEP: its newest checkpoint, undamaged; nothing of a save that failed is left
whole() {
  expect 0 '' "$program" checkpoint verify "$1"
  grep -q "step-00*$2, the newest of $1: .* every checksum matches" out.log || fail "another checkpoint: $(cat out.log)"
  [ -z "$(find "$1" -name '.step-*')" ] || fail "remains of a save: $(ls -A "$1")"
}
# run RANKS ARGUMENTS...: out.log, err.log, and $code
run() {
  num_rows=$((num_rows + 1))
  timeout $limit "${starter[@]}" -n "$1" "$program" "${good[@]}" "${@:2}" >out.log 2>err.log </dev/null
  code=$?
}

for ranks in 1 3; do
  # A name that is taken by a file: training goes on, but not beyond its end.
  mkdir taken-$ranks
  : >taken-$ranks/step-0000000001
  run $ranks --out taken-$ranks --save-every 1
  [ $code -eq 0 ] || fail "a save that failed before the end: exit code $code"
  grep -q 'error: step 1: checkpoint not saved: .*; training goes on$' err.log || fail "a failed save was not told"
  error_lines 1
  whole taken-$ranks 2
  rm -r taken-$ranks/step-0000000002
  : >taken-$ranks/step-0000000002
  expect 3 'step-0000000002' "$mpirun" -n $ranks "$program" "${good[@]}" --out taken-$ranks

  # A step that fails does not lose the checkpoint of the one before.
  run $ranks --lr 1e20 --warmup 0 --steps 9 --clip 0 --out lost-$ranks --save-every 1
  [ $code -eq 4 ] || fail "a loss that is not finite: exit code $code"
  error_lines 1
  whole lost-$ranks "$(find lost-$ranks -name 'step-*' | wc -l)"

  # What is no checkpoint: it is told at once, and by the exit code; the checkpoint is written.
  for flag in --metrics --trace; do
    run $ranks $flag /dev/full --out full$flag-$ranks
    [ $code -eq 3 ] || fail "$flag /dev/full: exit code $code"
    error_lines 1
    grep -q "error: .*'/dev/full'.*\(to the end\|No space left\)" err.log || fail "$flag /dev/full: $(cat err.log)"
    whole full$flag-$ranks 2
  done
  run $ranks --metrics /dev/full
  grep -q "warning: --metrics '/dev/full': .*No space left.*goes on" err.log || fail "no warning about metrics"
  mkdir logs-$ranks
  ln -s /dev/full logs-$ranks/rank-0000$((ranks - 1)).log
  run $ranks --rank-logs logs-$ranks
  [ $code -eq 3 ] && grep -q "error: .*--rank-logs .*to the end" err.log || fail "logs that are lost: $code, $(cat err.log)"
  expect 3 'No space left' "$mpirun" -n $ranks "$program" report taken-$ranks --out /dev/full
done

# --- a disk that is full

mkdir small
sed 's/"num_hidden_layers": 1/"num_hidden_layers": 5/' tiny.json >deep.json
if mount -t tmpfs -o size=720k tmpfs small 2>/dev/null; then
  trap 'umount small; remove_folder' EXIT
  for ranks in 1 3; do
    run $ranks --steps 5 --save-every 1 --out small/run # 300 KB each: there is room for two
    [ $code -eq 3 ] || fail "a full disk at the end: exit code $code"
    grep -q 'error: step 3: checkpoint not saved: .*No space left.*; training goes on$' err.log || fail "$(cat err.log)"
    grep -q "error: .*step-0000000005.*No space left on device$" err.log || fail "not told at the end: $(cat err.log)"
    error_lines 3
    whole small/run 2
    expect 0 '' "$mpirun" -n $ranks "$program" "${good[@]}" --steps 3 --resume small/run/step-0000000002
    rm -r small/run/step-0000000001 # there is room again
    run $ranks --steps 3 --out small/run --resume auto
    [ $code -eq 0 ] || fail "a disk that has room again: exit code $code, $(cat err.log)"
    whole small/run 3
    rm -r small/run
    truncate -s 1M zeros
    expect 3 'No space left' "$mpirun" -n $ranks "$program" prepare --any-bytes zeros --out small/data
    [ -z "$(find small -type f)" ] || fail "shards of a failure were left: $(find small)"
    head -c 700K /dev/zero >small/filling
    expect 0 '' "$program" "${good[@]}" --model deep.json --steps 1 --out deep-$ranks
    expect 3 "cannot make room for 'small/.model.tmp/model.safetensors': No space left" "$program" export deep-$ranks --out small/model
    [ -z "$(find small -name '*model*')" ] || fail "an export that failed was left: $(find small)"
    for option in --offload-optimizer --stash; do
      expect 3 'No space left' "$mpirun" -n $ranks "$program" "${good[@]}" --model deep.json --seq-len 512 $option disk:small/states
    done
    rm -r small/*
  done
else
  echo 'NOT TRIED: rows about a full disk, which needs the right to mount one'
fi

# --- a run whose saves fail for a while: beyond `ulimit -f`, and in a folder that is not to be written

# start RANKS ARGUMENTS...: a run without end, in the background, which saves all the time
start() {
  rm -f pid.*
  begin "${starter[@]}" -n "$1" ./rank.sh "$program" "${good[@]}" --steps 1000000000 --log-every 1000000000 --metrics /dev/null \
    --save-every 20 --keep-last 2 "${@:2}"
  await says out.log '  saved in'
}
# ended CODE: the run, after a signal
ended() {
  num_rows=$((num_rows + 1))
  kill -USR1 "$(cat pid.0)"
  wait $job
  code=$?
  [ $code -eq "$1" ] || fail "a run whose saves failed: exit code $code (expected $1): $(tail -n 3 err.log)"
}
saved() { grep -c '  saved in' out.log; }

limit() { prlimit --pid "$(cat "pid.$1")" --fsize="$2":unlimited; }
for ranks in 1 3; do
  last=$((ranks - 1)) # whose shard is the end of the file
  start $ranks --out limited-$ranks
  limit $last 100000
  await says err.log 'error: step [0-9]*: checkpoint not saved: .*File too large; training goes on$'
  limit $last unlimited
  await says out.log '  saved in' $(($(saved) + 2))
  ended 75
  whole limited-$ranks "$(sed -n 's/^stopped on request after step //p' out.log)"
  start $ranks --out ended-$ranks
  limit $last 100000
  await says err.log 'training goes on$'
  ended 3
  grep -v 'training goes on$' err.log | grep 'ulysses: error:' >ends.log
  [ "$(wc -l <ends.log)" -eq 1 ] && grep -q 'File too large' ends.log || fail "not told at the end: $(cat err.log)"
  whole ended-$ranks "$(sed -n 's/^step \([0-9]*\)  saved in.*/\1/p' out.log | tail -n 1)"
  if [ $has_permissions = yes ]; then
    start $ranks --out closed-$ranks
    chmod 555 closed-$ranks
    await says err.log 'error: step [0-9]*: checkpoint not saved: .*Permission denied; training goes on$'
    chmod 755 closed-$ranks
    await says out.log '  saved in' $(($(saved) + 2))
    ended 75
    # What could not be removed then goes at the next start.
    step=$(sed -n 's/^stopped on request after step //p' out.log)
    expect 0 '' "$mpirun" -n $ranks "$program" "${good[@]}" --steps $((step + 1)) --out closed-$ranks --resume auto
    whole closed-$ranks $((step + 1))
  fi
done

finish
