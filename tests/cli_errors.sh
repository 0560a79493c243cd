#!/bin/bash
# Bad input to the program, on 1 and 3 ranks: one message, the documented exit code, and no rank hangs. Damaged
# checkpoints, saves that fail, runs that are stopped or lose a rank. Benchmarks: what they print.
#   cli_errors.sh ULYSSES MPIRUN
program=$1
mpirun=$2
. "$(dirname "$(realpath "$0")")/cli_common.sh"

head -c 20 text.txt >short.txt
: >empty.txt
sed 's/257/100/' tiny.json >small_vocab.json

for ranks in 1 3; do
  patience 1
  run=("$mpirun" -n "$ranks" "$program")
  expect 2 'bogus' "${run[@]}" bogus
  expect 2 'seq-len' "${run[@]}" plan --seq-len 0
  expect 0 '' "${run[@]}" plan --model tiny.json --seq-len 64
  [ "$(grep -c '^model' out.log)" -eq 1 ] || fail "$ranks plans"
  patience 0
  expect 2 'no-such-flag' "${run[@]}" "${good[@]}" --no-such-flag 1
  expect 2 'seq-len' "${run[@]}" "${good[@]}" --seq-len many
  expect 2 'eps' "${run[@]}" "${good[@]}" --eps 0
  expect 2 'ranks' "${run[@]}" "${good[@]}" --sp 7
  expect 2 'preset' "${run[@]}" "${good[@]}" --model no-such-model
  expect 3 'missing.txt' "${run[@]}" "${good[@]}" --data missing.txt
  expect 3 'short.txt' "${run[@]}" "${good[@]}" --data short.txt
  expect 3 'empty.txt' "${run[@]}" "${good[@]}" --data empty.txt
  expect 3 'text.txt' "${run[@]}" "${good[@]}" --model small_vocab.json
  expect 3 'text.txt/out' "${run[@]}" "${good[@]}" --out text.txt/out
  expect 3 'no/such' "${run[@]}" "${good[@]}" --metrics no/such/file
  expect 3 'to the end' "${run[@]}" "${good[@]}" --metrics /dev/full
  grep -q 'No space left.*goes on' err.log || fail "no warning about metrics"
  expect 3 'nowhere' "${run[@]}" "${good[@]}" --resume nowhere
  expect 4 'loss' "${run[@]}" "${good[@]}" --lr 1e20 --warmup 0 --steps 9 --clip 0
  expect 0 '' "${run[@]}" "${good[@]}" --out run-$ranks --save-every 1 --metrics m-$ranks.jsonl
  # Again from the first step: the metrics hold each step once, and the checkpoints are the same bytes.
  cp -r run-$ranks/step-0000000002 first-$ranks
  rm -r run-$ranks/step-0000000002
  expect 0 '' "${run[@]}" "${good[@]}" --out run-$ranks --resume auto --metrics m-$ranks.jsonl
  if ! diff -r first-$ranks run-$ranks/step-0000000002 || [ "$(wc -l <m-$ranks.jsonl)" -ne 2 ]; then
    fail "a resumed run differs on $ranks ranks"
  fi
done

# Packed documents: text has an end of them, a shard of llm.c does not say its own.
{
  printf '\x88\xd8\x34\x01\x01\x00\x00\x00\x00\x01\x00\x00' # 256 tokens
  head -c 1012 /dev/zero
  for _ in 1 2 3 4; do
    head -c 126 text.txt
    printf '\x05\x00'
  done
} >shard.bin
sed 's/257/32000/' tiny.json >wide.json
shard=(train --model wide.json --data shard.bin --seq-len 64 --steps 2)
for ranks in 1 3; do
  run=("$mpirun" -n "$ranks" "$program")
  expect 0 '' "${run[@]}" "${good[@]}" --pack
  expect 2 'doc-end' "${run[@]}" "${shard[@]}" --pack
  expect 2 'doc-end 32000' "${run[@]}" "${shard[@]}" --pack --doc-end 32000
  expect 0 '' "${run[@]}" "${shard[@]}" --pack --doc-end 5
  expect 2 'doc-end' "${run[@]}" "${shard[@]}" --pack --doc-end none
