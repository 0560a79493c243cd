#!/bin/bash
# Tests what `train --resume`, `eval`, `generate`, `checkpoint verify` and `checkpoint show` say
# about checkpoints that are incomplete, were changed, are made to harm, or belong to another model.
# Each row expects one message, exit code 3, and no rank that hangs.
#   bad_checkpoint.sh ULYSSES MPIRUN
program=$1
mpirun=$2
# shellcheck source=tests/cli_common.sh
. "$(dirname "$(realpath "$0")")/cli_common.sh"
patience 0

expect 0 '' "$program" "${good[@]}" --out run --save-every 1
whole=run/step-0000000002
resume=("${good[@]}" --steps 3 --resume)
eval=(eval --data text.txt --seq-len 64 --checkpoint)
generate=(generate --prompt a --max-tokens 1 --checkpoint)

num_damaged=0
# damaged FILE COMMAND [ARGUMENTS]...: a checkpoint, $bad, in whose FILE something is changed by a command on its name
damaged() {
  local file=$1
  shift
  num_damaged=$((num_damaged + 1))
  bad=bad-$num_damaged
  cp -r $whole "$bad"
  "${@//@/$bad/$file}"
}

# each TEXT: every command that reads a checkpoint refuses $bad. Those that resume from it run on several ranks, unless
# $resumes is lone_row, and the others in one process. `verify` and `show` take turns, and so do `eval` and `generate`, which
# do not read the optimizer's file.
resumes=row
each() {
  $resumes 3 "$bad/$1" "${resume[@]}" "$bad"
  if [ $((num_damaged & 1)) -eq 0 ]; then
    lone_row 3 "$bad/$1" checkpoint verify "$bad"
  else
    lone_row 3 "$bad/$1" checkpoint show "$bad"
  fi
  [[ $1 != optimizer* ]] || return 0
  if [ $((num_damaged & 2)) -eq 0 ]; then
    lone_row 3 "$bad/$1" "${eval[@]}" "$bad"
  else
    lone_row 3 "$bad/$1" "${generate[@]}" "$bad"
  fi
}

# flip PLACE FILE: the lowest bit of the byte at a place; negative: from the end
flip() {
  local place=$1 byte
  [ "$place" -ge 0 ] || place=$(($(stat -c %s "$2") + place))
  byte=$(od -An -tu1 -j "$place" -N 1 "$2")
  # shellcheck disable=SC2059
  printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$2" bs=1 seek="$place" conv=notrunc status=none
}

# --- what is no checkpoint

mkdir empty
row 3 "'nowhere' is not a checkpoint" "${resume[@]}" nowhere
row 3 "'empty' is not a checkpoint" "${resume[@]}" empty
row 3 "'text.txt" "${resume[@]}" text.txt
row 0 '' "${resume[@]}" run # stands for the newest in it
for what in nowhere empty; do
  row 3 "'$what' is not a checkpoint" "${eval[@]}" $what
  row 3 "'$what' is not a checkpoint" "${generate[@]}" $what
done
row 3 "'text.txt" "${eval[@]}" text.txt
row 3 "'text.txt" "${generate[@]}" text.txt
for command in verify show; do
  lone_row 3 "'nowhere' is not a checkpoint" checkpoint $command nowhere
  lone_row 3 "'empty' is not a checkpoint" checkpoint $command empty
  lone_row 3 "'text.txt'" checkpoint $command text.txt
done

# A folder of Hugging Face's, and files of one.
mkdir hf
cp tiny.json hf/config.json
cp $whole/model.safetensors hf
hf="'hf' is not a checkpoint: it has no 'hf/trainer.json'.*Hugging Face.*--init 'hf'"
row 3 "$hf" "${resume[@]}" hf
row 0 '' "${eval[@]}" hf
row 0 '' "${generate[@]}" hf
lone_row 3 "$hf" checkpoint verify hf
lone_row 0 '' checkpoint show hf
# Whatever model it holds.
mkdir other
echo '{"model_type": "mamba"}' >other/config.json
row 3 "\"model_type\" is \"mamba\"" "${generate[@]}" other
for file in hf/model.safetensors hf/config.json $whole/model.safetensors; do
  row 3 "'$file' is a file, but checkpoints are folders" "${resume[@]}" $file
  row 3 "'$file' is a file, but checkpoints are folders" "${eval[@]}" $file
  row 3 "'$file' is a file, but checkpoints are folders" "${generate[@]}" $file
  lone_row 3 "'$file' is a file, but checkpoints are folders" checkpoint verify $file
