#!/bin/bash
# Prints tables of what a rank sends in a training step, in MiB, for each way to divide a sequence,
# or the layers of a model, over 2, 4 and 8 ranks: with 8,192 tokens for each rank, and with 65,536
# tokens in all. The figures are those of `ulysses plan`, which test_plan compares with what runs
# send.
#
#   bench/sent_by_scheme.sh [PROGRAM]      PROGRAM=build/release/ulysses
set -euo pipefail
ulysses=$(realpath "${1:-$(dirname "$0")/../build/release/ulysses}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# sent KV_HEADS TOKENS FLAG RANKS: prints the MiB that a rank sends for attention, for keys and
# values, and for tensor parallelism.
sent() {
  cat >"$folder/model.json" <<JSON
{"model_type": "llama", "hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 12,
 "num_attention_heads": 16, "num_key_value_heads": $1, "vocab_size": 257, "max_position_embeddings": 65536}
JSON
  "$ulysses" plan --model "$folder/model.json" --seq-len "$2" --dtype bf16 "$3" "$4" --json |
    grep -oE '"(attention|keys|tensor)_[a-z]+": [0-9]+' |
    awk '{ sum += $2 } END { printf "%.0f", sum / 1048576 }'
}

for kv_heads in 16 4; do
  printf '\n16 query heads, %d key/value heads\n\n' "$kv_heads"
  echo '| scheme | 2 ranks, 16k tokens | 4, 32k | 8, 64k | 2 ranks, 64k tokens | 4, 64k | 8, 64k |'
  echo '|---|---|---|---|---|---|---|'
  for scheme in Ulysses:--sp ring:--ring gather:--gather tensor:--tp; do
    printf '| %s (`%s`) |' "${scheme%%:*}" "${scheme##*:}"
    for ranks in 2 4 8; do printf ' %s |' "$(sent $kv_heads $((8192 * ranks)) "${scheme##*:}" $ranks)"; done
    for ranks in 2 4 8; do printf ' %s |' "$(sent $kv_heads 65536 "${scheme##*:}" $ranks)"; done
    echo
  done
done
