#!/bin/bash
# Tests what is said about tokenizers that are damaged, or are not those of the data or the model, and about text that is
# not UTF-8. Each row expects one message, exit code 2 or 3, and no rank that hangs.
#   bad_tokenizer.sh ULYSSES MPIRUN
program=$1
mpirun=$2
# shellcheck source=tests/cli_common.sh
. "$(dirname "$(realpath "$0")")/cli_common.sh"
patience 0
golden=$ULY_TEST_DATA/tokenizers

# Shards of two tokenizers, and models of either.
for ((i = 0; i < 200; i++)); do echo "line $((i * i % 97)) of some text"; done >book.txt
sed 's/257/353/' tiny.json >words.json
bare=(train --model words.json --seq-len 16 --steps 2 --no-measure-peak)
for name in gpt2 qwen2; do
  mkdir $name
  cp "$golden/$name.json" $name/tokenizer.json
  expect 0 '' "$program" prepare book.txt --documents line --tokenizer $name --out shards-$name --held-out 0.1
  expect 0 '' "$program" "${bare[@]}" --data shards-$name/train --out run-$name
  expect 0 '' "$program" export run-$name --out model-$name
done
# A header that says nothing of a tokenizer, as those of other programs, goes with any model.
cp shards-gpt2/train/000000.bin silent.bin
head -c 12 /dev/zero | dd of=silent.bin bs=1 seek=16 conv=notrunc status=none
other="was made with a different tokenizer than the one in"

# --- data of a different tokenizer than the model's

row 2 "'shards-gpt2/train' $other 'model-qwen2'" "${bare[@]}" --init model-qwen2 --data shards-gpt2/train
row 2 "'shards-qwen2/eval' $other 'model-gpt2'" "${bare[@]}" --init model-gpt2 --data silent.bin --eval-data shards-qwen2/eval
row 2 "'shards-gpt2/train' $other 'model-qwen2'" "${bare[@]}" --init model-qwen2 --data shards-gpt2/train --dry-run
row 2 "'shards-gpt2/train' $other 'run-qwen2/step-0000000002'" \
  "${bare[@]}" --data shards-gpt2/train --new-data --steps 3 --resume run-qwen2/step-0000000002
row 2 "'shards-gpt2/train' $other 'run-qwen2/step-0000000002'" \
  "${bare[@]}" --data shards-gpt2/train --new-data --steps 3 --resume run-qwen2/step-0000000002 --dry-run
row 2 "'shards-gpt2/eval' $other 'run-qwen2/step-0000000002'" eval --checkpoint run-qwen2 --data shards-gpt2/eval
row 2 "'shards-gpt2/eval' $other 'model-qwen2'" eval --checkpoint model-qwen2 --data shards-gpt2/eval --seq-len 16
row 2 "'shards-gpt2/eval' was made with a different tokenizer than 'shards-qwen2/train'" \
  "${bare[@]}" --data shards-qwen2/train --eval-data shards-gpt2/eval
row 0 '' "${bare[@]}" --init model-gpt2 --data shards-gpt2/train --eval-data shards-gpt2/eval

# --- one that is larger than the model's vocabulary, whatever tokens the data use

sed 's/257/351/' tiny.json >small.json
row 2 "the tokenizer that made 'shards-gpt2/train' has tokens up to 351, but the vocabulary of the model has only 351" \
  "${bare[@]}" --model small.json --data shards-gpt2/train
expect 0 '' "$program" train --model tiny.json --seq-len 16 --steps 1 --no-measure-peak --data book.txt --out bytes
row 2 "the tokenizer 'gpt2' has tokens up to 351, but the vocabulary of the model has only 257" \
  generate --checkpoint bytes --tokenizer gpt2 --prompt a
row 2 "the tokenizer that made 'shards-gpt2/eval' has tokens up to 351" eval --checkpoint bytes --data shards-gpt2/eval

# --- shards of two tokenizers in a folder

mkdir mixed
cp shards-gpt2/train/000000.bin mixed/a.bin
cp shards-qwen2/train/000000.bin mixed/b.bin
row 3 "'mixed/b.bin' was made with a different tokenizer than 'mixed/a.bin' beside it" "${bare[@]}" --data mixed
row 0 '' "${bare[@]}" --init model-qwen2 --data silent.bin
cp silent.bin odd.bin
printf '\377\377\377\377' | dd of=odd.bin bs=1 seek=24 conv=notrunc status=none
row 3 "'odd.bin' has a damaged header: it says that its tokenizer has -1 tokens" "${bare[@]}" --data odd.bin

# --- tokenizers that are cut short, none, or something else

mkdir cut empty
head -c 2000 gpt2/tokenizer.json >cut/tokenizer.json
for how in cut cut/tokenizer.json; do
  lone_row 3 "'cut/tokenizer.json'" prepare book.txt --tokenizer $how --out prepared-@
  lone_row 3 "'cut/tokenizer.json'" tokenize --tokenizer $how --text a
  row 3 "'cut/tokenizer.json'" generate --checkpoint model-gpt2 --tokenizer $how --prompt a
