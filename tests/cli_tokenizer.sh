#!/bin/bash
# Tests text from end to end: `ulysses tokenize`, shards made with a tokenizer, a run on them, and the text that the trained
# model generates, on 1 and 3 ranks.
#   cli_tokenizer.sh ULYSSES MPIRUN
program=$1
mpirun=$2
# shellcheck source=tests/cli_common.sh
. "$(dirname "$(realpath "$0")")/cli_common.sh"
patience 0
golden=$ULY_TEST_DATA/tokenizers

# has TEXT: the output of the last command has a line that matches.
has() { grep -aq -- "$1" out.log || fail "no line '$1' in: $(cat out.log)"; }

# --- tokens of a text, and the text of tokens: those of the golden files

# golden NAME NUMBER ids|plain|around|text: of a text of the golden file; another list where one is not written down
golden() {
  perl -MJSON::PP -e '
    my ($file, $name, $i, $what) = @ARGV;
    open my $in, "<", $file or die; local $/;
    my $all = decode_json(<$in>); my $t = $all->{tokenizers}{$name};
    if ($what eq "text") { binmode STDOUT, ":utf8"; print $all->{texts}[$i]; exit }
    my $list = $what eq "ids" ? $t->{ids}[$i] : $t->{$what}{$i} || $t->{ids}[$i];
    print join(",", @$list), "\n";' "$golden/cases.json" "$@"
}
for i in 1 2 3 4 6 14 21 41; do
  golden gpt2 $i text >golden.txt
  for name in gpt2 llama3; do
    tokenize=("$program" tokenize --tokenizer "$golden/$name.json" --file golden.txt --ids)
    expect 0 '' "${tokenize[@]}"
    cmp -s out.log <(golden $name $i around) || fail "$name, text $i: other tokens: $(cat out.log)"
    expect 0 '' "${tokenize[@]}" --no-add-special
    cmp -s out.log <(golden $name $i ids) || fail "$name, text $i: other tokens without those around it: $(cat out.log)"
    cp out.log ids
    expect 0 '' "${tokenize[@]}" --no-add-special --no-parse-special
    cmp -s out.log <(golden $name $i plain) || fail "$name, text $i: other tokens without special ones: $(cat out.log)"
    "$program" tokenize --tokenizer "$golden/$name.json" --decode - --no-skip-special <ids | cmp -s - golden.txt ||
      fail "$name: text $i comes back as another one"
    "$program" tokenize --tokenizer "$golden/$name.json" --decode "$(cat ids)" --no-skip-special | cmp -s - golden.txt ||
      fail "$name: text $i comes back as another one, from a list"
  done
done
expect 0 '' "$program" tokenize --tokenizer "$golden/gpt2.json" --text $'a \\ \t\xc3\xa4\x7f'
has '^ *64  a$'
has '^ *220  ␣$'
has '^ *[0-9]*  \\\\$'
has '^ *[0-9]*  \\t$'
has '^ *127  \\xc3$'
has '^ *[0-9]*  \\x7f$'
has '^text  *8 bytes, 8 tokens, 1.00 bytes per token$'
printf 'Sing' | "$program" tokenize --tokenizer "$golden/gpt2.json" --json >out.log
is_json <out.log || fail "tokenize --json: $(cat out.log)"
has '"num_bytes":4,"num_tokens":3,.*"tokens":\[50,302,70\]'
expect 0 '' "$program" tokenize --tokenizer "$golden/gpt2.json" --json --decode 127,68
is_json <out.log || fail "tokenize --decode --json: $(cat out.log)"
has '"text":"�e"'
expect 0 '' "$program" tokenize --tokenizer "$golden/gpt2.json" --text $'a\xff' --any-bytes --ids
has '^64,'

# --- shards, and a run on them

for ((i = 0; i < 300; i++)); do echo "Zeile $((i * i % 97)): Größe und 神々 <|endoftext|>"; done >book.txt
mkdir words
cp "$golden/qwen2.json" words/tokenizer.json
echo '{"eos_token": "<|endoftext|>"}' >words/tokenizer_config.json
prepare=("$program" prepare book.txt --documents line --tokenizer words)
expect 0 '' "${prepare[@]}" --out shards --held-out 0.1 --threads 3
has '^tokenizer   words, token 350 ends each document$'
has '^read        1 file, .* MB/s$'
expect 0 '' "${prepare[@]}" --out lonely --held-out 0.1 --threads 1
diff -r shards lonely || fail 'other shards with other threads'
for file in tokenizer.json tokenizer_config.json; do
  cmp -s words/$file shards/$file || fail "prepare: $file is not beside the shards"
done
expect 0 '' "${prepare[@]}" --out live --progress live
sed 's/257/400/' tiny.json >words.json
make=(train --model words.json --data shards/train --eval-data shards/eval --seq-len 48 --no-measure-peak --lr 2e-2 --warmup 2)
expect 0 '' "$program" "${make[@]}" --steps 60 --out run
newest=run/step-0000000060
cmp -s words/tokenizer.json $newest/tokenizer.json || fail 'the checkpoint has no tokenizer'
expect 0 '' "$program" "${make[@]}" --steps 62 --out run --resume auto
cmp -s words/tokenizer.json run/step-0000000062/tokenizer.json || fail 'a run that goes on loses its tokenizer'
expect 0 '' "$program" export $newest --out model
expect 0 '' "$mpirun" -n 3 "$program" eval --checkpoint model --data shards/eval --seq-len 48
expect 0 '' "$mpirun" -n 3 "$program" train --init model --data shards/train --seq-len 48 --steps 1 --no-measure-peak

