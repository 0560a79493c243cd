#!/bin/bash
# Tests how the messages of the library name settings:
#   - no text in src/ has a flag such as --seq-len: the library knows no command line
#   - what a text calls config.X, mesh.X, prepare.X, desc.X, sampling.X, sparse.X or mask.X is a member of the public
#     struct that belongs to the name
#   - the program puts a flag in the place of each config.X, mesh.X and prepare.X
#   - cli/ reads the message of a failure in messages.c alone, which translates it
#
#   tests/check_messages.sh TRANSLATE [ROOT]       checks the tree at ROOT (default: the one it lies in)
#   tests/check_messages.sh --self-test TRANSLATE  checks that each breach, made in a small tree, is found
# TRANSLATE is the program that is built from translate.c.
set -euo pipefail
export LC_ALL=C

declare -A struct_of=([config]=uly_train_config [mesh]=uly_mesh_desc [prepare]=uly_prepare_config
  [desc]=uly_attention_desc [sampling]=uly_sampling [sparse]=uly_sparse [mask]=uly_mask)

# texts FILE: its string literals, one a line, those that lie side by side as one. gcc takes the comments out (clang cannot);
# an escaped quote becomes byte 1, so that what is left of quotes are the ends of literals.
texts() {
  gcc -fpreprocessed -dD -E -P "$1" | grep -vE '^ *# *include' |
    sed "s/\\\\\\\\/\x02/g; s/\\\\\"/\x01/g; s/'\"'/\x01/g" | tr '\n' ' ' |
    sed -E 's/" *"//g' | grep -oE '"[^"]*"' || true
}

# members: those that the texts on standard input name, one a line. Files may be called config.json.
members() {
  local names
  names=$(IFS='|' && echo "${!struct_of[*]}")
  grep -oE "(^|[^A-Za-z0-9_.])($names)(\.[A-Za-z_][A-Za-z0-9_]*)+" |
    sed 's/^[^A-Za-z]//' | grep -v '^config\.json$' | sort -u || true
}

# check TRANSLATE: the tree in the current folder.
check() {
  local translate=$1 file found member flag num_texts=0 num_members=0 num_breaches=0 declarations=''
  breach() {
    echo "$*"
    num_breaches=$((num_breaches + 1))
  }
  for file in src/*/*.[ch]; do
    found=$(texts "$file")
    num_texts=$((num_texts + $(grep -c . <<<"$found" || true)))
    if grep -E -- '--[a-z]' <<<"$found"; then breach "$file: a text has a flag"; fi
    for member in $(members <<<"$found"); do
      num_members=$((num_members + 1))
      declarations+="#line 1 \"$file: $member\""$'\n'
      declarations+="int member_${num_members}[sizeof(((${struct_of[${member%%.*}]} *)0)->${member#*.}) > 0];"$'\n'
      case $member in
        config.* | mesh.* | prepare.*)
          flag=$("$translate" <<<"$member")
          [[ $flag =~ ^--[a-z0-9-]+$ ]] || breach "$file: $member is '$flag' in the words of the program: there is no flag"
          ;;
      esac
    done
  done
  if ! gcc -fsyntax-only -Iinclude -x c - 2>&1 <<<'#include "ulysses.h"'$'\n'"$declarations"; then
    breach "a text names what is no member"
  fi
  for file in cli/*.c cli/*/*.c; do
    grep -q uly_last_error "$file" || continue
    [ "$file" = cli/options/messages.c ] || breach "$file: uly_last_error is read: last_failure is in the words of the program"
  done
  echo "$num_texts texts with $num_members members, $num_breaches breaches"
  [ $num_texts -gt 0 ] && [ $num_members -gt 0 ] && [ $num_breaches -eq 0 ]
}

# A small tree that keeps the law.
make_good_tree() {
  mkdir -p "$1"/{include,cli/{options,train},src/train}
  cp "$root/include/ulysses.h" "$1/include"
  echo 'uly_last_error();' >"$1/cli/options/messages.c"
  echo 'print_failure(last_failure());' >"$1/cli/train/train.c"
  cat >"$1/src/train/trainer.c" <<'END'
#include "train/config.h" /* a comment with --seq-len and config.nothing */
const char *a = "config.seq_len is %d, but \"config.sparse.pattern\" " "and '%s/config.json' too: '\"' config.stash = DIR.";
const char *b = "desc.num_tokens, mesh.sp; prepare.out", c = '"'; // --sp
int config_of = config.nothing--a;
END
}

num_missed=0
num_cases=0

# expect FILE LINE MESSAGE: a tree with this line added to this file must fail, and say this.
expect() {
  local tree=$scratch/tree output
  rm -rf "$tree"
  make_good_tree "$tree"
  printf '%s\n' "$2" >>"$tree/$1"
  num_cases=$((num_cases + 1))
  if output=$(cd "$tree" && check "$translate" 2>&1); then
    echo "not found: '$2' in $1"
    num_missed=$((num_missed + 1))
  elif [[ $output != *"$3"* ]]; then
    printf "found, but not said: '%s' in %s, said:\n%s\n" "$2" "$1" "$output"
    num_missed=$((num_missed + 1))
  fi
}

self_test() {
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  make_good_tree "$scratch/good"
  if ! (cd "$scratch/good" && check "$translate"); then
    echo "a tree that keeps the law was refused"
    exit 1
  fi
  local trainer=src/train/trainer.c
  expect $trainer 'char *d = "use --seq-len";' "$trainer: a text has a flag"
  expect $trainer 'char *d = "use -" "-sp";' "$trainer: a text has a flag"
  expect $trainer 'char *d = "\"a\" \\" "\"--sp\"";' "$trainer: a text has a flag"
  expect $trainer '#define D "--sp"' "$trainer: a text has a flag"
  expect $trainer 'char *d = "config.seq_lem is 3";' "$trainer: config.seq_lem"
  expect $trainer 'char *d = "config.seq" "_lem";' "$trainer: config.seq_lem"
  expect $trainer 'char *d = "(sparse.blocks)";' "$trainer: sparse.blocks"
  expect $trainer 'char *d = "desc.maskes";' "$trainer: desc.maskes"
  expect $trainer 'char *d = "mesh.size";' "$trainer: mesh.size is 'mesh.size'"
  expect $trainer 'char *d = "prepare.inputs";' "$trainer: prepare.inputs is 'prepare.inputs'"
  expect cli/train/train.c 'puts(uly_last_error());' 'cli/train/train.c: uly_last_error is read'
  echo "self-test: $num_cases breaches made, $num_missed missed"
  [ $num_missed -eq 0 ]
}

root=$(cd "$(dirname "$0")/.." && pwd)
case ${1:-} in
  --self-test)
    translate=$(realpath "$2")
    self_test
    ;;
  '' | -*)
    sed -n '2,12s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
  *)
    translate=$(realpath "$1")
    cd "${2:-$root}" && check "$translate"
    ;;
esac
