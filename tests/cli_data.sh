#!/bin/bash
# Tests how a run treats its data: what it says that it reads, how it treats sequences without a
# label, and that bad data lose nothing that was done.
#   cli_data.sh ULYSSES MPIRUN
program=$1
mpirun=$2
# shellcheck source=tests/cli_common.sh
. "$(dirname "$(realpath "$0")")/cli_common.sh"
patience 0

# int16 NUMBER...: little-endian
int16() {
  local n
  for n; do
    # shellcheck disable=SC2059
    printf "$(printf '\\x%02x' $((n & 255)) $((n >> 8 & 255)))"
  done
}

# shard END TOKEN...: of uint16 tokens, with the token that ends documents in its header
shard() {
  local end=$1
  shift
  int16 $((20240520 & 65535)) $((20240520 >> 16)) 1 0 $(($# & 65535)) $(($# >> 16)) $((end + 1)) 0
  head -c 1008 /dev/zero
  int16 "$@"
}

# has TEXT: the output of the last command has a line that matches.
has() { grep -q -- "$1" out.log || fail "no line '$1' in: $(cat out.log)"; }

# --- what data were read as

train=(train --model tiny.json --seq-len 8 --steps 4 --no-measure-peak)
mkdir texts shards
for i in 1 2 3; do echo "document $i" >texts/$i.txt; done
# 5 sequences of 8 tokens; the third is ends of documents alone.
read -ra tokens < <(echo 1 2 3 9 4 5 6 7 1 2 3 4 5 6 7 8 9 9 9 9 9 9 9 9 1 2 9 1 2 3 4 5 1 2 3 4 5 6 7 8 1)
shard 9 "${tokens[@]}" >blank.bin
shard 9 "${tokens[@]}" >shards/a
shard 9 1 2 3 >shards/b
for run in '' --dry-run; do
  expect 0 '' "$program" "${train[@]}" --data text.txt --eval-data texts $run
  has '^data  *text.txt: text, 3001 tokens in 1 document, 375 sequences$'
  has '^eval data  *texts: text in 3 files, 36 tokens in 3 documents, 4 sequences$'
  expect 0 '' "$program" "${train[@]}" --data shards --eval-data blank.bin --eval-windows 2 $run
  has '^data  *shards: 2 shards of uint16 tokens, 44 tokens in 11 documents, 5 sequences$'
  has '^eval data  *blank.bin: 1 shard of uint16 tokens, 41 tokens, 2 sequences$'
  expect 0 '' "$program" "${train[@]}" --data blank.bin --pack --eval-data blank.bin $run
  has '^data  *blank.bin: 1 shard of uint16 tokens, 41 tokens in 11 documents, 4 sequences (1 without a label are passed over)$'
  has '^eval data  .*, 4 sequences (1 without'
done

# --- sequences without a label are passed over, on any ranks in the same order, also where a run goes on

for ranks in 1 2; do
  run=("$mpirun" -n $ranks "$program" "${train[@]}" --data blank.bin --pack --eval-data blank.bin --reproducible --leaves 2)
  expect 0 '' "${run[@]}" --steps 9 --out whole-$ranks
  expect 0 '' "${run[@]}" --steps 9 --out halves-$ranks --save-every 4
  rm -r halves-$ranks/step-0000000009
  expect 0 '' "${run[@]}" --steps 9 --out halves-$ranks --resume auto
  for name in whole halves; do
    sed 's/.*"step":\([0-9]*\),"loss":\([^,]*\),.*/\1 \2/' $name-$ranks/metrics.jsonl | sort -n >$name-$ranks.txt
    [ "$(grep -c . $name-$ranks.txt)" -eq 9 ] || fail "$name, $ranks ranks: not 9 losses: $(cat $name-$ranks.txt)"
    cmp -s $name-$ranks.txt whole-1.txt || fail "$name, $ranks ranks: other losses: $(paste $name-$ranks.txt whole-1.txt)"
    cmp -s $name-$ranks/step-0000000009/model.safetensors whole-1/step-0000000009/model.safetensors ||
      fail "$name, $ranks ranks: other weights"
  done
done
# 9 steps are two epochs of four, and one of the third.
passed=$(grep -o '"passed_over":[0-9]*' whole-1/metrics.jsonl | awk -F: "{ sum += \$2 } END { print sum + 0 }")
[ "$passed" -ge 2 ] && [ "$passed" -le 3 ] || fail "passed over: $passed"
grep -q '"eval_loss":[1-9]' whole-1/metrics.jsonl || fail "an evaluation of nothing: $(cat whole-1/metrics.jsonl)"
expect 0 '' "$program" eval --checkpoint whole-1 --data blank.bin
has '^loss  *[1-9]'

# Where no token has a label, there is no loss: one rule for all that would compute it.
read -ra ends < <(yes 9 | head -n 41 | paste -sd' ')
shard 9 "${ends[@]}" >ends.bin
row 3 "no token of 'ends.bin' has a label" "${train[@]}" --pack --data ends.bin
row 3 "no token of 'ends.bin' has a label" "${train[@]}" --pack --data blank.bin --eval-data ends.bin
row 3 "no token of 'ends.bin' has a label" "${train[@]}" --pack --data ends.bin --dry-run
row 3 "no token of 'ends.bin' has a label" eval --checkpoint whole-1 --data ends.bin

# --- tokens beyond the vocabulary are found at the start, wherever they are

for place in 0 20 40; do
  cp blank.bin beyond-$place
  int16 300 | dd of=beyond-$place bs=1 seek=$((1024 + 2 * place)) conv=notrunc status=none
  for more in '' --dry-run --pack; do
    row 3 "'beyond-$place': token $place is 300, not below the vocabulary size 257" "${train[@]}" --data beyond-$place $more
  done
done
rows_end

# --- what a start has seen of the data, the next one remembers

grep -q '"without_label":\[2\]' whole-1/scan.json || fail "nothing is remembered: $(cat whole-1/scan.json)"
sed 's/\[2\]/[2,3]/' whole-1/scan.json >changed.json
cp changed.json whole-1/scan.json
expect 0 '' "$program" "${train[@]}" --data blank.bin --pack --steps 10 --out whole-1 --resume auto
has '(2 without a label are passed over)'
# That of other data, of another length or damaged is worth nothing.
cp changed.json whole-1/scan.json
expect 0 '' "$program" "${train[@]}" --data blank.bin --pack --steps 11 --seq-len 7 --out whole-1 --resume auto
has '5 sequences$'
head -c 100 changed.json >whole-1/scan.json
expect 0 '' "$program" "${train[@]}" --data blank.bin --pack --steps 12 --out whole-1 --resume auto
has '(1 without a label are passed over)'

# --- a run that ends because of its data saves first

# cut NAME TEXT ARGUMENTS...: a run without end on a copy of NAME, used, which is cut once the run is under way
cut_data() {
  local ranks name=$1 text=$2 i
  shift 2
  for ranks in 1 3; do
    rm -rf used saved metrics.jsonl
    cp "$name" used
    judge used 3 "$text" "$mpirun" -n $ranks "$program" "${train[@]}" --steps 1000000 --log-every 1000000 \
      --metrics metrics.jsonl --out saved "$@" &
    for ((i = 0; i < 300; i++)); do
      [ ! -s metrics.jsonl ] || break
      sleep 0.1
    done
    truncate -s 9 used
    wait $! || failed=1
    steps=$(tail -n 1 metrics.jsonl | grep -o '"step":[0-9]*' | cut -d: -f2)
    saved=$(cd saved && echo step-*)
    [ "$((10#${saved#step-}))" -ge "$((steps))" ] || fail "$ranks ranks: $steps steps, and saved: $(ls saved)"
    cp "$name" used
    expect 0 '' "$mpirun" -n $ranks "$program" "${train[@]}" --steps $((10#${saved#step-} + 2)) --out saved --resume auto "$@"
    has "^resumed .*$saved"
  done
}
cut_data text.txt "'used' was changed while in use" --data used
cut_data text.txt "'used' was changed while in use" --data text.txt --eval-data used --eval-every 1

finish