done
cp -r model-gpt2 damaged
cp cut/tokenizer.json damaged
row 3 "'damaged/tokenizer.json'" generate --checkpoint damaged --prompt a
row 3 "'damaged/tokenizer.json'" "${bare[@]}" --init damaged --data shards-gpt2/train
row 3 "'damaged/tokenizer.json'" eval --checkpoint damaged --data shards-gpt2/eval --seq-len 16
row 0 '' generate --checkpoint damaged --prompt-tokens 1,2 --max-tokens 1
for command in 'tokenize --text a' 'prepare book.txt --out prepared-@' 'generate --checkpoint model-gpt2 --prompt a'; do
  read -ra words <<<"$command"
  lone_row 3 "'nowhere': No such file" "${words[@]}" --tokenizer nowhere
  lone_row 3 "the folder 'empty' has no tokenizer" "${words[@]}" --tokenizer empty
  lone_row 3 "'book.txt'" "${words[@]}" --tokenizer book.txt
done
for config in '{' '[]' '{"eos_token_id": "a"}' '{"eos_token_id": [1, -2]}' '{"eos_token_id": 1.5}' \
  "{\"eos_token_id\": [$(seq -s, 1 65)]}"; do
  rm -rf ends-$num_rows
  cp -r model-gpt2 ends-$num_rows
  echo "$config" >ends-$num_rows/generation_config.json
  lone_row 3 "'ends-$num_rows/generation_config.json'" generate --checkpoint ends-$num_rows --prompt a
done

# --- text that is not UTF-8

{ cat book.txt && printf 'gr\xfc\xdfe\n'; } >latin1.txt
place=$(($(wc -c <book.txt) + 2))
for kind in file line; do
  lone_row 3 "'latin1.txt': byte $place is not UTF-8" prepare latin1.txt --documents $kind --tokenizer gpt2 --out prepared-@
  lone_row 0 '' prepare latin1.txt --documents $kind --tokenizer gpt2 --out replaced-@ --any-bytes
done
printf 'PK\3\4' >book.zip
lone_row 3 '--any-bytes replaces bytes that are not UTF-8 by U+FFFD' prepare book.zip --tokenizer gpt2 --out prepared-@
lone_row 3 '--any-bytes takes its bytes as they are' prepare book.zip --out prepared-@
lone_row 3 "--file 'latin1.txt' is not UTF-8: see its byte $place" tokenize --tokenizer gpt2 --file latin1.txt
lone_row 2 '--text is not UTF-8: see its byte 2' tokenize --tokenizer gpt2 --text $'a \xc3'
row 2 '--prompt is not UTF-8: see its byte 1' generate --checkpoint model-gpt2 --prompt $'a\xff'
row 3 "--prompt-file 'latin1.txt' is not UTF-8: see its byte $place" generate --checkpoint model-gpt2 --prompt-file latin1.txt

# --- tokens and folders that do not fit

lone_row 2 "--doc-end is 352, but the largest token of 'gpt2' is 351" \
  prepare book.txt --tokenizer gpt2 --doc-end 352 --out prepared-@
lone_row 2 '--doc-end is 3, but without --tokenizer' prepare book.txt --doc-end 3 --out prepared-@
mkdir taken
cp qwen2/tokenizer.json taken
lone_row 2 "'taken/tokenizer.json' belongs to a different tokenizer" prepare book.txt --tokenizer gpt2 --out taken
lone_row 2 '--tokenizer is missing' tokenize --text a
lone_row 2 'at most one of --text, --file and --decode' tokenize --tokenizer gpt2 --text a --file book.txt
lone_row 2 '--decode: number 2 of the list is not a token' tokenize --tokenizer gpt2 --decode 1,a
lone_row 2 '--decode: there is no token 400' tokenize --tokenizer gpt2 --decode 400
lone_row 3 "--file '/dev/null' is not a regular file: copy" tokenize --tokenizer gpt2 --file /dev/null
for flag in --ids --no-add-special --no-parse-special --any-bytes; do
  lone_row 2 "$flag has no effect with --decode" tokenize --tokenizer gpt2 --decode 1,2 $flag
done
lone_row 2 '--no-skip-special needs --decode' tokenize --tokenizer gpt2 --text a --no-skip-special
lone_row 2 'at most one of --ids and --json' tokenize --tokenizer gpt2 --text a --ids --json
: >nothing.txt
lone_row 3 'there is no text in 1 file: nothing' prepare nothing.txt --out prepared-@
lone_row 3 "--file 'nowhere' cannot be opened" tokenize --tokenizer gpt2 --file nowhere
rows_end
[ -z "$(find prepared-* -type f 2>/dev/null)" ] || fail "shards of a failure were left: $(find prepared-*)"

finish
