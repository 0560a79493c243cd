#!/bin/bash
# Prints the memory that a token costs in a layer, by recompute policy: from the formula, from
# `plan`, and as a step held it; and how memory grows with the tokens when activations are on local
# disk. One rank.
#
#   bench/memory.sh PROGRAM      SEQ_LEN=8192 MODEL=llama-110m DISK=/tmp
#
# Formula, bytes in bf16 for a token and layer; h = query heads x head size d, which is the width in these models, k =
# key/value heads x d, f the MLP's width:
#   full             the input: 2h
#   keep-attention   Q K V, O, softmax's sums: + 2(h + 2k) + 2h + 8 heads; with an exchange O is on both sides: + 2h
#   none             the residual after attention, gate and up: + 2h + 4f
# and for a token once: the output of the last block and its gradient, 4h, and the angles of RoPE, 4d.
set -euo pipefail
export LC_ALL=C
ulysses=$(realpath "${1:?usage: $0 PROGRAM}")
model=${MODEL:-llama-110m} seq_len=${SEQ_LEN:-8192} disk=$(realpath "${DISK:-/tmp}")
first=
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
awk -v n=$((4 * seq_len + 1)) 'BEGIN { for (i = 0; i < n; i++) printf "%c", 97 + (i * i + int(i / 7)) % 26 }' >text.txt

# value KEY FILE: of the last line of JSON.
value() { tail -n 1 "$2" | sed -n 's/.*"'"$1"'": *\([0-9]*\).*/\1/p'; }
# step FLAG...: plan and one training step, to the files plan and run; saves the model's shape too.
step() {
  "$ulysses" plan --json --model "$model" --dtype bf16 "$@" >plan
  rm -rf run out
  "$ulysses" train --model "$model" --dtype bf16 "$@" --data text.txt --steps 1 --metrics run --out out >/dev/null
  config=$(find out -name config.json)
}

echo "| recompute | bytes for a token and layer | formula | plan | run | run / formula |"
echo "|---|---|---|---|---|---|"
for recompute in full keep-attention none; do
  step --seq-len "$seq_len" --recompute $recompute
  tr -d '\n' <"$config" >shape
  awk -v policy=$recompute -v n="$seq_len" -v layers="$(value num_hidden_layers shape)" -v f="$(value intermediate_size shape)" \
    -v heads="$(value num_attention_heads shape)" -v kv="$(value num_key_value_heads shape)" -v d="$(value head_dim shape)" \
    -v plan="$(value activations plan)" -v run="$(value activations run)" 'BEGIN {
      h = heads * d; k = kv * d; c = 2 * h
      if (policy != "full") c += 2 * (h + 2 * k) + 2 * h + 8 * heads
      if (policy == "none") c += 2 * h + 4 * f
      bytes = n * (layers * c + 4 * h + 4 * d)
      printf "| %s | %.0f | %.0f | %.0f | %.0f | %.4f |\n", policy, c, bytes, plan, run, run / bytes
    }'
done

printf '\n| tokens | stash | arenas | resident | against the first row |\n|---|---|---|---|---|\n'
for tokens in "$seq_len" $((4 * seq_len)); do
  for stash in disk:"$disk" none; do
    if [ $stash = none ]; then flags=(); else flags=(--stash "$stash"); fi
    step --seq-len "$tokens" --recompute keep-attention ${flags+"${flags[@]}"}
    arenas=$(value peak_bytes run) resident=$(value resident_bytes run)
    first=${first:-$resident}
    awk -v n="$tokens" -v s="${stash%%:*}" -v a="$arenas" -v r="$resident" -v f="$first" \
      'BEGIN { printf "| %.0f | %s | %.0f | %.0f | %.2f |\n", n, s, a, r, r / f }'
  done
done
