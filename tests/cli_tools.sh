#!/bin/bash
# Tests ulysses prepare, doctor and checkpoint: what they print, their exit codes, and that nothing
# hangs, alone and on several ranks.
#   cli_tools.sh ULYSSES MPIRUN
program=$1
mpirun=$2
mixed=$(dirname "$(realpath "$0")")/data/hf_qwen3_mixed
# shellcheck source=tests/cli_common.sh
. "$(dirname "$0")/cli_common.sh"
patience 1

# has TEXT: the output of the last command has a line that matches.
has() { grep -q -- "$1" out.log || fail "no line '$1' in: $(cat out.log)"; }
# json: the output is one JSON value.
json() {
  [ "$(wc -l <out.log)" -eq 1 ] || fail "not one line: $(cat out.log)"
  is_json <out.log || fail "no JSON: $(cat out.log)"
}

# --- prepare

mkdir books
for i in 1 2 3 4 5 6 7 8 9; do printf 'book %d\nof two lines\n' $i >books/$i.txt; done
printf '{"text": "one"}\n{"text": "two"}\n' >good.jsonl
printf '{"text": "one"}\n{"body": "two"}\n' >bad.jsonl
: >empty.txt
prepare=("$program" prepare)
expect 0 '' "${prepare[@]}" books --out data
has '^read  *9 files, '
has '^train  *9 documents, 189 tokens, 1 shard, 1.4 KiB: data/train$'
[ "$(find data -type f)" = data/train/000000.bin ] || fail "other files: $(find data)"
expect 0 '' "${prepare[@]}" --documents=line --held-out 0.3 --shard-tokens 50 books good.jsonl --out lines
has '^train  *[0-9]* documents, [0-9]* tokens, [0-9]* shards,'
has '^eval  *[0-9]* documents, '
expect 0 '' "$mpirun" -n 3 "${prepare[@]}" --documents jsonl good.jsonl --out web
[ "$(grep -c '^train' out.log)" -eq 1 ] || fail "prepared more than once"
has '^train  *2 documents, 8 tokens'
expect 3 'is a token shard, not text' "${prepare[@]}" data/train --out again
[ ! -e again ] || fail "a folder of a failure was left"
expect 3 'is a device' "${prepare[@]}" /dev/zero --out again
mkdir -p tree/deep && cp -r books tree/deep
expect 2 "tree/deep/out' lies in 'tree'" "${prepare[@]}" tree --out tree/deep/out
expect 0 '' "${prepare[@]}" tree --out tree/.shards
expect 2 "tree' lies in 'tree'" "${prepare[@]}" tree --out tree
[ ! -e tree/deep/out ] || fail "a folder of a failure was left"
shard=$(find data/train -type f | head -n 1)
mkfifo pieces
{ head -c 2 "$shard" && sleep 0.3 && tail -c +3 "$shard"; } >pieces &
expect 3 'is a token shard, not text' "${prepare[@]}" pieces --out again
expect 2 "data/train' exists already" "${prepare[@]}" books --out data
expect 3 "bad.jsonl', line 2: there is no \"text\"" "${prepare[@]}" --documents jsonl bad.jsonl --out bad
[ ! -e bad ] || fail "shards of a failure were left"
expect 3 "line 1, column" "${prepare[@]}" --documents jsonl books --out bad
printf '{"text": "one"}\n{"text": "\\ud800"}\n{"text": "a", "text": "b"}\n{"text": "two"}\n' >broken.jsonl
expect 3 "broken.jsonl', line 2, column .*skip.bad leaves such lines out" "${prepare[@]}" --documents jsonl broken.jsonl --out bad
[ ! -e bad ] || fail "shards of a failure were left"
expect 0 '' "${prepare[@]}" --documents jsonl --skip-bad broken.jsonl bad.jsonl --out skipped
has "^left out  *3 lines: first 'broken.jsonl', line 2, column"
has '^train  *3 documents, 12 tokens'
expect 3 "missing.txt': No such file" "${prepare[@]}" missing.txt --out bad
expect 3 'no text in 1 file' "${prepare[@]}" empty.txt --out bad
expect 3 "text.txt" "${prepare[@]}" books --out text.txt/data
expect 2 'leaves no document' "${prepare[@]}" text.txt --out bad --held-out 0.5
# What was prepared can be trained on.
expect 0 '' "$mpirun" -n 2 "$program" "${bare[@]}" --data lines/train --eval-data lines/eval --seq-len 16 --out run

# --- checkpoint

