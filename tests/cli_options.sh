#!/bin/bash
# Tests options of the program on 1 and 3 ranks: --dry-run, and the configuration that a run
# prints and saves, which gives the same run again.
#   cli_options.sh ULYSSES MPIRUN
program=$1
mpirun=$2
# shellcheck source=tests/cli_common.sh
. "$(dirname "$0")/cli_common.sh"

head -c 20 text.txt >short.txt
sed 's/48/64/' tiny.json >other.json
cat >run.yaml <<'END'
run:
  model: tiny.json
  data: text.txt
  seq_len: 64
optimizer:
  steps: 2
output:
  measure_peak: false
END
good=(train --config run.yaml)

patience 0

for ranks in 1 3; do
  run=("$mpirun" -n "$ranks" "$program")
  # A dry run finds what would stop a start, prints the plan, and leaves nothing behind.
  dry=("${run[@]}" "${good[@]}" --dry-run)
  expect 0 '' "${dry[@]}" --out new/run --metrics m.jsonl --trace t.json --stash disk:new/stash --rank-logs logs
  expect 0 '' "${dry[@]}" --out new/ --metrics new/m.jsonl
  [ "$(grep -c '^ready' out.log)" -eq 1 ] || fail "not one dry run on $ranks ranks"
  grep -q "^ranks  *$ranks: dp 1 x sp $ranks" out.log || fail "a dry run of other ranks"
  grep -q '^  total ' out.log || fail "a dry run without its plan"
  grep -q '^  optimizer   steps 2, ' out.log || fail "a dry run without its configuration"
  if [ -e new ] || [ -e logs ] || [ -e m.jsonl ] || [ -e t.json ]; then fail "a dry run that writes"; fi
  expect 2 'needs [0-9]* bytes' "${dry[@]}" --memory-limit 64KiB
  expect 2 'ranks' "${dry[@]}" --sp 7
  expect 3 'short.txt' "${dry[@]}" --data short.txt
  expect 3 'short.txt' "${dry[@]}" --eval-data short.txt
  expect 3 'missing.txt' "${dry[@]}" --data missing.txt
  expect 3 '--out' "${dry[@]}" --out text.txt/run
  expect 3 '--metrics' "${dry[@]}" --metrics no/such/file
  mkdir -p "there-$ranks/m.jsonl"
  expect 3 '--metrics' "${dry[@]}" --out "there-$ranks" --metrics "there-$ranks/m.jsonl"
  expect 3 '--rank-logs' "${dry[@]}" --rank-logs no/such/folder
  expect 3 '--rank-logs' "${dry[@]}" --rank-logs tiny.json
  expect 3 '--stash' "${dry[@]}" --stash disk:text.txt
  expect 3 'nowhere' "${dry[@]}" --resume nowhere

  # The configuration stands beside the run, and gives the same run.
  expect 0 '' "${run[@]}" "${good[@]}" --lr 2e-3 --set optimizer.warmup=1 --out first-$ranks --save-every 1
  [ "$(grep -c '^options$' out.log)" -eq 1 ] || fail "a run on $ranks ranks does not say its options once"
  [ "$(find first-$ranks -name '.config*' | wc -l)" -eq 0 ] || fail "a hidden file was left"
  expect 0 '' "${run[@]}" train --config first-$ranks/config.yaml --out second-$ranks
  diff <(sed 's/second/first/' second-$ranks/config.yaml) first-$ranks/config.yaml || fail "another configuration"
  diff -r first-$ranks/step-0000000002 second-$ranks/step-0000000002 || fail "another run on $ranks ranks"

  expect 2 'there is .first-[13]/step-0000000002. of another run' "${dry[@]}" --out first-$ranks
  expect 0 '' "${dry[@]}" --out first-$ranks --resume auto
  grep -q "^resumes  *first-$ranks/step-0000000002, 2 steps done" out.log || fail "a dry run does not say what it resumes"
  expect 3 'another model' "${dry[@]}" --model other.json --resume first-$ranks/step-0000000002
  expect 2 'seed' "${dry[@]}" --seed 9 --resume first-$ranks/step-0000000002
  cp -r first-$ranks/step-0000000001 cut-$ranks
  truncate -s -1 cut-$ranks/optimizer.safetensors
  expect 3 'optimizer.safetensors' "${dry[@]}" --resume cut-$ranks
done

# A configuration that cannot be saved ends the run before its first step.
mkdir -p taken/config.yaml/folder
expect 3 'taken/config.yaml' "$mpirun" -n 3 "$program" "${good[@]}" --out taken
[ ! -d taken/step-0000000002 ] || fail "a run went on without its configuration"
[ "$(find taken -name '.config*' | wc -l)" -eq 0 ] || fail "a configuration that could not be saved was left"
expect 2 'rank 1' "$mpirun" -n 1 "$program" "${good[@]}" : -n 1 "$program" "${good[@]}" --dry-run

finish