done
expect 0 '' "$program" plan --model tiny.json --pack
grep -q '^attention   within documents$' out.log || fail "the plan of packed documents"

# Ranks that were started differently.
two() { printf '%s ' -n 1 "$program" "${good[@]}" "$1" "$2" : -n 1 "$program" "${good[@]}" "$1" "$3"; }
# shellcheck disable=SC2046
for option in '--lr 1e-3 5e-2' '--sp 2 3' '--log-every 1 2' '--seq-len 64 65' '--window 9 8' '--doc-end 5 6' \
  '--sparse fixed strided'; do
  # shellcheck disable=SC2086
  expect 2 'rank 1' "$mpirun" $(two $option)
done
expect 2 'rank 1' "$mpirun" -n 1 "$program" "${good[@]}" : -n 1 "$program" "${good[@]}" --print-config
expect 2 'instruction set' "$mpirun" -n 2 env ULYSSES_ISA=none "$program" "${good[@]}"
expect 2 'rank' "$program" train --sp 0 --dp 9 "${good[@]:1}"

# What ranks share, and what they may take.
three=("$mpirun" -n 3 "$program")
expect 2 'zero' "${three[@]}" "${good[@]}" --zero 4
expect 2 'multiple' "${three[@]}" "${good[@]}" --dp 3 --batch 4
expect 2 'power of two' "${three[@]}" "${good[@]}" --reproducible
expect 2 'power of two' "${three[@]}" "${good[@]}" --reproducible --dp 3
expect 2 'window' "${three[@]}" "${good[@]}" --window -1
expect 2 'longformer' "${three[@]}" "${good[@]}" --sparse dense
expect 0 '' "${three[@]}" "${good[@]}" --window 20 --sparse bigbird --sparse-block 5
expect 0 '' "$program" plan --model tiny.json --window 9 --sparse fixed
grep -q '^attention   the last 9 tokens, fixed in blocks of 64$' out.log || fail "the plan of a mask"
expect 2 'leaves 3' "$program" plan --model tiny.json --seq-len 64 --reproducible --leaves 3
expect 2 'needs [0-9]* bytes' "${three[@]}" "${good[@]}" --memory-limit 64KiB
expect 2 'needs [0-9]* bytes' "$program" plan --model tiny.json --memory-limit 64KiB
expect 2 "'disk:'" "${three[@]}" "${good[@]}" --offload-optimizer folder
expect 3 'text.txt/states' "${three[@]}" "${good[@]}" --offload-optimizer disk:text.txt/states
expect 2 "'disk:'" "${three[@]}" "${good[@]}" --stash folder
expect 2 "'disk:'" "${three[@]}" "${good[@]}" --stash disk:
expect 3 'text.txt/stash' "${three[@]}" "${good[@]}" --stash disk:text.txt/stash
expect 2 'rank 1' "$mpirun" -n 1 "$program" "${good[@]}" --stash disk:a : -n 1 "$program" "${good[@]}"
# Of 5 blocks 3 go to disk, each once, and come back; their file leaves no name.
sed 's/"num_hidden_layers": 1/"num_hidden_layers": 5/' tiny.json >deep.json
expect 0 '' "${three[@]}" "${good[@]}" --model deep.json --steps 1 --stash disk:stash --trace trace.json
for what in write read 'wait for disk'; do
  for block in 0 1 2 3 4; do
    spans=$(grep -c "\"$what $block\"" trace.json)
    least=$((block < 3 ? 3 : 0)) # one for each rank
    if [ "$spans" -lt $least ] || [ "$spans" -gt $((2 * least)) ]; then fail "$spans spans '$what $block'"; fi
  done
done
[ -z "$(ls stash)" ] || fail "a stash that was left"
expect 0 '' "$program" plan --model deep.json --stash disk:stash
grep -q '^  stash on disk  *[1-9]' out.log || fail "a plan without the stash"
expect 3 'no/such' "${three[@]}" "${good[@]}" --trace no/such/file
expect 0 '' "${three[@]}" "${good[@]}" --dp 3 --batch 6 --zero 3 --grad-dtype bf16 \
  --offload-optimizer disk:states --memory-limit 1GiB --trace trace.json
