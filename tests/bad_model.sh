#!/bin/bash
# Tests what `train --init`, `eval`, `generate`, `checkpoint show` and `export` say about folders in
# Hugging Face's format that are incomplete, do not fit together, or are made to harm. Each row
# expects one message, exit code 3 (or 2 for options), and no rank that hangs.
#   bad_model.sh ULYSSES MPIRUN
program=$1
mpirun=$2
# shellcheck source=tests/cli_common.sh
. "$(dirname "$(realpath "$0")")/cli_common.sh"
patience 0

# A good folder, in one file and in several.
expect 0 '' "$program" "${good[@]}" --steps 1 --out run
expect 0 '' "$program" export run --out whole --dtype f16
expect 0 '' "$program" export run --out cut --shard-size 20KB
expect 0 '' "$program" export run --out exact
index=model.safetensors.index.json
rm -r run

init=(train --data text.txt --seq-len 64 --steps 1 --no-measure-peak --init)
eval=(eval --data text.txt --seq-len 64 --checkpoint)
generate=(generate --prompt a --max-tokens 1 --checkpoint)
for good_folder in whole cut; do
  row 0 '' "${init[@]}" $good_folder
  row 0 '' "${eval[@]}" $good_folder
  row 0 '' "${generate[@]}" $good_folder
done

num_bad=0
# bad_folder FROM COMMAND [ARGUMENTS]...: a copy of the folder, $bad, in which something is changed by a command that runs
# in it
bad_folder() {
  num_bad=$((num_bad + 1))
  bad=bad-$num_bad
  cp -r "$1" $bad
  (cd $bad && "${@:2}")
}

# each TEXT: every command that reads a folder refuses $bad. A run does so on several ranks; the others take turns.
each() {
  row 3 "$1" "${init[@]}" $bad
  case $((num_bad % 4)) in
  0) lone_row 3 "$1" "${eval[@]}" $bad ;;
  1) lone_row 3 "$1" "${generate[@]}" $bad ;;
  2) lone_row 3 "$1" checkpoint show $bad ;;
  3) lone_row 3 "$1" export $bad --out out-@ ;;
  esac
}

# --- what is no such folder

mkdir empty
for what in nowhere empty; do
  lone_row 3 "'$what' is not a checkpoint" export $what --out out-@
done
row 2 "--init 'nowhere' does not exist: give a Hugging Face folder" "${init[@]}" nowhere
row 2 "--init 'empty' has no 'config.json': give a Hugging Face folder" "${init[@]}" empty
lone_row 2 "--init 'nowhere' does not exist" plan --seq-len 64 --init nowhere
row 3 "'run-of-nothing' is not a checkpoint" "${init[@]}" run-of-nothing --model tiny.json
bad_folder whole rm model.safetensors
each "'$bad' has neither 'model.safetensors' nor '$index': weights in another format must first be saved as safetensors"
bad_folder whole rm config.json
row 2 "--init '$bad' has no 'config.json'" "${init[@]}" $bad
lone_row 3 "'$bad' is not a checkpoint" "${eval[@]}" $bad
lone_row 3 "it has no 'whole/trainer.json'.*--init 'whole'" checkpoint verify whole
row 3 "it has no 'whole/trainer.json'" "${good[@]}" --resume whole
# Checkpoints that have lost what makes them complete are not taken for such folders.
bad_folder whole touch optimizer.safetensors
each "'$bad' is not a checkpoint: it has no '$bad/trainer.json'"
# What is in a folder decides what it is, and not its name.
cp -r whole step-0000000007
row 0 '' "${init[@]}" step-0000000007
lone_row 0 '' checkpoint show step-0000000007

# --- files that are missing, truncated, folders, pipes

first=$(cd cut && ls model-00001-of-*.safetensors)
last=$(cd cut && ls model-0000?-of-*.safetensors | tail -n 1)
bad_folder cut rm "$first"
each "'$bad/$index' names the file '$first', which is not in the folder"
for size in 0 7 100 3000 -1; do
  bad_folder cut truncate -s $size "$last"
  each "$bad/$last' is truncated\|$bad/$last'.*damaged"
  bad_folder whole truncate -s $size model.safetensors
  each "$bad/model.safetensors' is truncated\|$bad/model.safetensors'.*damaged"
