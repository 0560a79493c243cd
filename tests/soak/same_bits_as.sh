#!/bin/bash
# Compares two versions of the program: after 10 steps of each of many configurations model.safetensors
# and optimizer.safetensors have the same SHA-256, evaluation and generation print the same numbers, and
# plans need no more memory.
#
#   tests/soak/same_bits_as.sh COMMIT [PROGRAM]    PROGRAM=build/release/ulysses; COMMIT is built below
#                                                  build/versions, or is the path of a built program
root=$(dirname "$(realpath "$0")")/../..
before=${1:?usage: $0 COMMIT [PROGRAM]}
ulysses=$(realpath "${2:-$root/build/release/ulysses}")

# build COMMIT: the path of its program, which is built unless it is there.
build() {
  local folder
  folder=$(realpath -m "$root/build/versions/$(git -C "$root" rev-parse --short "$1")")
  if [ ! -x "$folder/build/release/ulysses" ]; then
    rm -rf "$folder"
    git clone -q "$root" "$folder" && git -C "$folder" checkout -q "$(git -C "$root" rev-parse "$1")"
    (cd "$folder" && cmake --preset release && cmake --build --preset release --target ulysses-bin) >&2
  fi
  echo "$folder/build/release/ulysses"
}

[ -x "$before" ] && before=$(realpath "$before") || before=$(build "$before")
. "$(dirname "$(realpath "$0")")/common.sh"

cat >gpt2.json <<'JSON'
{"model_type": "gpt2", "n_embd": 40, "n_layer": 2, "n_head": 10, "n_positions": 512, "vocab_size": 257}
JSON
cat >qwen2.json <<'JSON'
{"model_type": "qwen2", "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2,
 "num_attention_heads": 6, "num_key_value_heads": 2, "vocab_size": 257,
 "max_position_embeddings": 4096, "tie_word_embeddings": false}
JSON
for ((i = 0; i < 200; i++)); do echo "document $((i * i % 97)) of some text"; done >book.txt
"$ulysses" prepare book.txt --documents line --held-out 0 --out book >/dev/null

num=0

# run PROGRAM OUT RANKS FLAG...: ten steps.
run() {
  local program=$1 out=$2 ranks=$3
  shift 3
  rm -rf "$out"
  "$starter" -n "$ranks" "$program" train --model model.json --data "${data:-text.txt}" --seq-len 250 --warmup 3 \
    --steps 10 --threads 1 --no-measure-peak --log-every 1000000 --out "$out" "$@" >log 2>&1 ||
    { cat log; fail "$program failed: $*"; }
}

sums() { (cd "$1/step-0000000010" && sha256sum model.safetensors optimizer.safetensors) | sha256sum | cut -c1-16; }

# compare RANKS FLAG...: both versions train.
compare() {
  local a b
  run "$before" a "$@"
  run "$ulysses" b "$@"
  a=$(sums a) b=$(sums b)
  printf '%s %s  %s\n' "$a" "$b" "$*"
  [ "$a" = "$b" ] || fail "other bits: $*"
  num=$((num + 1))
}

compare 1
compare 1 --dtype bf16 --recompute none
compare 2 --zero 3
compare 3 --zero 1 --recompute full
compare 4 --zero 2 --dtype bf16
compare 4 --dp 2 --sp 2 --batch 4 --zero 0
compare 4 --dp 2 --sp 2 --batch 4 --zero 3 --grad-dtype bf16
compare 3 --dp 3 --batch 6 --zero 2
compare 2 --window 40 --rounds 2
compare 2 --sparse bigbird --sparse-block 16 --recompute full
data=book/train compare 2 --pack --seq-len 300 --zero 3
compare 1 --stash disk:. --recompute none
compare 2 --offload-optimizer disk:. --zero 3
compare 4 --reproducible --batch 4 --dp 2 --zero 1
compare 2 --reproducible --leaves 4 --zero 3 --dtype bf16
compare 2 --model gpt2.json --zero 2
compare 4 --model gpt2.json --rounds 2 --dtype bf16
compare 3 --model qwen2.json --zero 3 --recompute none
compare 2 --model qwen2.json --sparse longformer --sparse-block 16 --batch 3

# Evaluation and generation by both, of one checkpoint: the older program's, which both read.
run "$before" trained 2 --window 60

# compare_output RANKS ARGUMENT...: both versions print the same numbers.
compare_output() {
  local ranks=$1 program
  shift
  for program in "$before" "$ulysses"; do
    "$starter" -n "$ranks" "$program" "$@" --json 2>log | sed 's/"prompt_s".*//' >output
    [ -s output ] || { cat log; fail "$program failed: $*"; }
    [ "$program" = "$before" ] && mv output output-before
  done
  cmp -s output-before output || fail "another output: $*: $(diff output-before output | head -n 4)"
  printf '%s  %s\n' "same output" "$ranks $*"
  num=$((num + 1))
}

# compare_plan ARGUMENT...: both versions send the same, and this one needs no more memory.
compare_plan() {
  local program memory=()
  for program in "$before" "$ulysses"; do
    "$program" plan "$@" --json >plan 2>log || { cat log; fail "$program failed: plan $*"; }
    memory+=("$(sed 's/.*"peak_bytes": \([0-9]*\).*/\1/' plan)")
    # What is sent, without the kinds of which nothing is: an older version may not know them.
    sed 's/.*"sent_bytes": {\([^}]*\)}.*/\1/; s/"[a-z_]*": 0\(, \)\?//g; s/, $//' plan >output
    [ "$program" = "$before" ] && mv output output-before
  done
  cmp -s output-before output || fail "another plan: $*: $(diff output-before output | head -n 4)"
  [ "${memory[1]}" -le "${memory[0]}" ] || fail "more memory: $*: ${memory[*]} bytes"
  printf 'same plan, %s bytes before, %s now  %s\n' "${memory[@]}" "$*"
  num=$((num + 1))
}

for ranks in 1 2 3; do
  compare_output $ranks eval --checkpoint trained --data text.txt
  compare_output $ranks eval --checkpoint trained --data book/train --pack --zero 3 --dtype bf16
  compare_output $ranks generate --checkpoint trained --prompt doc --max-tokens 40 --seed 3
  compare_output $ranks generate --checkpoint trained --prompt-file book.txt --max-tokens 20
done
for mesh in '1 1' '2 1' '1 4' '2 4'; do
  read -r dp sp <<<"$mesh"
  for stage in 0 1 2 3; do
    compare_plan --model llama-25m --seq-len 8k --batch 4 --dp "$dp" --sp "$sp" --zero $stage
  done
done
echo "the same in $num comparisons"
