#!/bin/bash
# Tests the use of a trained model by `ulysses eval` and `ulysses generate`, on 1, 2, 3 and 4 ranks.
#   cli_trained.sh ULYSSES MPIRUN
program=$1
mpirun=$2
. "$(dirname "$(realpath "$0")")/cli_common.sh"
patience 0

# A run with a window on text that is not all the same; a model with learned positions; one whose tokens are no bytes.
for ((i = 0; i < 400; i++)); do echo "line $((i * i % 97)) of some text"; done >book.txt
cat >gpt.json <<'JSON'
{"model_type": "gpt2", "n_embd": 32, "n_layer": 1, "n_head": 4, "n_positions": 128, "vocab_size": 257}
JSON
sed 's/257/300/' tiny.json >words.json
make=("$program" train --data book.txt --seq-len 128 --steps 30 --lr 1e-2 --warmup 2 --no-measure-peak)
expect 0 '' "${make[@]}" --model tiny.json --window 40 --out run
expect 0 '' "${make[@]}" --model gpt.json --out gpt --steps 2
expect 0 '' "$program" prepare book.txt --out book
expect 0 '' "${make[@]/#book.txt/book\/train}" --model words.json --out words --steps 2
newest=run/step-0000000030

# same FILE COMMAND...: the output of the command is that in the file, which is made by the first call.
same() {
  local file=$1
  shift
  expect 0 '' "$@"
  [ -f "$file" ] || cp out.log "$file"
  cmp -s "$file" out.log || fail "another output: $*: $(diff "$file" out.log | head -n 4)"
}

number() { grep "^$1 " out.log | grep -o '[0-9.]*' | head -n 1; }

# The same loss on any ranks and mesh, from the run's folder or its checkpoint; with the run's window unless told
# otherwise.
for ranks in 1 2 3 4; do
  run=("$mpirun" -n "$ranks" "$program")
  same eval.log "${run[@]}" eval --checkpoint run --data book.txt
  same eval.log "${run[@]}" eval --checkpoint $newest --data book.txt --zero 3
  [ "$ranks" -eq 3 ] || same bits.log "${run[@]}" eval --checkpoint run --data book.txt --reproducible --json
done
same eval.log "$mpirun" -n 4 "$program" eval --checkpoint run --data book.txt --dp 2
grep -q '^attention   the last 40 tokens$' eval.log || fail "an evaluation without the run's window"
grep -q '^64 to 127 ' eval.log || fail "no loss by position"
perl - eval.log bits.log <<'PERL' || fail "eval: the numbers do not fit each other"
  use JSON::PP;
  sub read_all { local (@ARGV, $/) = @_; <> }
  my %text = map { /^(\S+)\s+(\S+)/ } split /\n/, read_all($ARGV[0]);
  my $j = decode_json(read_all($ARGV[1]));
  my ($loss, $tokens, $sum) = ($j->{loss}, 0, 0);
  for (@{$j->{by_position}}) { $tokens += $_->[2]; $sum += $_->[2] * $_->[3]; }
  exit !(abs($text{loss} - $loss) < 1e-3 && abs($text{perplexity} - exp $loss) < 1e-2 &&
    abs($j->{bits_per_byte} - $loss / log 2) < 1e-9 && $j->{seq_len} == 128 && $j->{step} == 30 &&
    $tokens == $j->{tokens} && $tokens > 8000 && abs($sum / $tokens - $loss) < 1e-9);
PERL
expect 0 '' "$program" eval --checkpoint run --data book.txt --window 3 --seq-len 64
grep -q '^attention   the last 3 tokens$' out.log || fail "a flag does not override the run's window"
[ "$(number loss)" != "$(grep '^loss' eval.log | grep -o '[0-9.]*' | head -n 1)" ] || fail "a window that changes nothing"
expect 0 '' "$program" eval --checkpoint words --data book/train --seq-len 64
grep -q 'per byte' out.log && fail "bits per byte of tokens that are no bytes"

# Each checkpoint attends as it was trained, whatever the run that made it went on with.
sparse=(--window 24 --sparse bigbird --sparse-block 8 --sparse-global 2 --pack --dtype bf16)
expect 0 '' "${make[@]}" --model tiny.json --out run --resume $newest --steps 31 "${sparse[@]}"
for what in 'with --window 40, and now it is 24' 'with a different --sparse, or different blocks' 'without packed documents, and now they are'; do
  grep -q "warning: '$newest' was trained .*$what" err.log || fail "resumed with $what, and not said: $(cat err.log)"