done
# What is not there has no permissions.
damaged model.safetensors rm @
row 3 "$bad/model.safetensors': No such file or directory: check the path$" "${resume[@]}" "$bad"

# --- files that are missing, are folders, pipes or links to themselves

for file in config.json trainer.json model.safetensors optimizer.safetensors; do
  damaged $file rm @
  row 3 "$file" "${resume[@]}" "$bad"
  lone_row 3 "$file" checkpoint verify "$bad"
  damaged $file bash -c 'rm @ && mkdir @'
  each "$file' is a folder"
  damaged $file bash -c 'rm @ && mkfifo @'
  each "$file' is not a regular file"
  damaged $file bash -c "rm @ && ln -s $file @"
  row 3 "Too many levels of symbolic links" "${resume[@]}" "$bad"
done
if [ $has_permissions = yes ]; then
  for file in config.json trainer.json model.safetensors optimizer.safetensors; do
    damaged $file chmod 000 @
    row 3 "$file.*Permission denied" "${resume[@]}" "$bad"
    lone_row 3 "$file.*Permission denied" checkpoint verify "$bad"
  done
fi

# --- truncated, too long

for file in config.json trainer.json model.safetensors optimizer.safetensors; do
  for size in 0 7 100 -1; do
    damaged $file truncate -s $size @
    row 3 "$bad/$file" "${resume[@]}" "$bad"
    lone_row 3 "$bad/$file" checkpoint verify "$bad"
  done
  damaged $file bash -c 'echo x >>@'
  each "$file"
done

# --- a flipped bit

for place in 20 200 -20; do
  damaged trainer.json flip $place @
  each trainer.json
  damaged config.json flip $place @
  each config.json
done
for file in model.safetensors optimizer.safetensors; do
  for place in 0 1 8 30 200; do # the length, the header
    damaged $file flip $place @
    each $file
  done
  for place in 3000 -1; do # the data, which `show` does not read
    damaged $file flip $place @
    row 3 "$bad/$file': tensor .* does not match its checksum" "${resume[@]}" "$bad"
    lone_row 3 "$bad/$file': tensor .* does not match its checksum" checkpoint verify "$bad"
    [ $file = model.safetensors ] || continue
    row 3 "$bad/$file': tensor .* does not match its checksum" "${eval[@]}" "$bad"
    row 3 "$bad/$file': tensor .* does not match its checksum" "${generate[@]}" "$bad"
  done
done

# --- a flipped bit in a checkpoint of an older format

older=$(dirname "$(realpath "$0")")/data/checkpoint_v4/llama
for file in model.safetensors optimizer.safetensors; do
  bad=bad-old-$file
  cp -r "$older" "$bad"
  flip -1 "$bad/$file"
  lone_row 3 "$bad/$file': tensor .* does not match its checksum" checkpoint verify "$bad"
  [ $file = model.safetensors ] || continue
  row 3 "$bad/$file': tensor .* does not match its checksum" "${eval[@]}" "$bad"
  row 3 "$bad/$file': tensor .* does not match its checksum" "${generate[@]}" "$bad"
done

# --- hostile headers of safetensors