grep -q 'dp 3 x sp 1, ZeRO stage 3$' out.log || fail "a header without the stage"
if ! grep -q '"rank 2"' trace.json || [ "$(tail -n 1 trace.json)" != ']' ]; then fail "a trace that is not whole"; fi

# Metrics that cannot be written do not end the run, but its exit code tells.
expect 3 'to the end' "${three[@]}" "${good[@]}" --metrics /dev/full --out full
[ -d full/step-0000000002 ] || fail "a run without its last checkpoint"

# A new run beside the checkpoints of another one.
expect 2 'of another run' "${three[@]}" "${good[@]}" --out full

# damaged NAME FILE: a copy of a checkpoint; its FILE is to be damaged.
damaged() {
  cp -r run-1/step-0000000002 "$1"
  file=$1/$2
}

verify=("$program" checkpoint verify)
expect 0 '' "${verify[@]}" run-1/step-0000000002
grep -q '^run-1/step-0000000002: step 2, .* every checksum matches$' out.log || fail "no line about a checkpoint"
expect 2 'checkpoint verify|show' "${verify[@]}"
expect 2 'checkpoint verify|show' "$program" checkpoint check run-1
expect 3 'nowhere' "${verify[@]}" nowhere
damaged truncated model.safetensors
truncate -s -1 "$file"
expect 3 'truncated/model.safetensors' "${verify[@]}" truncated
damaged flipped optimizer.safetensors
last=$(tail -c 1 "$file" | od -An -tu1)
# shellcheck disable=SC2059
printf "\\$(printf %o $((last ^ 1)))" | dd of="$file" bs=1 seek=$(($(stat -c %s "$file") - 1)) conv=notrunc status=none
expect 3 'checksum' "${verify[@]}" flipped
expect 3 'checksum' "${three[@]}" "${good[@]}" --resume flipped --steps 3

# A checkpoint whose name is taken by a file: training goes on, but not beyond its end.
mkdir taken
: >taken/step-0000000001
expect 0 '' "${three[@]}" "${good[@]}" --out taken --save-every 1
grep -q 'error: step 1: checkpoint not saved: .*; training goes on$' err.log || fail "a failed save was not told"
expect 0 '' "${verify[@]}" taken/step-0000000002
rm -r taken/step-0000000002
: >taken/step-0000000002
expect 3 'step-0000000002' "$program" "${good[@]}" --out taken
# A step that fails does not lose the checkpoint of the one before.
expect 4 'loss' "${three[@]}" "${good[@]}" --lr 1e20 --warmup 0 --steps 9 --clip 0 --out lost --save-every 1
last=$(find lost -name 'step-*' | sort | tail -n 1)
expect 0 '' "${verify[@]}" "${last:-none}"

# lines COUNT KEY...: that many lines of JSON, each with the keys of all benchmarks and these.
lines() {
  local count=$1 key line
  shift
  [ "$(wc -l <out.log)" -eq "$count" ] || fail "not $count lines: $(cat out.log)"
  while read -r line; do
    for key in bench what unit achieved ceiling ratio spread ceiling_spread seconds ranks config version "$@"; do
      [[ $line == "{"*"\"$key\": "*"}" ]] || fail "a line without '$key': $line"
    done
  done <out.log
  ! command -v python3 >/dev/null || python3 -c 'import json, sys; [json.loads(x) for x in sys.stdin]' <out.log ||
    fail "no JSON: $(cat out.log)"
}

