#!/bin/bash
# Tests a training run as a person sees it: lines on a terminal and elsewhere, logs of ranks,
# metrics beside the checkpoints, steps that are not finite, one run per folder, signals.
#   cli_train.sh ULYSSES MPIRUN POISON
program=$1
mpirun=$2
poison=$3
. "$(dirname "$(realpath "$0")")/cli_common.sh"
patience 0

lines_of() { grep -c "$1" "$2"; }

# What computes stands in the header; what makes that slow is said once, and is no error.
expect 0 '' env ULYSSES_ISA=base ONEDNN_MAX_CPU_ISA=SSE41 "$program" "${good[@]}" --steps 1 --threads 2 --dtype bf16
grep -q '^kernels  *base (the .*) on 2 threads of each rank; oneDNN multiplies with \(sse41\|asimd\)$' out.log || fail "kernels: $(cat out.log)"
expect 0 '' "$program" "${good[@]}" --steps 1 --threads 999
[ "$(grep -c '^ulysses: warning: 999 threads share [0-9]* hardware thread' err.log)" -eq 1 ] || fail "threads: $(cat err.log)"
# A rank that is slower than the first one.
expect 0 '' "$mpirun" -n 1 env -u ULYSSES_ISA "$program" "${good[@]}" --steps 1 --threads 1 : \
  -n 1 env ULYSSES_ISA=base "$program" "${good[@]}" --steps 1 --threads 1
[ "$(uname -m)" != x86_64 ] || grep -q '^ulysses: warning: ULYSSES_ISA slows down another rank' err.log ||
  fail "a slow rank: $(cat err.log)"

for ranks in 1 3; do
  run=("$mpirun" -n "$ranks" "$program")

  # Plain lines: each --log-every steps, the first and the last; only rank 0 speaks.
  expect 0 '' "${run[@]}" "${good[@]}" --steps 7 --log-every 3 --eval-data text.txt --out plain-$ranks --rank-logs logs-$ranks
  [ "$(grep -o '^step [0-9]*/7' out.log | tr -dc '0-9/\n' | tr '\n' ' ')" = "1/7 3/7 6/7 7/7 " ] ||
    fail "$ranks ranks: other lines: $(cat out.log)"
  grep -q $'\r' out.log && fail "$ranks ranks: a live line in a file"
  grep -q '^step 7  saved in' out.log || fail "$ranks ranks: nothing is said about the save"
  [ "$(lines_of '"step":' plain-$ranks/metrics.jsonl)" -eq 7 ] || fail "$ranks ranks: other metrics"
  [ "$(lines_of '"eval_loss":.*"eval_by_position":\[\[0,16,' plain-$ranks/metrics.jsonl)" -eq 1 ] ||
    fail "$ranks ranks: no evaluation by position"
  [ "$(cat logs-$ranks/rank-*.log | lines_of '  step 7  ' /dev/stdin)" -eq $((2 * ranks)) ] ||
    fail "$ranks ranks: logs without the last step and its save: $(cat logs-$ranks/*)"
  [ "$(cat logs-$ranks/rank-*.log | lines_of "rank [0-9]* of $ranks on " /dev/stdin)" -eq "$ranks" ] || fail "logs"

  # A live line, written over and over; what else is said has lines of its own.
  expect 0 '' "${run[@]}" "${good[@]}" --steps 7 --progress live --eval-data text.txt --measure-peak
  grep -q $'\r  *\r' out.log || fail "$ranks ranks: no live line"
  tr '\r' '\n' <out.log | grep '^\(step \)\?[0-9]*/7 .*loss' >live.log
  [ $ranks -eq 1 ] || grep -q '^1/7 loss' live.log || fail "$ranks ranks: no line for 80 columns: $(cat -v live.log)"
  [ "$(grep -cvE '% (of )?peak .*[0-9] [KM]iB' live.log)" -eq 0 ] || fail "$ranks ranks: a line for 80 columns is cut off: $(cat -v live.log)"
  tr '\r' '\n' <out.log | grep -q '^step 7/7 ' || fail "$ranks ranks: no last line: $(cat -v out.log)"
  grep -q 'step 7  eval_loss' out.log || fail "$ranks ranks: no evaluation"

  # A run that begins anew is refused the folder of another one, whose checkpoints it would replace; a file that it
  # would write over gets another name. A run that has nothing to do changes nothing.
  expect 2 'of another run' "${run[@]}" "${good[@]}" --out plain-$ranks
  cp plain-$ranks/metrics.jsonl m.jsonl
  expect 0 '' "${run[@]}" "${good[@]}" --metrics m.jsonl --trace plain-$ranks/metrics.jsonl
  [ "$(lines_of '"step":' m.jsonl)-$(lines_of '"step":' m.jsonl.1)-$(lines_of '"step":' plain-$ranks/metrics.jsonl.1)" = 2-7-7 ] ||
    fail "$ranks ranks: a file was written over"
  rm -f m.jsonl*
  md5sum plain-$ranks/config.yaml >config.md5
  expect 0 '' "${run[@]}" "${good[@]}" --steps 7 --out plain-$ranks --resume auto --window 16
  md5sum --quiet -c config.md5 || fail "$ranks ranks: a run with nothing to do changed the configuration"
  expect 0 '' "${run[@]}" "${good[@]}" --steps 8 --resume plain-$ranks
  grep -q '^resumed .*plain-[13]/step-0000000007' out.log || fail "$ranks ranks: a folder does not stand for its newest"

  # Old checkpoints go, but the newest two and every third; a metrics line that was cut off goes, too.
  expect 0 '' "${run[@]}" "${good[@]}" --steps 8 --out kept-$ranks --save-every 1 --keep-last 2 --keep-every 3
  [ "$(cd kept-$ranks && echo step-*)" = "step-0000000003 step-0000000006 step-0000000007 step-0000000008" ] ||
    fail "$ranks ranks: other checkpoints kept: $(ls kept-$ranks)"
  printf '{"st' >>kept-$ranks/metrics.jsonl
  expect 0 '' "${run[@]}" "${good[@]}" --steps 9 --out kept-$ranks --resume auto
  [ "$(lines_of '^{"step":' kept-$ranks/metrics.jsonl)-$(wc -l <kept-$ranks/metrics.jsonl)" = 9-9 ] ||
    fail "$ranks ranks: a line of metrics that was cut off"

  # Not finite for good: stop, or try again up to the limit. Where it arose is said.
  bad=("${run[@]}" "${good[@]}" --steps 40 --lr 1e30 --warmup 0 --clip 0)
  expect 4 'step 2: .*First found: .*is not a number' "${bad[@]}"
  expect 4 'step 5: .*4 steps in a row' "${bad[@]}" --nonfinite skip --nonfinite-limit 3
  expect 4 'There is no checkpoint' "${bad[@]}" --nonfinite rollback --out none-$ranks --save-every 5
  expect 4 'step 2: .*3 steps in a row' "${bad[@]}" --nonfinite rollback --nonfinite-limit 2 --out back-$ranks --save-every 1
  [ "$(lines_of 'Going back to .*step-0000000001, and on' err.log)" -eq 2 ] || fail "$ranks ranks: did not go back twice"
