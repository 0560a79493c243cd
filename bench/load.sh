#!/bin/bash
# Compares the loading of a model's weights with plain reads of the same files: from the disk, with the
# system's cache of the files dropped, and from the cache. The program makes a random model of about
# 500 million parameters by itself: it trains one step at a rate of 0 and exports the checkpoint, in
# bf16 and in f32.
#
#   bench/load.sh PROGRAM      REPEATS=5 and FOLDER=a new folder by default
#
# Each line has the median times of `cat FILES >/dev/null`; of a read into memory as large as the file (dd with
# one block), since a load must touch such memory, too; and of the load (load_s of `ulysses generate --json`:
# everything from the plan to the last weight). The three take turns. Then come the ratios of the first two to the
# load. A load of bf16 weights as f32 touches twice the memory.
#
# A virtual machine may return free memory to its host within seconds, and getting a gigabyte back can take
# longer than reading it from the disk. So each measurement runs twice in a row, and only the second run
# counts: it reuses the memory that the first one got.
#
# It needs 10 GB of disk, and 8 GB of memory, for a while.
set -euo pipefail
ulysses=$(realpath "${1:?usage: $0 PROGRAM}")
repeats=${REPEATS:-5}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
work=${FOLDER:-$(mktemp -d)}
mkdir -p "$work"
[ -n "${FOLDER:-}" ] || trap 'rm -rf "$work"' EXIT
cd "$work"

cat >config.json <<'JSON'
{"model_type": "llama", "hidden_size": 1536, "intermediate_size": 4096, "num_hidden_layers": 16,
 "num_attention_heads": 12, "num_key_value_heads": 4, "vocab_size": 32000,
 "max_position_embeddings": 4096, "tie_word_embeddings": false}
JSON
# A shard of 200 tokens: 256 integers of header, then 16-bit tokens.
perl -e 'print pack("l<256", 20240520, 1, 200), pack("S<200", 1 .. 200)' >tokens.bin
if [ ! -e f32 ]; then
  "$ulysses" train --model config.json --data tokens.bin --seq-len 16 --steps 1 --lr 0 --no-measure-peak --out run >/dev/null
  "$ulysses" export run --out bf16 --dtype bf16
  "$ulysses" export run --out f32 --shard-size 500MB
  rm -r run
fi

# drop FOLDER: the files leave the system's cache.
drop() {
  local file
  sync
  for file in "$1"/*.safetensors; do dd if="$file" iflag=nocache count=0 status=none; done
}
plain() {
  local begin=$EPOCHREALTIME
  cat "$1"/*.safetensors >/dev/null
  awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }'
}
into_memory() {
  local begin=$EPOCHREALTIME file
  for file in "$1"/*.safetensors; do dd if="$file" of=/dev/null bs="$(stat -c %s "$file")" status=none; done
  awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }'
}
load() {
  "$ulysses" generate --checkpoint "$1" --dtype "$2" --prompt-tokens 5 --max-tokens 1 --json 2>/dev/null |
    grep -o '"load_s":[0-9.e-]*' | cut -d : -f 2
}
# twice WHAT FOLDER FROM [DTYPE]: does it twice, the second time from the disk or the cache, and prints that time.
twice() {
  "$1" "$2" "${4:-}" >/dev/null
  [ "$3" = cache ] || drop "$2"
  "$1" "$2" "${4:-}"
}
median() { sort -g | awk '{ x[NR] = $1 } END { print x[int((NR + 1) / 2)] }'; }

echo "| files | run in | from | cat, s | into memory, s | load, s | cat / load | into memory / load |"
echo "|---|---|---|---|---|---|---|---|"
for files in bf16 f32; do
  for dtype in bf16 f32; do
    for from in disk cache; do
      : >plain.txt
      : >memory.txt
      : >load.txt
      for ((i = 0; i < repeats; i++)); do
        twice plain $files $from >>plain.txt
        twice into_memory $files $from >>memory.txt
        twice load $files $from $dtype >>load.txt
      done
      awk -v f=$files -v d=$dtype -v from=$from -v a="$(median <plain.txt)" -v m="$(median <memory.txt)" \
        -v b="$(median <load.txt)" \
        'BEGIN { printf "| %s | %s | %s | %.2f | %.2f | %.2f | %.2f | %.2f |\n", f, d, from, a, m, b, a / b, m / b }'
    done
  done
done