# Benchmarks: whether they measure, never how fast.
mkdir data
for ranks in 1 2; do
  run=("$mpirun" -n "$ranks" "$program" bench)
  expect 2 'bogus' "${run[@]}" bogus
  expect 2 'expected .ulysses bench attention' "${run[@]}"
  expect 2 'no-such-flag' "${run[@]}" attention --no-such-flag 1
  expect 2 "head-dim 'many'" "${run[@]}" attention --head-dim 64,many
  expect 2 'key/value' "${run[@]}" attention --q-heads 4 --kv-heads 3
  expect 2 'preset' "${run[@]}" step --model no-such-model
  expect 0 '' "${run[@]}" attention --seq-len 65 --head-dim 16,32 --dtype bf16 --repeats 1
  lines 4 flops seq_len head_dim q_heads kv_heads dtype mask threads repeats
  expect 0 '' "${run[@]}" attention --seq-len 33 --mask full --dtype bf16,f32 --q-heads 5 --kv-heads 1 --repeats 2
  lines 4 mask
  expect 0 '' "${run[@]}" step --model tiny.json --seq-len 64 --dtype bf16 --recompute none,full --repeats 1 --zero $ranks
  lines 2 flops tokens tokens_per_s num_params sent_bytes peak_bytes model seq_len dtype recompute zero reproducible batch
  TMPDIR=data expect 0 '' "${run[@]}" step --model tiny.json --seq-len 64 --dp "$ranks" --dtype bf16 --repeats 1 --trace steps-$ranks.json
  lines 1 dp
  [ -z "$(find data -name 'ulysses-bench-*')" ] || fail "data of steps was left"
  [ "$(tail -n 1 steps-$ranks.json)" = ']' ] || fail "a trace of steps that is not whole"
  expect 0 '' "${run[@]}" ceiling --array-bytes 64KiB --repeats 1 --threads $((3 - ranks))
  lines $((ranks == 1 ? 6 : 7)) array_bytes
done
expect 2 'mpirun' "$mpirun" -n 1 "$program" bench exchange
expect 0 '' "$mpirun" -n 2 "$program" bench exchange --seq-len 64,65 --q-heads 5 --kv-heads 1 --repeats 2
lines 4 sent_bytes seq_len
expect 2 'rank 1' "$mpirun" -n 1 "$program" bench exchange : -n 1 "$program" bench exchange --repeats 2
expect 2 'rank 1' "$mpirun" -n 1 "$program" bench exchange : -n 1 "$program" bench ceiling
expect 2 'an argument is missing' "$mpirun" -n 1 "$program" bench exchange : -n 1 "$program" bench
# Where the CPU has no bf16, there is no ceiling, but a figure.
expect 0 '' env ONEDNN_MAX_CPU_ISA=AVX2 "$program" bench attention --seq-len 64 --dtype bf16 --repeats 1
[ "$(grep -c '"achieved": [0-9.e-]*, "ceiling": null, "ratio": null' out.log)" -eq 2 ] || fail "a ceiling without bf16"

# start RANKS ARGS...: a run without end, in the background.
start() {
  local ranks=$1 i
  shift
  rm -f pid.* m.jsonl
  timeout 60 "$mpirun" -n "$ranks" ./rank.sh "$program" "${good[@]}" --steps 1000000 --log-every 1000000 \
    --metrics m.jsonl "$@" >out.log 2>err.log </dev/null &
  job=$!
  for ((i = 0; i < 600; i++)); do
    [ -s m.jsonl ] && return
    sleep 0.1
  done
}

# One rank is told to stop: all save and end.
start 3 --out stopped
kill -USR1 "$(cat pid.1)"
wait $job
[ $? -eq 75 ] || fail "a stopped run: not exit code 75"
step=$(sed -n 's/^stopped by SIGUSR1 after step \([0-9]*\)$/\1/p' out.log)
[ -n "$step" ] || fail "a stopped run that does not say so"
if grep 'ulysses: error:' err.log; then fail "a stopped run with an error"; fi
[ "$(wc -l <m.jsonl)" = "$step" ] || fail "a stopped run with other metrics than steps"
expect 0 '' "${three[@]}" "${good[@]}" --steps $((step + 1)) --out stopped --resume auto --metrics m.jsonl
grep -q "^resumed .*, $step steps done" out.log || fail "a stopped run was not continued"
[ "$(wc -l <m.jsonl)" -eq $((step + 1)) ] || fail "a continued run with other metrics than steps"
start 1
kill -TERM "$(cat pid.0)"
wait $job
[ $? -eq 75 ] || fail "a stopped run without --out: not exit code 75"

# One rank dies: the job ends, and its starter names the rank.
start 3
kill -KILL "$(cat pid.1)"
wait $job
code=$?
if [ $code -eq 0 ] || [ $code -eq 124 ]; then fail "a run that lost a rank: exit code $code"; fi
grep -qi 'rank 1' err.log out.log || fail "nobody named the rank that died"

finish
