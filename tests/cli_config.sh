#!/bin/bash
# Tests what a model's config.json means to a run, what the config.json of a checkpoint says, and
# that checkpoints of older versions load.
#   cli_config.sh ULYSSES MPIRUN
program=$1
mpirun=$2
older=$(dirname "$(realpath "$0")")/data
# shellcheck source=tests/cli_common.sh
. "$(dirname "$(realpath "$0")")/cli_common.sh"
patience 0

for ((i = 0; i < 40; i++)); do echo "line $((i * i % 97)) of some text"; done >book.txt
make=("$program" train --data book.txt --seq-len 64 --steps 2 --no-measure-peak --model)

# with KEYS NAME: tiny.json with more keys, as the file of that name
with() { sed "s/{/{$1, /" tiny.json >"$2"; }
# says DIR TEXT...: each text is in the config.json of the run's only checkpoint, whatever blanks are in it
says() {
  local file text
  file=$(echo "$1"/step-*/config.json)
  for text in "${@:2}"; do
    tr -d ' \n' <"$file" | grep -qF -- "$text" || fail "$file does not say $text: $(cat "$file")"
  done
}
# says_not DIR TEXT
says_not() { ! tr -d ' \n' <"$(echo "$1"/step-*/config.json)" | grep -qF -- "$2" || fail "$1 says $2"; }
# warns NUMBER TEXT: so many lines of err.log are warnings with this text
warns() {
  [ "$(grep -c "ulysses: warning: .*$2" err.log)" -eq "$1" ] || fail "not $1 warnings of '$2': $(cat err.log)"
}

# --- transformers reads what it computes alike

expect 0 '' "${make[@]}" tiny.json --out full
says full '"architectures":["LlamaForCausalLM"]' '"model_type":"llama"' '"max_position_embeddings":4096' \
  '"rope_parameters":{"rope_theta":10000.0,"rope_type":"default"}' '"rope_theta":10000.0' \
  '"tie_word_embeddings":false'
says_not full sliding_window
expect 0 '' "${make[@]}" tiny.json --window 9 --out window
says window '"architectures":["MistralForCausalLM"]' '"model_type":"mistral"' '"sliding_window":9'
sed 's/llama/qwen2/; s/4096/50/' tiny.json >qwen2.json
expect 0 '' "${make[@]}" qwen2.json --out qwen2
says qwen2 '"architectures":["Qwen2ForCausalLM"]' '"model_type":"qwen2"' '"max_position_embeddings":64' \
  '"use_sliding_window":false' '"sliding_window":null'

# --- and nothing else

cat >gpt2.json <<'JSON'
{"model_type": "gpt2", "n_embd": 32, "n_layer": 1, "n_head": 4, "n_positions": 128, "vocab_size": 257}
JSON
with '"attention_bias": true' biases.json
expect 0 '' "${make[@]}" gpt2.json --out gpt2
says gpt2 '"architectures":["UlyssesForCausalLM"]' '"model_type":"ulysses_gpt2"'
expect 0 '' "${make[@]}" gpt2.json --window 9 --out gpt2-window
says gpt2-window '"model_type":"ulysses_gpt2"' '"sliding_window":9'
expect 0 '' "${make[@]}" qwen2.json --window 9 --out qwen2-window
says qwen2-window '"architectures":["Qwen2ForCausalLM"]' '"model_type":"qwen2"' '"sliding_window":9' \
  '"use_sliding_window":true' '"layer_types":["sliding_attention"]'
expect 0 '' "${make[@]}" biases.json --out biases
says biases '"model_type":"llama"' '"attention_bias":true'
expect 0 '' "${make[@]}" biases.json --window 9 --out biases-window
says biases-window '"model_type":"ulysses_llama"' '"sliding_window":9' '"attention_bias":true'
expect 0 '' "${make[@]}" tiny.json --sparse strided --sparse-block 8 --out sparse
says sparse '"architectures":["UlyssesForCausalLM"]' '"model_type":"ulysses_llama"' '"sparse":"strided"'

# --- all of them are read again: resumed as they were trained, without a word, from their own file and from the first

for run in full window qwen2 gpt2 gpt2-window qwen2-window biases biases-window; do
  own=$(echo $run/step-0000000002)
  expect 0 '' "$program" eval --checkpoint $run --data book.txt --seq-len 64
  warns 0 ''
  expect 0 '' "$program" checkpoint verify $run
  expect 0 '' "${make[@]}" "$own/config.json" --resume "$own" --steps 3 --out $run
  warns 0 ''
  rm -r $run/step-0000000003