done
bad_folder cut bash -c "echo x >>$first"
each "$bad/$first' has .* bytes of data, but its tensors end"
bad_folder whole bash -c 'rm model.safetensors && mkdir model.safetensors'
each "$bad/model.safetensors' is a folder"
bad_folder whole bash -c 'rm model.safetensors && mkfifo model.safetensors'
each "$bad/model.safetensors' is not a regular file"
bad_folder cut bash -c "rm $index && mkfifo $index"
each "$bad/$index' is not a regular file"
bad_folder whole bash -c 'rm model.safetensors && echo "{}" >pytorch_model.bin'
each "'$bad' has neither 'model.safetensors' nor '$index': weights in another format"

# --- the index

# index TEXT CHANGE: the index, changed by sed
index() {
  bad_folder cut sed -i "$2" $index
  each "$1"
}
index "the file of tensor 'model.norm.weight' is '../$last', which is not the name" "s|model.norm.weight\": \"|&../|"
index "is '/etc/passwd.safetensors', which is not the name" 's|"model.norm.weight": .*"|"model.norm.weight": "/etc/passwd.safetensors"|'
index "is '.safetensors', which is not the name" 's|"model.norm.weight": .*"|"model.norm.weight": ".safetensors"|'
index "is 'config.json', which is not the name" 's|"model.norm.weight": .*"|"model.norm.weight": "config.json"|'
index 'is not a string, which is not the name' 's|"model.norm.weight": .*"|"model.norm.weight": 5|'
index "holds tensor 'model.norm.weight', which .* does not list" 's|model.norm.weight|model.other.weight|'
index "holds tensor 'model.norm.weight', which .* places in $first" "s|\"model.norm.weight\": .*\"|\"model.norm.weight\": \"$first\"|"
index "places tensor 'model.more.weight' in .*, which does not hold it" 's|"model.norm.weight": \(.*\)|"model.more.weight": \1, &|'
index 'cannot be read as JSON' 's|{|[|'
index 'cannot be read as JSON: duplicate object key' 's|"model.norm.weight": \(.*\)|"model.norm.weight": \1, &|'
index 'has no object "weight_map"' 's|weight_map|weights|'
bad_folder cut bash -c "echo '{\"weight_map\": {}}' >$index"
each 'has no object "weight_map"'
bad_folder cut bash -c "echo '{\"weight_map\": {\"\\u001b[31m\": \"a\\u0007.safetensors\"}}' >$index"
each "tensor '?\[31m' is 'a?.safetensors', which is not the name"
bad_folder cut cp "$first" extra.safetensors # which nothing names
row 0 '' "${init[@]}" $bad

# --- tensors and a configuration that do not belong together

# config TEXT CHANGE: the configuration, changed by sed
config() {
  bad_folder whole sed -i "$2" config.json
  each "$1"
}
config 'has the shape \[48, 32\], but .* configuration gives it \[50, 32\]' 's|"intermediate_size": 48|"intermediate_size": 50|'
config 'k_proj.weight has the shape \[16, 32\], but .* gives it \[32, 32\]' 's|"num_key_value_heads": 2|"num_key_value_heads": 4|'
config 'lacks tensor model.layers.1' 's|"num_hidden_layers": 1|"num_hidden_layers": 2|'
config 'lacks tensor model.layers.0.self_attn.q_proj.bias' 's|"attention_bias": false|"attention_bias": true|'
# rename FROM TO: a tensor of another name of the same length
rename() { sed -i "s|$1|$2|" model.safetensors; }
bad_folder whole rename model.norm.weight model.morn.weight
each 'lacks tensor model.norm.weight'
# The head of a tied model may be there if it is the embedding; anything else that the model has no use for may not.
bad_folder whole sed -i 's|"tie_word_embeddings": false|"tie_word_embeddings": true|' config.json
each 'lm_head.weight differs from the embedding, although "tie_word_embeddings"'
bad=bad-$num_bad-other
cp -r bad-$num_bad "$bad"
(cd "$bad" && rename lm_head.weight lm_tail.weight)
each 'lm_tail.weight is not a part of the model that the configuration describes'
bad_folder whole rename model.embed_tokens.weight model.embed_tokens.height
each "'$bad' has no tensor model.embed_tokens.weight or transformer.wte.weight"
bad_folder whole rename '"F16","shape":\[257,32\]' '"I16","shape":[257,32]'
each 'is of type I16, but weights can be read only from F32, BF16 and F16'
bad_folder whole bash -c 'echo "{\"model_type\": \"mamba\"}" >config.json'
row 2 '"model_type" is "mamba"' "${init[@]}" $bad
lone_row 3 '"model_type" is "mamba"' "${eval[@]}" $bad

# --- weights that a type lacks