done

# Not finite once, because of one sequence of the data: the run skips it, or goes back and on behind it.
sed 's/257/257, "tie_word_embeddings": false/' tiny.json >untied.json
{ head -c 1500 text.txt; echo Z; head -c 1500 text.txt; } >once.txt
once=(train --model untied.json --data once.txt --seq-len 64 --no-measure-peak --lr 1e-4 --steps 45 --save-every 1 --resume)
"$poison" untied.json once.txt 64 start || fail "no poisoned checkpoint"
for ranks in 1 3; do
  expect 0 '' "$mpirun" -n $ranks "$program" "${once[@]}" start/step-0000000000 --nonfinite skip --out skip-$ranks
  [ "$(lines_of '"skipped":true' skip-$ranks/metrics.jsonl)" -eq 1 ] || fail "$ranks ranks: not one step skipped: $(cat err.log)"
  grep -q '"loss":null' skip-$ranks/metrics.jsonl || fail "$ranks ranks: a loss that is no JSON"
  [ "$(wc -l <skip-$ranks/metrics.jsonl)" -eq 45 ] || fail "$ranks ranks: a step is missing"
  [ -d skip-$ranks/step-0000000045 ] || fail "$ranks ranks: a run that skips does not end"
  # Checkpoints so far apart that the newest is not that of the step before.
  step=$(sed -n 's/^{"step":\([0-9]*\),.*"skipped":true.*/\1/p' skip-$ranks/metrics.jsonl)
  expect 0 '' "$mpirun" -n $ranks "$program" "${once[@]}" start/step-0000000000 --nonfinite rollback --out back-$ranks \
    --save-every $((step - 3))
  grep -q "step $step: .*Going back to .*step-0*$((step - 3)), and on" err.log || fail "$ranks ranks: did not go back: $(cat err.log)"
  [ "$(lines_of 'Going back to ' err.log)" -eq 1 ] || fail "$ranks ranks: did not go back once: $(cat err.log)"
  [ "$(grep -o '^{"step":[0-9]*' back-$ranks/metrics.jsonl | tr -dc '0-9\n' | sort -nu | wc -l)" -eq 45 ] &&
    [ "$(wc -l <back-$ranks/metrics.jsonl)" -eq 45 ] || fail "$ranks ranks: steps missing, or there twice"