# --- text goes in and comes out

# same FILE COMMAND...: the output of the command is that in the file, which is made by the first call.
same() {
  local file=$1
  shift
  expect 0 '' "$@"
  [ -f "$file" ] || cp out.log "$file"
  cmp -s "$file" out.log || fail "another output: $*: $(diff "$file" out.log | head -n 4)"
}

# member NAME: of the JSON object in out.log
member() { perl -MJSON::PP -e 'binmode STDOUT, ":utf8"; my $v = decode_json(<STDIN>)->{shift()}; print ref $v eq "ARRAY" ? join(",", @$v) : $v' "$1" <out.log; }

generate=(generate --checkpoint $newest --max-tokens 40 --temperature 0 --prompt 'Zeile 4')
for ranks in 1 3; do
  same text "$mpirun" -n $ranks "$program" "${generate[@]}"
  same text "$mpirun" -n $ranks "$program" "${generate[@]}" --checkpoint model
done
iconv -f UTF-8 -t UTF-8 text >/dev/null || fail "the text is no UTF-8: $(cat text)"
[ -s text ] || fail 'no text is generated'
expect 0 '' "$program" "${generate[@]}" --json
is_json <out.log || fail "generate --json: $(cat out.log)"
cp out.log whole.json
tokens=$(member tokens)
[ "$(member text)" = "$(cat text)" ] || fail "the text in JSON differs: $(cat out.log)"
# Piece by piece, it is what the tokens are together.
"$program" tokenize --tokenizer words --decode "$tokens" | iconv -f UTF-8 -t UTF-8 -c >decoded
[ "$(sed 's/�//g' text)" = "$(cat decoded)" ] || fail "another text than that of the tokens: $(cat text decoded)"
# Numbers give the same, and so does a file.
ids=$("$program" tokenize --tokenizer words --ids --text 'Zeile 4')
same text "$program" generate --checkpoint $newest --max-tokens 40 --temperature 0 --prompt-tokens "$ids"
printf 'Zeile 4' >prompt.txt
same text "$program" generate --checkpoint $newest --max-tokens 40 --temperature 0 --prompt-file prompt.txt --tokenizer words

# Tokens that are no characters do not make the output anything but UTF-8.
expect 0 '' "$program" generate --checkpoint $newest --max-tokens 40 --temperature 3 --seed 5 --prompt 'Größe 神' --ignore-eos
iconv -f UTF-8 -t UTF-8 out.log >/dev/null || fail 'random tokens give text that is no UTF-8'

# --- where a text ends

first=${tokens%%,*}
cp -r $newest ended
echo "{\"eos_token_id\": [399, $first]}" >ended/generation_config.json
expect 0 '' "$program" "${generate[@]}" --checkpoint ended --json
has "\"text\":\"\",\"tokens\":\\[$first\\],.*\"is_ended\":true"
expect 0 '' "$program" "${generate[@]}" --checkpoint ended --json --ignore-eos
[[ $(member text) == "$(cat text)"* ]] || fail "--ignore-eos: $(cat out.log)"
has '"is_ended":false'
echo "{\"eos_token_id\": $first}" >ended/generation_config.json
expect 0 '' "$program" "${generate[@]}" --checkpoint ended --json
has "\"tokens\":\\[$first\\],"
# config.json says it where generation_config.json does not, or is not there.
cp -r model exported
for other in '{}' '{"eos_token_id": null}' ''; do
  perl -MJSON::PP -e 'local $/; my $c = decode_json(<STDIN>); $c->{eos_token_id} = [399, 0 + shift]; print encode_json($c)' \
    "$first" <model/config.json >exported/config.json
  rm -f exported/generation_config.json
  [ -z "$other" ] || echo "$other" >exported/generation_config.json
  expect 0 '' "$program" "${generate[@]}" --checkpoint exported --json
  has "\"tokens\":\\[$first\\],.*\"is_ended\":true"
done
echo '{"eos_token_id": 399}' >exported/generation_config.json
expect 0 '' "$program" "${generate[@]}" --checkpoint exported --json
[[ $(member tokens) == "$tokens"* ]] || fail "config.json overrides generation_config.json: $(cat out.log)"
# A warning about its files comes from one rank.
echo '{"<none>": 399}' >exported/added_tokens.json
expect 0 '' "$mpirun" -n 3 "$program" "${generate[@]}" --checkpoint exported --max-tokens 1
[ "$(grep -c "warning: 'exported/added_tokens.json' has the token '<none>' as 399" err.log)" = 1 ] ||
  fail "not one warning about tokens elsewhere: $(cat err.log)"
# The tokenizer's own: in a prompt it is a token unless that is turned off.
expect 0 '' "$program" "${generate[@]}" --prompt 'Zeile<|endoftext|>' --max-tokens 1 --json
count=$(member prompt_tokens)
expect 0 '' "$program" "${generate[@]}" --prompt 'Zeile<|endoftext|>' --max-tokens 1 --json --no-parse-special
[ "$(member prompt_tokens)" -gt "$count" ] || fail 'a special token in a prompt is always one'

finish
