#!/bin/bash
# Tests what cannot work, as far as that needs the whole program or several ranks: exit codes 2 and 3, one message, and no
# rank that hangs. For each command there are a few rows; all others are in the tables of test_usage.c.
#   bad_usage.sh ULYSSES MPIRUN
program=$1
mpirun=$2
# shellcheck source=tests/cli_common.sh
. "$(dirname "$(realpath "$0")")/cli_common.sh"
patience 0

expect 0 '' "$program" "${good[@]}" --out run
eval=(eval --checkpoint run --data text.txt)
generate=(generate --checkpoint run --prompt a)
plan=(plan --model tiny.json --seq-len 64)
bench=(bench attention --seq-len 64 --head-dim 16 --repeats 1)
long=$(head -c 100000 /dev/zero | tr '\0' 'q')

# --- each command, and what is none

row 2 "'trian' is not a command.*did you mean train?" trian
row 2 '--no-such-flag is not an option' "${good[@]}" --no-such-flag 1
row 2 "--data 'qqq.*' has 100000 bytes, but at most 4095" "${bare[@]}" --data "$long"
row 3 "'x?\[31m?x': No such file" "${bare[@]}" --data $'x\e[31m\nx'
row 3 "--config 'missing.yaml' cannot be opened: No such file" "${good[@]}" --config missing.yaml
row 2 "'no-such-model' is neither a preset .*No such file" "${good[@]}" --model no-such-model
row 2 '--save-every 1 needs --out' "${good[@]}" --save-every 1
row 2 "'extra': expected an option" "${eval[@]}" extra
row 2 '--checkpoint is missing' eval --data text.txt
row 2 "--prompt '': expected TEXT, not empty" "${generate[@]}" --prompt ''
row 2 '--tokenizer is missing' tokenize --text a
row 2 'token 1 of the prompt is 257' generate --checkpoint run --prompt-tokens 1,257
row 2 "--seq-len '0'" "${plan[@]}" --seq-len 0
row 2 "--head-dim 'many'" "${bench[@]}" --head-dim 64,many
row 2 'an argument is missing' bench
row 2 '--no-such-flag is not an option' doctor --no-such-flag
row 2 '--out is missing' prepare text.txt
row 2 'an argument is missing' report
row 3 'File name too long' checkpoint verify "${long::300}"
# -h is the value of --out here, and asks for no help.
row 2 "--data is missing" "${good[@]:0:3}" --out -h
# launch starts ranks, which refuse their flags.
expect 2 "--ranks is not an option of 'train', but of 'launch': write it before" "$program" launch train --ranks 2

# --- meshes and sequences that these ranks cannot have

row 2 '7.*ranks.*change --dp or --sp' "${good[@]}" --sp 7
row 2 'ranks' "${good[@]}" --sp 2 --dp 2
row 2 '--tp is 7.*number of ranks.*set --tp to 1' "${good[@]}" --tp 7
row 2 '7.*ranks' "${eval[@]}" --sp 7
row 2 '7.*ranks' "${generate[@]}" --sp 7
truncate -s 4G zeros.txt # takes no room
row 2 'but may take only 3145728 .* It would fit with --seq-len [0-9]*$' "${bare[@]}" --any-bytes --data zeros.txt --seq-len 64k --memory-limit 3MiB
row 2 '\(more than an MPI exchange can count: use more ranks\|but may take only\)' "${bare[@]}" --any-bytes --data zeros.txt --seq-len 4096m
row 2 'needs [0-9]* bytes' "${eval[@]}" --memory-limit 64KiB

# --- ranks that were started differently

# together TEXT COMMAND...: runs a command that starts its own ranks, beside other rows, and expects exit code 2.
num_commands=0
together() {
  num_commands=$((num_commands + 1))
  beside together-$num_commands 2 "$@"
}
# two TEXT FLAG VALUE FLAGS...: runs two ranks, the first with this flag and value, and the second with these flags.
two() { together "$1" "$mpirun" -n 1 "$program" "${good[@]}" "${@:2:2}" : -n 1 "$program" "${good[@]}" "${@:4}"; }
two 'rank 1' --lr 1e-3 --lr 5e-2
two 'rank 1' --sp 2 --sp 3
two 'rank 1' --tp 1 --tp 2
two 'rank 1' --log-every 1 --log-every 2
two 'rank 1' --seq-len 64 --seq-len 65
two 'rank 1' --window 9 --window 8
two 'rank 1' --pack --doc-end=5 --pack --doc-end=6
two 'rank 1' --sparse fixed --sparse strided
two 'rank 1' --sp 0 --print-config
two 'rank 1' --sp 0 --dry-run
two 'rank 1' --stash disk:a
two 'no-such-flag' --sp 0 --no-such-flag
two 'rank 1' --model tiny.json --model no-such-model
together 'rank 1' "$mpirun" -n 1 "$program" bench exchange : -n 1 "$program" bench exchange --repeats 2
together 'rank 1' "$mpirun" -n 1 "$program" bench exchange : -n 1 "$program" bench ceiling
together 'an argument is missing' "$mpirun" -n 1 "$program" bench exchange : -n 1 "$program" bench
together 'instruction set' "$mpirun" -n 2 env ULYSSES_ISA=none "$program" "${good[@]}"
together 'heads' "$mpirun" -n 3 "$program" "${bench[@]}" --q-heads 1 --kv-heads 1
together 'power of two' "$mpirun" -n 3 "$program" "${good[@]}" --reproducible
together 'power of two' "$mpirun" -n 3 "$program" "${good[@]}" --reproducible --dp 3
together '--batch is 4.*multiple' "$mpirun" -n 3 "$program" "${good[@]}" --dp 3 --batch 4
together 'mpirun' "$mpirun" -n 1 "$program" bench exchange
together 'no-such-flag' "$mpirun" -n 2 "$program" doctor : -n 1 "$program" doctor --no-such-flag

finish