done

# start ARGS...: a run without end on 3 ranks, in the background, which has made its first step.
start() {
  rm -f pid.*
  begin "$mpirun" -n 3 ./rank.sh "$program" "${good[@]}" --steps 1000000000 --log-every 1000000000 "$@"
  await says out.log '^step 1/'
}

# A terminal that knows no escape codes gets none, whether the live line is asked for or not.
for term in dumb ''; do
  for flags in '' '--progress live' '--progress live --log-every 1'; do
    expect 0 '' env TERM=$term script -qec "'$program' ${good[*]} $flags" typescript
    if grep -q $'\e' typescript; then fail "escape codes for TERM='$term' $flags: $(cat -v typescript)"; fi
    grep -q '^step 2/2' typescript || tr '\r' '\n' <typescript | grep -q '^step 2/2' || fail "no step for TERM='$term' $flags"
  done
done
# Elsewhere the live line is there, and is gone before the next one.
expect 0 '' env TERM=xterm script -qec "'$program' ${good[*]} --steps 9" typescript
tr '\r' '\n' <typescript | grep -q '^step [1-8]/9  loss' || fail "no live line: $(cat -v typescript)"
# shellcheck disable=SC2016 # for perl
perl -e '
  undef $/; my $screen = <STDIN>; $screen =~ s/\r\n/\n/g;
  for my $line (split /\n/, $screen) {
    my $shown = "";
    for my $part (split /\r/, $line) { substr($shown, 0, length $part) = $part; }
    print $shown =~ s/ *$//r, "\n";
  }' <typescript >screen.log
[ "$(grep -c '^step 9/9  loss [0-9.]* *grad_norm .*sent 0 B  0 s left$' screen.log)" -eq 1 ] || fail "the live line left something behind: $(cat screen.log)"

# A second run is refused the folder of one that is at work; after its end, however it ended, it is free.
start --out busy --save-every 1
mv out.log busy.log
mv err.log busy.err
for ((i = 0; i < 4; i++)); do
  expect 2 'another run is saving' "$program" "${good[@]}" --out busy
done
expect 2 'another run is saving' "$program" "${good[@]}" --out busy --dry-run
kill -KILL "$(cat pid.0)"
end_of_job $job
wait $job
[ -s busy.log ] && ! grep -a 'not saved' busy.log busy.err || fail "a run that was refused the folder disturbed a save"
expect 0 '' "$program" "${good[@]}" --out busy --resume auto

mkdir piped && mkfifo piped/.lock
expect 0 '' "$program" "${good[@]}" --out piped --dry-run

# A checkpoint that somebody has put a folder into is not replaced, nor is what lies there lost.
expect 0 '' "$program" "${good[@]}" --out noted --save-every 1
mkdir noted/step-0000000002/notes
expect 3 "it contains the folder 'notes'" "$program" "${good[@]}" --out noted --resume noted/step-0000000001
[ -d noted/step-0000000002/notes ] || fail "a folder in a checkpoint was removed"
expect 0 '' "$program" "${good[@]}" --out noted --resume auto
# Nor does a run fall back unseen behind one that has lost a file.
rm noted/step-0000000002/trainer.json
expect 3 'noted/step-0000000002/trainer.json' "$program" "${good[@]}" --out noted --resume auto

# One that cannot be looked at is no reason to keep the others, and is spoken of; the newest one is a reason to stop.
bound=("${starter[@]:0:${#starter[@]}-1}") # what root gives up; nobody else has it
if [ "$has_permissions" = yes ]; then
  expect 0 '' "${bound[@]}" "$program" "${good[@]}" --steps 4 --out kept --save-every 1
  chmod 0 kept/step-0000000001
  expect 0 '' "${bound[@]}" "$program" "${good[@]}" --steps 6 --out kept --save-every 1 --keep-last 1 --resume auto
  grep -q "could not be removed: .*kept/step-0000000001" err.log || fail "nothing about what cannot be looked at: $(cat err.log)"
  [ "$(echo kept/step-*)" = 'kept/step-0000000001 kept/step-0000000006' ] || fail "kept: $(echo kept/*)"
  chmod 0 kept/step-0000000006
  expect 3 "'kept/step-0000000006/.*' cannot be examined" "${bound[@]}" "$program" "${good[@]}" --steps 7 --out kept --resume auto