for command in verify show; do
  checkpoint=("$program" checkpoint "$command")
  expect 0 '' "${checkpoint[@]}" run/step-0000000002
  has 'run/step-0000000002'
  ! grep -q 'the newest' out.log || fail "$command: the newest of what?"
  [ $command = show ] || has '^run/step-0000000002: step 2, .* every checksum matches$'
  expect 0 '' "${checkpoint[@]}" run
  has 'run/step-0000000002, the newest of run'
  expect 0 '' "${checkpoint[@]}" run --json
  json
  has '"step":2,'
  expect 3 'nowhere' "${checkpoint[@]}" nowhere
  expect 3 'data/train' "${checkpoint[@]}" data/train
  expect 3 "text.txt" "${checkpoint[@]}" text.txt
done
expect 0 '' "$program" checkpoint show run
has '^  heads  *4 query, 2 key/value, of 8 elements$'
has '^  model.layers.\*.self_attn.k_proj.weight  *f32  \[16, 32\]  *2.0 KiB$'
has '^  v.model.norm.weight '
expect 0 '' "$program" checkpoint show --tensors run
has '^  model.layers.0.self_attn.k_proj.weight '
# A window that config.json gives, to some layers or to all of them.
expect 0 '' "$program" checkpoint show "$mixed"
has '^attention  *the last 13 tokens in 2 of 4 layers$'
expect 0 '' "$program" checkpoint show "$mixed" --json
has '"window":13,"window_layers":2,'
cp -r run/step-0000000002 damaged
truncate -s -1 damaged/optimizer.safetensors
expect 3 'damaged/optimizer.safetensors' "$program" checkpoint show damaged
expect 3 'damaged/optimizer.safetensors' "$program" checkpoint show damaged --json
[ ! -s out.log ] || fail "JSON of a damaged checkpoint"
sed -i 's/"seed": 1/"seed": 2/' damaged/trainer.json
expect 3 'own checksum' "$program" checkpoint show damaged

# Old checkpoints go; but beside those of a run that went further nothing does, least of all what was just saved.
expect 0 '' "$program" "${good[@]}" --steps 6 --out kept --save-every 1 --keep-last 2 --keep-every 3
[ "$(echo kept/step-*)" = 'kept/step-0000000003 kept/step-0000000005 kept/step-0000000006' ] || fail "kept: $(echo kept/*)"
expect 0 '' "$program" "${good[@]}" --steps 5 --out kept --resume kept/step-0000000003 --save-every 1 --keep-last 1
grep -q "kept/step-0000000006' is of a later step" err.log || fail "no warning about checkpoints of later steps"
[ "$(find kept -name 'step-*' | wc -l)" -eq 4 ] || fail "beside a run that went further: $(echo kept/*)"
mkdir kept/step-0000009999 # somebody else's, though it bears the name
expect 0 '' "$program" checkpoint verify kept
grep -q 'kept/step-0000000006, the newest of kept' out.log || fail "an empty folder was taken for a checkpoint: $(cat out.log)"

# --- doctor

# examined CODE COMMAND...: the exit code; findings are no errors.
examined() {
  local code=$1 got
  shift
  timeout $limit "$@" >out.log 2>err.log </dev/null
  got=$?
  [ $got -eq "$code" ] || fail "$*: exit code $got (expected $code): $(cat out.log err.log)"
  ! grep -q 'ulysses: error:' err.log || fail "$*: $(cat err.log)"
}

examined 0 "$program" doctor
has '^ranks  *1$'
has '^ok  *small exchange  *correct'
examined 0 "$program" doctor --json
json
for ranks in 1 2 3 4; do
  examined 0 "$mpirun" -n $ranks "$program" doctor
  has "^ranks  *$ranks$"
  for what in program libraries kernels 'small exchange' 'large exchange' attention; do
    [ "$(grep -c "^ok  *$what  " out.log)" -eq 1 ] || fail "$ranks ranks: no '$what': $(cat out.log)"
  done
  examined 0 env OMP_NUM_THREADS=16 "$mpirun" -n $ranks "$program" doctor
  has '^WARN  threads'
done
examined 0 "$mpirun" -n 3 "$program" doctor --json
json
# Ranks that were started differently: all end, with what is wrong.
examined 0 "$mpirun" -n 1 "$program" doctor : -n 1 env ULYSSES_ISA=reference "$program" doctor
has '^WARN  kernels .*, reference on rank 1'
examined 1 "$mpirun" -n 2 "$program" doctor : -n 1 env ULYSSES_ISA=none "$program" doctor
has '^FAIL  small exchange  *rank 2: ULYSSES_ISA=none'
cp "$program" other
echo >>other
examined 1 "$mpirun" -n 2 "$program" doctor : -n 1 ./other doctor
has '^FAIL  program  *rank 2 has a different ulysses program'
examined 0 "$mpirun" -n 1 "$program" doctor : -n 1 "$program" doctor --json
expect 2 'no-such-flag' "$mpirun" -n 2 "$program" doctor : -n 1 "$program" doctor --no-such-flag

finish