done
same eval.log "$program" eval --checkpoint $newest --data book.txt
! grep -q warning err.log || fail "used as it was trained, and warned of: $(cat err.log)"
expect 0 '' "$program" eval --checkpoint run --data book.txt
grep -q '^attention   the last 24 tokens, bigbird in blocks of 8, within documents$' out.log || fail "another attention: $(cat out.log)"
expect 0 '' "$program" checkpoint show run
grep -q ' of 128 tokens in bf16; seed 1$' out.log || fail "show: how it was trained: $(cat out.log)"
grep -q '^attention  *the last 24 tokens, bigbird in blocks of 8, within documents$' out.log || fail "show: what it attends to"
expect 0 '' "$program" checkpoint show run --json
attention='{"window":24,"pack":true,"doc_end":256,"sparse":"bigbird","sparse_block":8,"sparse_local":4,"sparse_global":2,"sparse_random":3}'
perl -MJSON::PP -e 'my $is = JSON::PP->new->canonical; exit $is->encode(decode_json(<STDIN>)->{attention}) ne $is->encode(decode_json(shift))' \
  "$attention" <out.log || fail "show: JSON of what it attends to: $(cat out.log)"
expect 2 'blocks drawn from --seed 1, not 9' "$program" eval --checkpoint run --data book.txt --seed 9
# generate does so, too.
generate=("$program" generate --checkpoint run --max-tokens 40 --temperature 0 --prompt 'line 4')
expect 0 '' "${generate[@]}"
! grep -q warning err.log || fail "generated as it was trained, and warned of: $(cat err.log)"
cp out.log trained.txt
expect 0 '' "${generate[@]}" "${sparse[@]}"
cmp -s out.log trained.txt || fail "generated otherwise than with the flags that it was trained with"
for flag in '--no-pack' '--window 3' '--sparse none' '--doc-end 10'; do
  # shellcheck disable=SC2086
  expect 0 '' "${generate[@]}" $flag
  grep -q 'warning: .* was trained' err.log || fail "generated with $flag, and not said"
done
rm -r run/step-0000000031
# A token that is not of the vocabulary ends no document.
sed 's/257/256/' tiny.json >bytes.json
expect 2 'token 256 ends the documents of .*vocabulary' "${make[@]/#book.txt/book\/train}" --model bytes.json --out bytes --pack
# A document ends with the token that the model was trained with: that of blanks, which text is full of.
expect 0 '' "${make[@]}" --model tiny.json --out words-of-text --pack --doc-end 32
expect 0 '' "$program" generate --checkpoint words-of-text --prompt 'line' --max-tokens 1000 --seed 3
[ "$(wc -c <out.log)" -lt 1000 ] && ! grep -q ' ' out.log || fail "no end at the end of a document: $(head -c 200 out.log)"
# Blocks of another pattern have their own defaults; their seed is nobody else's.
expect 0 '' "$program" eval --checkpoint run --data book.txt --sparse bigbird --sparse-block 8 --seed 9

# The same text on 1, 2 and 4 ranks, greedy and drawn, from short prompts and from some that go through at once.
head -c 700 book.txt >prompt.txt
for ranks in 1 2 4; do
  run=("$mpirun" -n "$ranks" "$program" generate --checkpoint run --max-tokens 60)
  same greedy.log "${run[@]}" --prompt 'line 4' --temperature 0
  same greedy.log "$program" generate --checkpoint run --max-tokens 60 --prompt 'line 4' --temperature 0 # no pipe between
  same greedy.log "${run[@]}" --prompt 'line 4' --temperature 0 --zero 3 --seed 9
  same drawn.log "${run[@]}" --prompt 'line 4' --temperature 1.1 --top-k 50 --top-p 0.95 --seed 5
  same long.log "${run[@]}" --prompt-file prompt.txt --seed 5
  same tokens.log "${run[@]}" --checkpoint words --prompt-tokens 1,2,299
  expect 0 '' "${run[@]}" --prompt-file prompt.txt --seed 5 --json
  sed 's/"prompt_s.*//' out.log >cut.log
  [ -f json.log ] || cp cut.log json.log
  cmp -s json.log cut.log || fail "$ranks ranks: other log-probabilities"