fi

# A signal ends an evaluation that would take for ever, and the run saves.
head -c 100000000 /dev/zero | tr '\0' 'x' >endless.txt
start --out evaluating --eval-data endless.txt --eval-every 1 --eval-windows 100000000
kill -TERM "$(cat pid.1)"
wait $job
[ $? -eq 75 ] || fail "a run stopped in its evaluation: not exit code 75"
grep -q '^step 1  evaluation stopped' out.log || fail "the evaluation went on: $(cat out.log)"
[ -d evaluating/step-0000000001 ] || fail "a run stopped in its evaluation was not saved"

# launch starts the ranks, and hands on their exit code; Ctrl-C has them save and end.
launch() { timeout -s KILL $limit env MPIRUN="$mpirun" "$program" launch "$@" >out.log 2>err.log </dev/null; }
expect 1 'cannot be started' env MPIRUN=/no/such/mpirun "$program" launch train
for ranks in 1 3; do
  launch --ranks $ranks "${good[@]}" || fail "launch: exit code $?"
  grep -q "^ranks       $ranks: " out.log || fail "launch: other ranks: $(cat out.log)"
  launch --ranks $ranks trian
  [ $? -eq 2 ] && grep -q 'did you mean train' err.log || fail "launch: what is no command"
  launch --ranks $ranks "${good[@]}" --seq-len 0
  [ $? -eq 2 ] && grep -q 'seq-len' err.log || fail "launch: a failure is not handed on"
done
# Whoever started it may not care for the ends of children; it does.
expect 3 'missing.txt' env --ignore-signal=CHLD MPIRUN="$mpirun" "$program" launch train --data missing.txt --model tiny.json
endless=("${good[@]}" --steps 1000000000 --log-every 1000000000)
begin_launch "$mpirun" --ranks 3 "${endless[@]}" --out launched
await says out.log '^step 1/'
kill -INT $job
wait $job
[ $? -eq 75 ] || fail "launch: a run stopped by Ctrl-C: not exit code 75"
grep -q '^stopped on request' out.log || fail "launch: nothing was said about the stop"
[ -n "$(ls -d launched/step-*)" ] || fail "launch: a stopped run was not saved"
# Whenever it comes; and a rank that dies is spoken of.
for moment in 0 0.1 0.3 0.6; do
  begin_launch "$mpirun" --ranks 3 "${endless[@]}"
  sleep $moment
  kill -INT $job
  wait $job
  [ $? -eq 75 ] || fail "launch: Ctrl-C after $moment s: another exit code than 75: $(cat err.log)"
done
# Once more when the ranks have ended, and the starter has not: they stopped in order all the same.
cat >slow.pl <<'PERL'
#!/usr/bin/perl
my $rank = fork;
exec 'sleep', '1000' unless $rank;
$SIG{USR1} = sub {
  kill 'KILL', $rank;
  waitpid $rank, 0;
  open my $file, '>', 'ended';
  close $file;
  sleep 2;
  exit 75;
};
open my $file, '>', 'begun';
close $file;
sleep 1 for 1 .. 1000;
PERL
chmod +x slow.pl
begin_launch ./slow.pl train
await test -e begun
kill -INT $job
await test -e ended
kill -INT $job
wait $job
[ $? -eq 75 ] || fail "launch: Ctrl-C after the end: another exit code than 75: $(cat err.log)"
# One that starts no ranks at all is ended by the second.
printf '#!/bin/sh\nexec sleep 1000\n' >idle.sh
chmod +x idle.sh
begin_launch ./idle.sh train
kill -INT $job
await says err.log 'again stops at once'
kill -INT $job
wait $job
[ $? -eq 1 ] || fail "launch: a starter without ranks was not ended: $(cat err.log)"
# A starter that takes its time to listen is asked again.
cat >late.pl <<'PERL'
#!/usr/bin/perl
open my $file, '>', 'started'; close $file;
sleep 1;
$SIG{USR1} = sub { exit 75 };
sleep 1 for 1 .. 1000;
exit 1;
PERL
chmod +x late.pl
begin_launch ./late.pl train
await test -e started
kill -INT $job
wait $job
[ $? -eq 75 ] || fail "launch: it asked but once"
begin_launch "$mpirun" --ranks 3 "${endless[@]}"
await says out.log '^step 1/'
kill -KILL "$(pgrep -P "$(pgrep -P $job)" | head -n 1)"
end_of_job $job
wait $job
[ $? -eq 1 ] && grep -q 'ended by signal 9' err.log || fail "launch: a rank that died: $(cat err.log)"

finish
