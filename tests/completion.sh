#!/bin/bash
# Tests the completion for bash and the man page, as the program prints them: the script is sourced
# and asked, as bash does, with the words of a command line; if groff is installed, it reads the
# page without a warning.
#   completion.sh ULYSSES
set -uo pipefail
program=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
failed=0

fail() {
  echo "FAILED: $*"
  failed=1
}

"$program" completion bash >ulysses.bash || fail "completion bash"
# shellcheck disable=SC1091
source ./ulysses.bash || fail "a script that bash does not read"
complete -p ulysses >/dev/null 2>&1 || fail "ulysses is not completed"
mkdir folder
: >file.yaml

# Completes the last of the words.
ask() {
  COMP_WORDS=(ulysses "$@")
  COMP_CWORD=$#
  _ulysses
}

# offers WORDS ---- WHAT...: for this command line just these, in any order.
offers() {
  local want=() got
  while [ "$1" != ---- ]; do
    want+=("$1")
    shift
  done
  shift
  ask "$@"
  got=$(printf '%s\n' "${COMPREPLY[@]}" | sort)
  [ "$got" = "$(printf '%s\n' "${want[@]}" | sort)" ] || fail "ulysses $*: offers ${COMPREPLY[*]}, not ${want[*]}"
}

# has WORD ---- WHAT..., lacks WORD ---- WHAT...: among others.
has() {
  ask "${@:3}"
  [[ " ${COMPREPLY[*]} " == *" $1 "* ]] || fail "ulysses ${*:3}: does not offer $1 but ${COMPREPLY[*]}"
}
lacks() {
  ask "${@:3}"
  [[ " ${COMPREPLY[*]} " != *" $1 "* ]] || fail "ulysses ${*:3}: offers $1"
}

offers train ---- tr
has --version ---- ''
has help ---- ''
offers --seq-len ---- train --seq
has --no-reproducible ---- train --
has --dry-run ---- train --
lacks --json ---- train --
has --json ---- plan --
lacks --lr ---- plan --
offers attention ---- bench a
has --head-dim ---- bench attention --
lacks --head-dim ---- bench step --
has --recompute ---- bench step --
offers f32 bf16 ---- train --dtype ''
offers bf16 ---- train --dtype b
offers auto f32 bf16 f16 ---- export --dtype ''
offers keep-attention ---- train --data x --recompute keep
offers f32 bf16 ---- train --dtype =
offers bf16 ---- train --dtype = b
offers llama-1m ---- plan --model llama-1m
has gpt2-124m ---- plan --model ''
has file.yaml ---- plan --model ''
offers file.yaml ---- train --config "fi"
offers folder ---- train --rank-logs ''
offers folder auto ---- train --resume ''
offers disk: ---- train --stash ''
offers folder ---- train --stash disk :
offers folder ---- train --stash disk : fo
offers optimizer.lr= ---- train --set optimizer.lr
offers '' ---- train --steps ''
offers verify ---- checkpoint v
has folder ---- checkpoint verify ''
offers bash ---- completion ''
offers optimizer ---- help train opt
offers run ranks output text ---- help prepare ''
offers '' ---- help completion ''
has checkpoint ---- help ''
has --ranks ---- launch --
has train ---- launch ''
offers train ---- launch --ranks 2 tr
offers '' ---- launch --ranks ''
offers '' ---- launch --ranks = ''
has --seq-len ---- launch --ranks = 2 train --
offers f32 bf16 ---- launch --ranks 2 train --dtype ''
offers attention ---- launch --ranks 2 bench a

"$program" man >ulysses.1 || fail "man"
grep -q '^\.TH ULYSSES 1' ulysses.1 || fail "no title"
for part in NAME SYNOPSIS DESCRIPTION COMMANDS OPTIONS 'CONFIGURATION FILES' 'EXIT STATUS' ENVIRONMENT FILES; do
  grep -q "^\.SH \"$part\"" ulysses.1 || fail "no $part"
done
grep -q 'ULYSSES_CHECK' ulysses.1 || fail "no environment variables"
if command -v groff >/dev/null; then
  warnings=$(groff -man -ww -z ulysses.1 2>&1)
  [ -z "$warnings" ] || fail "groff: $warnings"
fi
if command -v mandoc >/dev/null; then
  mandoc -T lint -W error ulysses.1 || fail "mandoc"
fi

[ $failed -eq 0 ] && echo "all as expected"
exit $failed