done
[ "$(wc -c <greedy.log)" -eq 60 ] || fail "not as many bytes as tokens: $(wc -c <greedy.log)"
cmp -s greedy.log drawn.log && fail "a drawn text that is the likeliest"
[ "$(wc -w <tokens.log)" -eq 60 ] || fail "not as many numbers as tokens"
expect 0 '' "$program" generate --checkpoint run --prompt 'line 4' --max-tokens 60 --temperature 1.1 --top-k 50 --top-p 0.95 --seed 6
cmp -s drawn.log out.log && fail "another seed, the same text"
grep -q '^generated   60 tokens, [0-9.]* tokens/s$' err.log || fail "nothing about speed"
# --json holds the same tokens.
(
  cat json.log
  echo '"":0}'
) >whole.json
perl - long.log whole.json <<'PERL' || fail "the tokens of --json are not those of the text"
  use JSON::PP;
  sub read_all { local (@ARGV, $/) = @_; <> }
  my $j = decode_json(read_all($ARGV[1]));
  exit !(pack('C*', @{$j->{tokens}}) eq read_all($ARGV[0]) && $j->{prompt_tokens} == 700 &&
    @{$j->{log_probabilities}} == 60 && !grep { $_ > 0 } @{$j->{log_probabilities}});
PERL

# What is left of a prompt's room, and files that are not read.
for ranks in 1 3; do
  generate=("$mpirun" -n "$ranks" "$program" generate --checkpoint)
  expect 2 'learned positions for 128' "${generate[@]}" gpt --prompt abc --max-tokens 127
  expect 0 '' "${generate[@]}" gpt --prompt abc --max-tokens 126
  cp -r run damaged-$ranks
  : >damaged-$ranks/step-0000000030/optimizer.safetensors
  expect 0 '' "${generate[@]}" damaged-$ranks --prompt a --max-tokens 2
done
# Ranks that were started differently.
two() { "$mpirun" -n 1 "$program" "${@:3}" "$1" : -n 1 "$program" "${@:3}" "$2"; }
export -f two
export mpirun program
expect 2 'rank 1' bash -c 'two --seed=1 --seed=2 generate --checkpoint run --prompt a'
expect 2 'rank 1' bash -c 'two --window=4 --window=5 eval --checkpoint run --data book.txt'
expect 3 'nowhere' bash -c 'two --checkpoint=run --checkpoint=nowhere eval --data book.txt'

# A signal to one rank ends both with what they have.
start() {
  rm -f pid.*
  begin "$mpirun" -n 3 ./rank.sh "$program" "$@"
}
truncate -s 1G endless.txt # takes no room
start eval --checkpoint run --data endless.txt --any-bytes
await hears pid.1 USR1
sleep 1 # into the evaluation, as a rule
kill -USR1 "$(cat pid.1)"
wait $job
[ $? -eq 75 ] || fail "an evaluation that was stopped: not exit code 75"
grep -q '^stopped ' out.log && grep -q '^loss ' out.log || fail "an evaluation that was stopped says nothing: $(cat out.log err.log)"
start generate --checkpoint run --prompt a --max-tokens 1m --prompt-file= --temperature 0
wait $job
[ $? -eq 2 ] || fail "an empty --prompt-file="
start generate --checkpoint run --prompt a --max-tokens 256k --top-k 40
await test -s out.log
kill -TERM "$(cat pid.2)"
wait $job
code=$?
[ $code -eq 75 ] || [ $code -eq 0 ] || fail "a text that was stopped: exit code $code: $(cat err.log)"
[ -s out.log ] || fail "a text that was stopped and is not there"
if [ $code -eq 0 ] && [ "$(wc -c <out.log)" -gt 200000 ]; then fail "the signal came too late"; fi

# Ctrl-C under launch is for the ranks to hear, too.
begin_launch "$mpirun" --ranks 2 eval --checkpoint run --data endless.txt --any-bytes
sleep 0.7
kill -INT $job
wait $job
[ $? -eq 75 ] || fail "launch: an evaluation that was stopped: $(cat err.log)"
begin_launch "$mpirun" --ranks 2 generate --checkpoint run --prompt a --max-tokens 256k --top-k 40
await test -s out.log
kill -INT $job
wait $job
code=$?
[ $code -eq 75 ] || [ $code -eq 0 ] || fail "launch: a text that was stopped: exit code $code: $(cat err.log)"

finish
