#!/bin/bash
# Compares the speed of `ulysses prepare --tokenizer` with that of the Python package `tokenizers`, in
# alternation on the same cores.
#
#   bench/prepare.sh PROGRAM TOKENIZER.json [FILE]
#   PYTHON=python3 THREADS="1 2" ROUNDS=3 MEGABYTES=20 WORK=build/prepare
#
# FILE is text in UTF-8, of which the first MEGABYTES are taken (without it: the sources and the texts
# of this tree, again and again). It is divided into documents of some paragraphs, in JSON Lines.
# `prepare` reads them, encodes them and writes shards. What is timed of the package is
# encode_batch_fast alone, its fastest call, on documents that are in memory already. A line for each
# number of threads gives the medians in MB/s of the documents, and their ratio; the script fails if
# the numbers of tokens differ. Without the package it measures `prepare` alone.
set -euo pipefail
shopt -s inherit_errexit

if [ $# -lt 2 ] || [ $# -gt 3 ]; then
  sed -n '2,14s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
program=$(realpath "$1") tokenizer=$(realpath "$2") file=${3:-}
python=${PYTHON:-python3} rounds=${ROUNDS:-3} bytes=$((${MEGABYTES:-20} * 1000000))
root=$(realpath "$(dirname "$0")/..")
work=${WORK:-$root/build/prepare}
mkdir -p "$work"

# sources: the text of this tree without end
sources() { while cat "$root"/src/*/*.[ch] "$root"/docs/*.md "$root"/tests/*.[ch] 2>/dev/null; do :; done; }

# A document ends with an empty line, after 2,000 bytes or more.
if [ -n "$file" ]; then cat "$file"; else sources; fi 2>/dev/null | head -c $bytes | iconv -f UTF-8 -t UTF-8 -c |
  perl -MJSON::PP -ne '
    sub put { print encode_json({text => $text}), "\n"; $text = "" }
    utf8::decode($_); $text .= $_; put if /^\s*$/ && length($text) > 2000;
    END { put if length $text }' >"$work/documents.jsonl" || true

# peer THREADS: bytes of text, tokens, and seconds of the package
peer() {
  RAYON_NUM_THREADS=$1 TOKENIZERS_PARALLELISM=$([ "$1" -gt 1 ] && echo true || echo false) \
    "$python" - "$tokenizer" "$work/documents.jsonl" <<'PYTHON'
import json, sys, time
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[1])
tokenizer.encode_special_tokens = True
texts = [json.loads(line)["text"] for line in open(sys.argv[2], encoding="utf-8")]
tokenizer.encode_batch_fast(texts[:100], add_special_tokens=False)
begin = time.monotonic()
found = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
seconds = time.monotonic() - begin
print(sum(len(text.encode()) for text in texts), sum(map(len, found)), seconds)
PYTHON
}

# ours THREADS: tokens without those that end documents, and seconds
ours() {
  rm -rf "$work/out"
  "$program" prepare --documents jsonl "$work/documents.jsonl" --tokenizer "$tokenizer" --doc-end 0 \
    --out "$work/out" --threads "$1" --progress plain >"$work/log"
  # The speed is that of the bytes of the file.
  sed -nE 's/^read .*, ([0-9.]+) MB.s$/\1/p; s/^train  *([0-9]+) documents?, ([0-9]+) tokens.*/\1 \2/p' "$work/log" |
    paste -sd ' ' | awk -v n="$(wc -c <"$work/documents.jsonl")" '{ print $3 - $2, n / 1e6 / $1 }'
}

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

has_peer=no
if command -v "$python" >/dev/null && "$python" -c 'import tokenizers' 2>/dev/null; then has_peer=yes; fi
[ $has_peer = yes ] || echo "prepare: $python lacks the package tokenizers, so there is nothing to compare with" >&2
text=$(perl -MJSON::PP -ne '$n += length(Encode::encode_utf8(decode_json($_)->{text})); END { print $n }' -MEncode \
  "$work/documents.jsonl")
for threads in ${THREADS:-1 2}; do
  : >"$work/ours" && : >"$work/peer"
  for ((round = 0; round < rounds; round++)); do
    read -r tokens seconds < <(ours "$threads")
    awk -v n="$text" -v s="$seconds" 'BEGIN { print n / s / 1e6 }' >>"$work/ours"
    [ $has_peer = yes ] || continue
    read -r peer_bytes peer_tokens seconds < <(peer "$threads")
    awk -v n="$peer_bytes" -v s="$seconds" 'BEGIN { print n / s / 1e6 }' >>"$work/peer"
    if [ "$tokens" -ne "$peer_tokens" ]; then
      echo "prepare: $tokens tokens here, and $peer_tokens of the package" >&2
      exit 1
    fi
  done
  here=$(median <"$work/ours")
  if [ $has_peer = yes ]; then
    there=$(median <"$work/peer")
    awk -v t="$threads" -v a="$here" -v b="$there" \
      'BEGIN { printf "%d threads: prepare %.1f MB/s, the package %.2f MB/s, ratio %.1f\n", t, a, b, a / b }'
  else
    echo "$threads threads: prepare $here MB/s"
  fi
done