# last_weight TEXT TYPE BYTES: an export to the type when the last weight has these bytes, in f32
last_weight() {
  bad_folder exact bash -c "printf '$3' | dd of=model.safetensors bs=1 seek=\$((\$(stat -c %s model.safetensors) - 4)) \
    conv=notrunc status=none"
  lone_row "$([ -z "$1" ] && echo 0 || echo 3)" "$1" export $bad --out "$([ -z "$1" ] && echo fits || echo out)-@" --dtype "$2"
}
beyond="'bad-[0-9]*': tensor model.norm.weight has values beyond the range of"
last_weight "$beyond f16: export it as bf16 or f32" f16 '\x00\xf0\x7f\x47' # 65,520
last_weight "$beyond f16: export it as bf16 or f32" f16 '\xff\xff\x7f\xff' # the least of all
last_weight "$beyond bf16: export it as f32" bf16 '\x00\x80\x7f\x7f'
last_weight '' f16 '\xff\xef\x7f\x47'
last_weight '' bf16 '\xff\x7f\x7f\x7f'
last_weight '' f16 '\x00\x00\x80\xff' # infinite before

# A weight that is not finite at position 40 of 64: what was printed before ends with a line.
echo '{"model_type": "gpt2", "n_embd": 32, "n_layer": 1, "n_head": 4, "n_positions": 64, "vocab_size": 257}' >gpt2.json
expect 0 '' "$program" "${good[@]}" --model gpt2.json --steps 1 --out gpt2
expect 0 '' "$program" export gpt2 --out gpt2-nan
grep -q '^other files 0$' out.log || fail "export: how many other files: $(cat out.log)"
printf '\xff\xff\xff\x7f' | dd of=gpt2-nan/model.safetensors bs=1 conv=notrunc status=none \
  seek=$(($(stat -c %s gpt2-nan/model.safetensors) - 257 * 32 * 4 - 24 * 32 * 4))
expect 4 'no token can be drawn' "$program" generate --checkpoint gpt2-nan --prompt "$(head -c 36 text.txt)" --max-tokens 20 --ignore-eos
[ "$(tail -c 1 out.log | od -An -tx1)" = ' 0a' ] || fail "text that a message follows: $(od -c out.log)"

# --- options

expect 0 '' "$program" "${init[@]}" whole --model tiny.json # another file for the same parameters
row 3 'has the shape .*, but the model' "${init[@]}" whole --model llama-1m
lone_row 2 "'--out' is missing\|--out is missing" export whole
lone_row 2 "'cut' exists and is not empty" export whole --out cut
lone_row 2 "'text.txt' is a file" export whole --out text.txt
lone_row 2 'expected one of auto, f32, bf16, f16' export whole --out out-@ --dtype int8
lone_row 2 'expected bytes' export whole --out out-@ --shard-size 5gb
lone_row 2 'export.shard_bytes\|--shard-size' export whole --out out-@ --shard-size 0
lone_row 2 '' export
lone_row 2 'not the name of a new folder' export whole --out ..
ln -s missing out-dangling
lone_row 2 "'out-dangling/' is a link that leads to no folder (No such file" export whole --out out-dangling/
ln -s text.txt to-file
lone_row 2 "'.*/text.txt' is a file" export whole --out to-file
ln -s cut to-cut
lone_row 2 "'.*/cut' exists and is not empty" export whole --out to-cut
rows_end

# A link to an empty folder stays one. A folder with the name that an export writes under is not its own.
mkdir store store/new .kept.tmp
ln -s store/new to-new
touch .kept.tmp/mine
expect 0 '' "$program" export whole --out to-new/
[ -L to-new ] && [ -e store/new/config.json ] || fail "an export did not follow a link: $(ls -l to-new store/new)"
expect 0 '' "$program" export whole --out kept
[ -e .kept.tmp/mine ] && [ -e kept/config.json ] || fail "an export removed what is not its own: $(ls .kept.tmp kept)"

# Of exports to one folder that run at a time, one fills it, and the others leave nothing.
others=()
for i in 1 2 3; do
  "$program" export exact --out shared >"shared-$i.log" 2>&1 &
  others+=($!)
done
won=0
for i in 0 1 2; do
  if wait "${others[$i]}"; then won=$((won + 1)); fi
done
[ $won -eq 1 ] && cmp shared/model.safetensors exact/model.safetensors || fail "$won exports won: $(cat shared-?.log)"
[ -z "$(find . store -maxdepth 1 -name '.*.tmp' ! -name .kept.tmp)" ] || fail "a hidden folder was left: $(find . -name '.*.tmp')"

# Nothing is left of what failed.
rm out-dangling
for path in out-* .out-*; do
  if [ -e "$path" ]; then fail "$path was left"; fi
done
finish
