#!/bin/bash
# Bad input to the program, on 1 and 3 ranks: one message, the documented exit code, and no rank hangs.
#   cli_errors.sh ULYSSES MPIRUN
set -uo pipefail
program=$1
mpirun=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
failed=0

head -c 3000 /dev/zero | tr '\0' 'x' >text.txt
head -c 20 text.txt >short.txt
: >empty.txt
cat >tiny.json <<'END'
{"model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
 "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 257, "max_position_embeddings": 4096}
END
sed 's/257/100/' tiny.json >small_vocab.json
good=(train --model tiny.json --data text.txt --seq-len 64 --steps 2)

# expect CODE TEXT COMMAND...: the exit code, and one line of error with this text.
expect() {
  local code=$1 text=$2 got errors
  shift 2
  timeout 60 "$@" >out.log 2>err.log </dev/null
  got=$?
  errors=$(grep -c 'ulysses: error:' err.log)
  if [ $got -ne "$code" ] || { [ "$code" -ne 0 ] && { [ "$errors" -ne 1 ] || ! grep -q -- "$text" err.log; }; }; then
    echo "FAILED: $*: exit code $got (expected $code), $errors messages (expected '$text'):"
    cat err.log
    failed=1
  fi
}

for ranks in 1 3; do
  run=("$mpirun" -n $ranks "$program")
  expect 2 'bogus' "${run[@]}" bogus
  expect 2 'seq-len' "${run[@]}" plan --seq-len 0
  expect 0 '' "${run[@]}" plan --model tiny.json --seq-len 64
  [ "$(grep -c '^model' out.log)" -eq 1 ] || { echo "FAILED: $ranks plans"; failed=1; }
  expect 2 'no-such-flag' "${run[@]}" "${good[@]}" --no-such-flag 1
  expect 2 'seq-len' "${run[@]}" "${good[@]}" --seq-len many
  expect 2 'eps' "${run[@]}" "${good[@]}" --eps 0
  expect 2 'ranks' "${run[@]}" "${good[@]}" --sp 7
  expect 2 'preset' "${run[@]}" "${good[@]}" --model no-such-model
  expect 3 'missing.txt' "${run[@]}" "${good[@]}" --data missing.txt
  expect 3 'short.txt' "${run[@]}" "${good[@]}" --data short.txt
  expect 3 'empty.txt' "${run[@]}" "${good[@]}" --data empty.txt
  expect 3 'text.txt' "${run[@]}" "${good[@]}" --model small_vocab.json
  expect 3 'text.txt/out' "${run[@]}" "${good[@]}" --out text.txt/out
  expect 3 'no/such' "${run[@]}" "${good[@]}" --metrics no/such/file
  expect 3 'space' "${run[@]}" "${good[@]}" --metrics /dev/full
  expect 3 'nowhere' "${run[@]}" "${good[@]}" --resume nowhere
  expect 4 'loss' "${run[@]}" "${good[@]}" --lr 1e20 --warmup 0 --steps 9 --clip 0
  expect 0 '' "${run[@]}" "${good[@]}" --out run-$ranks --save-every 1 --metrics m-$ranks.jsonl
  # Again from the first step: the metrics hold each step once, and the checkpoints are the same bytes.
  cp -r run-$ranks/step-0000000002 first-$ranks
  rm -r run-$ranks/step-0000000002
  expect 0 '' "${run[@]}" "${good[@]}" --out run-$ranks --resume auto --metrics m-$ranks.jsonl
  if ! diff -r first-$ranks run-$ranks/step-0000000002 || [ "$(wc -l <m-$ranks.jsonl)" -ne 2 ]; then
    echo "FAILED: a resumed run differs on $ranks ranks"
    failed=1
  fi
done

# Ranks that were started differently.
two() { printf '%s ' -n 1 "$program" "${good[@]}" "$1" "$2" : -n 1 "$program" "${good[@]}" "$1" "$3"; }
# shellcheck disable=SC2046
for option in '--lr 1e-3 5e-2' '--sp 2 3' '--log-every 1 2' '--seq-len 64 65'; do
  # shellcheck disable=SC2086
  expect 2 'rank 1' "$mpirun" $(two $option)
done
expect 2 'rank' "$program" train --sp 0 --dp 9 "${good[@]:1}"
[ $failed -eq 0 ] && echo "all as expected"
exit $failed