# header LENGTH JSON FILE: puts a length and a text in the place of a file
header() {
  local i bytes=''
  for ((i = 0; i < 8; i++)); do bytes+=$(printf '\\x%02x' $(($1 >> (8 * i) & 255))); done
  printf '%b%s' "$bytes" "$2" >"$3"
}
# json TEXT JSON: a file of that header, followed by 8 bytes
json() {
  damaged model.safetensors header ${#2} "$2" @
  printf '12345678' >>"$bad/model.safetensors"
  each "model.safetensors.*$1"
}
tensor='"dtype":"F32","shape":[2],"data_offsets":[0,8]'
for length in -1 9223372036854775807 -9223372036854775808 100000001; do
  damaged model.safetensors header $length '{}' @
  each 'model.safetensors. is not a safetensors file: its first 8 bytes give a header of'
done
damaged model.safetensors header 100000000 '{}' @
each 'model.safetensors. is truncated: its header should have 100000000 bytes'
damaged model.safetensors header 0 '' @
each 'model.safetensors. is not a safetensors file: its header does not begin'
json "does not begin with '{'" '[]'
resumes=lone_row # all ranks read headers in the same way, so one process is enough
json 'is not the JSON' '{'
json 'is not the JSON' '{"a":NaN}'
json 'is not the JSON' '{"a":{'"$tensor"',"x":1e999}}'
json 'duplicate object key' '{"a":{'"$tensor"'},"a":{'"$tensor"'}}'
json 'is not the JSON.*depth' '{"a":'"$(head -c 5000 /dev/zero | tr '\0' '[')"
json 'is not the JSON' $'{"\xff":1}'
json 'is not the JSON' '{"a\u0000b":1}'
json '__metadata__ is not an object' '{"__metadata__":1}'
json "value of 'x' in __metadata__ is not a string" '{"__metadata__":{"x":1}}'
json 'is not an object' '{"a":1}'
json 'control characters' '{"a\u001b[31m":{'"$tensor"'}}'
json 'the name of a tensor' '{"'"$(head -c 5000 /dev/zero | tr '\0' a)"'":{'"$tensor"'}}'
json 'has no dtype' '{"a":{"shape":[2],"data_offsets":[0,8]}}'
json "dtype 'F4'" '{"a":{"dtype":"F4","shape":[16],"data_offsets":[0,8]}}'
json '' '{"a":{"dtype":"F16","shape":[4],"data_offsets":[0,8]}}'
json 'has no shape' '{"a":{"dtype":"F32","data_offsets":[0,8]}}'
json 'dims' '{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]}}'
json 'dim 0 .* is not an integer' '{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}'
json 'dim 0 .* is not an integer' '{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}'
json 'do not match' '{"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,8]}}'
json 'are not two integers' '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}}'
json 'are not two integers' '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8.0]}}'
json 'do not lie within' '{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}'
json 'do not lie within' '{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}'
json 'do not lie within' '{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}'
json 'do not lie within' '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9223372036854775807]}}'
json 'is not the JSON' '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9223372036854775808]}}'
json 'do not match' '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}'
json 'they overlap' '{"a":{'"$tensor"'},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}'
json 'there is a hole' '{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}'
json 'its tensors end at 4' '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
json '' '{"a":{'"$tensor"'}}'
json '' '{"a":{'"$tensor"'},"__metadata__":{"format":"tf"}}'

resumes=row

# --- hostile trainer.json and config.json: values that no save writes

# value FILE TEXT FROM TO: a text in the place of another one
value() {
  damaged "$1" sed -i "s/$3/$4/" @
  each "$1.*$2"
}
value trainer.json '' '"step": 2' '"step": -2'
resumes=lone_row
value trainer.json '' '"step": 2' '"step": 3'
value trainer.json '' '"step": 2' '"step": "2"'
value trainer.json 'JSON' '"step": 2' '"step": NaN'
value trainer.json 'JSON' '"step": 2' '"step": 99999999999999999999'
value trainer.json 'JSON.*duplicate' '"step": 2' '"step": 2, "step": 2'
value trainer.json 'version 2, but this program reads versions 3 to 5' '"version": 5' '"version": 2'
value trainer.json 'dtype' '"dtype": "f32"' '"dtype": "f16"'
value trainer.json 'attention' '"attention": {}' '"attention": []'
value trainer.json 'window' '"attention": {}' '"attention": {"window": -2}'
value trainer.json 'doc_end' '"attention": {}' '"attention": {"doc_end": 4294967296}'
value trainer.json 'pattern' '"attention": {}' '"attention": {"sparse": {"pattern": "dense"}}'
value trainer.json 'sparse' '"attention": {}' '"attention": {"sparse": 1}'
value trainer.json 'block' '"attention": {}' '"attention": {"sparse": {"pattern": "fixed", "block": "1"}}'
value trainer.json 'own checksum' '"attention": {}' '"attention": {"sparse": {"pattern": "none", "block": 1, "local": 1, "global": 1, "random": 1}}'
value trainer.json 'block. is .* from 1 to' '"attention": {}' '"attention": {"sparse": {"pattern": "fixed", "block": 0, "local": 1, "global": 1, "random": 1}}'
value trainer.json 'own checksum' '"attention": {}' '"attention": {"window": 9}'
value trainer.json 'seq_len.* from 1 to' '"seq_len": 64' '"seq_len": 0'
value trainer.json '' '"sequences_done": 2' '"sequences_done": 9223372036854775807'
value trainer.json '' '"data_content": "' '"data_content": "x'
value trainer.json 'checksum .* is missing' '"checksums": {' '"checksums": [], "y": {'
value trainer.json 'checksum .* is missing' '"version": 5' '"version": 4'
resumes=row
value config.json 'hidden_size' '"hidden_size": 32' '"hidden_size": -32'
damaged config.json sed -i 's/"num_hidden_layers": 1/"num_hidden_layers": 60000/' @
each ''
damaged config.json sed -i 's/"rope_theta": 10000/"rope_theta": 20000/' @
each ''
value config.json 'duplicate' '"hidden_size": 32' '"hidden_size": 32, "hidden_size": 32'
damaged config.json bash -c 'head -c 5000 /dev/zero | tr "\0" "[" >@'
each config.json
damaged trainer.json truncate -s 100000001 @
each 'trainer.json. has 100000001 bytes, but at most'

# --- of another model, or another run

sed 's/48/64/' tiny.json >wider.json
row 3 "'$whole' is a checkpoint of another model: continue it with --model '$whole/config.json'" "${resume[@]}" $whole --model wider.json
row 3 'another model' "${resume[@]}" $whole --model llama-1m
row 2 "made with --seed 1, not 9" "${resume[@]}" $whole --seed 9
# A run whose RoPE is scaled is told what differs, and both ways that the message names continue it.
scaled=(--rope-scaling yarn --rope-factor 4)
expect 0 '' "$program" "${good[@]}" --out scaled --steps 1 "${scaled[@]}"
yarn=scaled/step-0000000001
row 3 "'$yarn' is .*: its RoPE has theta 10000, scaled by yarn, factor 4, and that of this run has theta 10000: give --rope-scaling and --rope-factor as before, or --model '$yarn/config.json'" "${resume[@]}" $yarn
row 3 "scaled by yarn, factor 4, and that of this run has theta 10000, scaled by yarn, factor 8" "${resume[@]}" $yarn --rope-scaling yarn --rope-factor 8
row 3 "its RoPE has theta 10000, and that of this run has theta 10000, scaled by yarn, factor 4.*a new run .* --init '$whole'" "${resume[@]}" $whole "${scaled[@]}"
row 0 '' "${resume[@]}" $yarn "${scaled[@]}"
row 0 '' "${resume[@]}" $yarn --model $yarn/config.json
expect 0 '' "$program" "${good[@]}" --model wider.json --out wider
for file in config.json trainer.json model.safetensors optimizer.safetensors; do
  damaged $file cp wider/step-0000000002/$file @
  if [ $file = optimizer.safetensors ]; then each $file; else each ''; fi
  [ $file != config.json ] || continue # that of each step is the same
  damaged $file cp run/step-0000000001/$file @
  row 3 "$bad/" "${resume[@]}" "$bad"
  lone_row 3 "$bad/" checkpoint verify "$bad"
done

# The newest in --out counts, damaged as it is: no run falls back unseen.
for ranks in 1 3; do
  cp -r run newest-$ranks
  truncate -s -1 newest-$ranks/step-0000000002/model.safetensors
  expect 3 "newest-$ranks/step-0000000002/model.safetensors" "$mpirun" -n $ranks "$program" "${good[@]}" --steps 3 --out newest-$ranks --resume auto
  expect 3 "newest-$ranks/step-0000000002/model.safetensors" "$mpirun" -n $ranks "$program" checkpoint verify newest-$ranks
done

finish
