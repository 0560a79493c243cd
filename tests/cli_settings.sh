#!/bin/bash
# Tests settings of a run that show in what it prints and leaves, and in its plan: packed documents,
# masks, activations and optimizer states on disk, traces.
#   cli_settings.sh ULYSSES MPIRUN
program=$1
mpirun=$2
# shellcheck source=tests/cli_common.sh
. "$(dirname "$(realpath "$0")")/cli_common.sh"
patience 0

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
  expect 0 '' "${run[@]}" "${shard[@]}" --pack --doc-end 5
done
expect 0 '' "$program" plan --model tiny.json --pack
grep -q '^attention   within documents$' out.log || fail "the plan of packed documents"

three=("$mpirun" -n 3 "$program")
expect 0 '' "${three[@]}" "${good[@]}" --window 20 --sparse bigbird --sparse-block 5
expect 0 '' "$program" plan --model tiny.json --window 9 --sparse fixed
grep -q '^attention   the last 9 tokens, fixed in blocks of 64$' out.log || fail "the plan of a mask"

# Tiles of keys that a window hides whole from some queries, at a head size that nothing divides: the losses are those
# of the reference kernels.
sed 's/"num_key_value_heads": 2/&, "head_dim": 50/' tiny.json >fifty.json
seq 1000 9000 >long.txt
fifty=(train --model fifty.json --data long.txt --seq-len 512 --window 64 --steps 3 --log-every 1)
expect 0 '' "$program" "${fifty[@]}"
grep -o 'loss [0-9.]*' out.log >losses
expect 0 '' env ULYSSES_ISA=reference "$program" "${fifty[@]}"
grep -o 'loss [0-9.]*' out.log | paste losses - >both
awk '{ d = $2 - $4; if (d < -1e-3 || d > 1e-3) exit 1 } END { exit NR != 3 }' both ||
  fail "losses under a window at a head size of 50, and those of the reference: $(cat both)"

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

expect 0 '' "${three[@]}" "${good[@]}" --dp 3 --batch 6 --zero 3 --grad-dtype bf16 \
  --offload-optimizer disk:states --memory-limit 1GiB --trace trace.json
grep -q 'dp 3 x sp 1, ZeRO stage 3$' out.log || fail "a header without the stage"
if ! grep -q '"rank 2"' trace.json || [ "$(tail -n 1 trace.json)" != ']' ]; then fail "a trace that is not whole"; fi

# A plan under mpirun is printed once.
for ranks in 1 3; do
  expect 0 '' "$mpirun" -n "$ranks" "$program" plan --model tiny.json --seq-len 64
  [ "$(grep -c '^model' out.log)" -eq 1 ] || fail "$ranks plans"
done

finish