done
expect 0 '' "${make[@]}" tiny.json --window 9 --resume window --steps 3 --out again
warns 0 ''
says again '"model_type":"mistral"' '"sliding_window":9'

# --- the file's window is the run's, unless a flag says otherwise

mistral=window/step-0000000002/config.json
expect 0 '' "${make[@]}" $mistral
grep -q '^attention   the last 9 tokens$' out.log || fail "the window of the model's file is not used: $(cat out.log)"
expect 0 '' "$program" plan --model $mistral --seq-len 64
grep -q '^attention   the last 9 tokens$' out.log || fail "a plan without the window of the model's file: $(cat out.log)"
expect 0 '' "${make[@]}" $mistral --window 9
warns 0 ''
for window in 0 12; do
  expect 0 '' "$mpirun" -n 3 "${make[@]}" $mistral --window $window --out override-$window
  warns 1 "$mistral' has a window of 9 tokens.* $window (0: none)"
  expect 0 '' "${make[@]}" $mistral --window $window --dry-run
  warns 1 "has a window of 9 tokens.* $window (0: none)"
done
says override-0 '"model_type":"mistral"' '"sliding_window":null'
says override-12 '"model_type":"mistral"' '"sliding_window":12'
expect 0 '' "${make[@]}" sparse/step-0000000002/config.json
warns 1 'has sparse blocks (strided): --sparse, none,'
sed 's/llama/mistral/' tiny.json >mistral.json
expect 0 '' "$program" plan --model mistral.json --seq-len 64
grep -q '^attention   the last 4096 tokens$' out.log || fail "a mistral without a word about its window: $(cat out.log)"

# --- sequences that get shorter leave what the model was trained for

expect 0 '' "${make[@]}" qwen2.json --resume qwen2 --steps 3 --seq-len 32 --out shorter
says shorter '"max_position_embeddings":64'

# --- dropout

with '"attention_dropout": 0.1' dropout.json
sed 's/{/{"resid_pdrop": 0.1, "attn_pdrop": 0.0, /' gpt2.json >gpt2-dropout.json
expect 0 '' "$mpirun" -n 3 "${make[@]}" dropout.json --out dropout
warns 1 "'dropout.json' asks for dropout (\"attention_dropout\" is not 0)"
expect 0 '' "${make[@]}" dropout.json --dry-run
warns 1 'asks for dropout'
expect 0 '' "${make[@]}" gpt2-dropout.json
warns 1 'asks for dropout ("resid_pdrop"'
expect 0 '' "$program" eval --checkpoint dropout --data book.txt
warns 0 ''

# --- checkpoints that an older version wrote: the loss is the one that it printed

for row in 'checkpoint_v3/llama 4.2363' 'checkpoint_v3/gpt2 4.0893' 'checkpoint_v3/qwen2 4.2243' \
  'checkpoint_v4/llama 2.8727'; do
  read -r name loss <<<"$row"
  expect 0 '' "$program" eval --checkpoint "$older/$name" --data book.txt
  grep -q "^loss  *$loss " out.log || fail "an older $name: not $loss: $(grep ^loss out.log)"
  warns 0 ''
  expect 0 '' "$program" checkpoint verify "$older/$name"
  expect 0 '' "$program" generate --checkpoint "$older/$name" --prompt line --max-tokens 4
done
expect 0 '' "${make[@]}" "$older/checkpoint_v3/llama/config.json" --window 9 --resume "$older/checkpoint_v3/llama" --steps 21 --new-data --out newer
warns 0 'window'
says newer '"model_type":"mistral"' '"sliding_window":9'
expect 0 '' "${make[@]}" "$older/checkpoint_v3/gpt2/config.json" --resume "$older/checkpoint_v3/gpt2" --steps 21 --new-data --out newer-gpt2
says newer-gpt2 '"model_type":"ulysses_gpt2"'
expect 0 '' "${make[@]}" "$older/checkpoint_v3/qwen2/config.json" --resume "$older/checkpoint_v3/qwen2" --steps 21 --new-data --out newer-qwen2
says newer-qwen2 '"model_type":"ulysses_qwen2"' '"attention_bias":true'

finish
