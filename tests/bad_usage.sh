#!/bin/bash
# Tests what cannot work: commands, options, values, configuration files, ranks and memory that do
# not go together. Each row expects one message, exit code 2 (3 for a missing file), and no rank that
# hangs.
#   bad_usage.sh ULYSSES MPIRUN
program=$1
mpirun=$2
# shellcheck source=tests/cli_common.sh
. "$(dirname "$(realpath "$0")")/cli_common.sh"
patience 0

expect 0 '' "$program" "${good[@]}" --out run
sed 's/257/300/' tiny.json >words.json
expect 0 '' "$program" prepare text.txt --out shards
expect 0 '' "$program" "${bare[@]}" --data shards/train --out words --model words.json
eval=(eval --checkpoint run --data text.txt)
generate=(generate --checkpoint run --prompt a)
plan=(plan --model tiny.json --seq-len 64)
bench=(bench attention --seq-len 64 --head-dim 16 --repeats 1)
long=$(head -c 100000 /dev/zero | tr '\0' 'q')
digits=$(head -c 100000 /dev/zero | tr '\0' '1')

# --- commands, flags and arguments that there are not

row 2 "'bogus': not a command" bogus
row 2 "'': not a command" ''
row 2 "'trian': not a command.*did you mean train?" trian
row 2 "'qqq.*': not a command" "$long"
row 2 "'x?\[31mx': not a command" $'x\e[31mx'
row 2 '--no-such-flag: not an option' "${good[@]}" --no-such-flag 1
row 2 '--no-such-flag: not an option' "${plan[@]}" --no-such-flag 1
row 2 '--no-such-flag: not an option' "${bench[@]}" --no-such-flag 1
row 2 '--no-such-flag: not an option' "${eval[@]}" --no-such-flag 1
row 2 '--no-such-flag: not an option' "${generate[@]}" --no-such-flag 1
row 2 '--no-such-flag: not an option' prepare text.txt --out data --no-such-flag
row 2 '--no-such-flag: not an option' report text.txt --no-such-flag
row 2 '--no-such-flag: not an option' doctor --no-such-flag
row 2 '--no-such-flag: not an option' checkpoint verify run --no-such-flag
row 2 '--no-such-flag: not an option' checkpoint show run --no-such-flag
row 2 '--seq_len: not an option.*did you mean --seq-len?' "${good[@]}" --seq_len 64
row 2 '--qqq.*: not an option' "${good[@]}" "--$long" 1
row 2 "'-x': expected an option" "${good[@]}" -x
row 2 "'extra': expected an option" "${good[@]}" extra
row 2 "'extra': expected an option" doctor extra
row 2 "'extra': expected an option" "${eval[@]}" extra
row 2 "'extra': expected an option" "${generate[@]}" extra
row 2 "'qqq.*': expected an option" "${good[@]}" "$long"
row 2 "'text.txt': expected an option, .*--data PATH.*did you mean --data text.txt?" train text.txt
row 2 "'text.txt': expected an option, .*did you mean --data text.txt?" eval --checkpoint run text.txt
row 2 "'text.txt': expected an option, .*; --data takes one file, or a folder" "${good[@]}" text.txt
row 2 "'run': expected an option, .*--checkpoint DIR.*did you mean --checkpoint run?" eval run --data text.txt
row 2 "'run': expected an option, .*did you mean --checkpoint run?" generate run
row 2 "'Once': expected an option, as in 'ulysses generate .*--prompt TEXT \[OPTIONS\]'$" generate --checkpoint run Once
row 2 "'run': expected an option, as in 'ulysses doctor \[--json\]'$" doctor run
row 2 "'-x': expected an option, as in 'ulysses prepare .*FILE" prepare -x
row 2 "'more': expected an option, as in 'ulysses man'$" man more
row 2 "'bogus': expected 'ulysses bench" bench bogus
row 2 "'check': expected 'ulysses checkpoint verify|show" checkpoint check run
row 2 "'more': too much" checkpoint show run more
row 2 'an argument is missing' bench
row 2 'an argument is missing' prepare --out data
row 2 'an argument is missing' report
row 2 'an argument is missing' checkpoint verify
row 2 'an argument is missing' checkpoint show

# --- flags of another command

row 2 "--head-dim: not an option of 'train'" "${good[@]}" --head-dim 3
row 2 "--json: not an option of 'train'" "${good[@]}" --json
row 2 "--prompt: not an option of 'eval'" "${eval[@]}" --prompt a
row 2 "--out: not an option of 'eval'" "${eval[@]}" --out x
row 2 "--data: not an option of 'generate'" "${generate[@]}" --data text.txt
row 2 "--dp: not an option of 'generate'" "${generate[@]}" --dp 1
row 2 "--steps: not an option of 'plan'" "${plan[@]}" --steps 3
row 2 "--data: not an option of 'bench step'" bench step --data text.txt
row 2 "--mask: not an option of 'bench exchange', but of 'bench attention'" bench exchange --mask full
row 2 "--held-out: not an option of 'report'" report text.txt --held-out 0.1
row 2 "--model: not an option of 'prepare'" prepare text.txt --out data --model tiny.json
row 2 "--out: not an option of 'checkpoint'" checkpoint show run --out x
row 2 "--threads: not an option of 'doctor', but of 'train', .*'eval'" doctor --threads 1
row 2 "--checkpoint: not an option of 'train', but of 'eval', 'generate'; " "${good[@]}" --checkpoint run
row 2 "--ranks: not an option of 'train', but of 'launch': write it before the command, as in 'ulysses launch --ranks 2" "${good[@]}" --ranks 2
expect 2 "--ranks: not an option of 'train', but of 'launch': write it before" "$program" launch train --ranks 2
expect 2 "--seq-len: not an option of 'launch', but of 'train', .*: write it behind the command" "$program" launch --seq-len 64 train
expect 2 "--no-pack: not an option of 'launch', but of 'train', .*: write it behind the command" "$program" launch --no-pack train
expect 2 "'-n': expected --ranks N or a command, as in 'ulysses launch --ranks 2" "$program" launch -n 2 train
expect 2 "--seq-lem: not an option of 'launch'; 'ulysses help launch' lists" "$program" launch --seq-lem 64 train

# --- values of a wrong type, or out of their range

for text in many '' ' 64' 0x40 -5 1e3 4294967297 99999999999999999999999 $'6\n4' $'\xff'; do
  row 2 "--seq-len '.*': expected an integer from 1 to" "${good[@]}" "--seq-len=$text"
done
for text in many '' nan inf 1e400 0x1p3 . 1,5 -1; do
  row 2 "--lr '.*': expected a number from 0 to 1e+30" "${good[@]}" "--lr=$text"
done
row 2 "--seq-len '111.*': expected an integer" "${good[@]}" --seq-len "$digits"
row 2 "--lr '111.*': expected a number" "${good[@]}" --lr "$digits"
row 2 '--seq-len: its value is missing' "${good[@]}" --seq-len
row 2 '--seq-len: its value is missing' "${good[@]}" --seq-len --lr 1
row 2 "--eps '0'" "${good[@]}" --eps 0
row 2 "--beta2 '1': .*below 1" "${good[@]}" --beta2 1
row 2 "--zero '4'" "${good[@]}" --zero 4
row 2 "--window '-1'" "${good[@]}" --window -1
row 2 "--batch '32769'" "${good[@]}" --batch 32769
row 2 "--steps '0'" "${good[@]}" --steps 0
row 2 "--seed '-1'" "${good[@]}" --seed -1
row 2 "--dtype 'f16': expected one of f32, bf16" "${good[@]}" --dtype f16
row 2 "--sparse 'dense': .*longformer" "${good[@]}" --sparse dense
row 2 "--pack 'maybe': expected true or false" "${good[@]}" --pack=maybe
row 2 "--no-pack 'true': expected no value" "${good[@]}" --no-pack=true
row 2 "--dry-run '1': expected no value" "${good[@]}" --dry-run=1
row 2 "--memory-limit '5TB': expected bytes" "${good[@]}" --memory-limit 5TB
row 2 "--memory-limit '99999999999GiB': expected bytes" "${good[@]}" --memory-limit 99999999999GiB
row 2 "--stash 'folder': .*'disk:' and a path" "${good[@]}" --stash folder
row 2 "--stash 'disk:': .*'disk:' and a path" "${good[@]}" --stash disk:
row 2 "--offload-optimizer 'folder': .*'disk:' and a path" "${good[@]}" --offload-optimizer folder
row 2 "--data 'text.txt': given before, as 'other.txt': one path is read" "${bare[@]}" --data other.txt --data text.txt
row 2 "--eval-data 'text.txt': given before, as 'text.txt'" "${good[@]}" --eval-data text.txt --eval-data=text.txt
row 2 "--data 'b': given before, as 'text.txt'" "${eval[@]}" --data b
row 2 "--data '': expected PATH, not empty" "${bare[@]}" --data ''
row 2 "--model '': expected NAME|FILE, not empty" "${good[@]}" --model ''
row 2 "--seq-len '0'" "${plan[@]}" --seq-len 0
row 2 "--seq-len 'many'" "${eval[@]}" --seq-len many
row 2 "--temperature '-1'" "${generate[@]}" --temperature -1
row 2 "--temperature 'nan'" "${generate[@]}" --temperature nan
row 2 "--top-p '0'" "${generate[@]}" --top-p 0
row 2 "--top-k '-1'" "${generate[@]}" --top-k -1
row 2 "--max-tokens '0'" "${generate[@]}" --max-tokens 0
row 2 "--seed '1.5'" "${generate[@]}" --seed 1.5
row 2 "--prompt '': expected TEXT, not empty" "${generate[@]}" --prompt ''
for list in 1,,2 1,a '1,' ',1' -1 0x1 99999999999; do
  row 2 '--prompt-tokens: number [0-9] of the list' generate --checkpoint run "--prompt-tokens=$list"
done
row 2 'token 1 of the prompt is 257' generate --checkpoint run --prompt-tokens 1,257
row 2 'give the prompt as numbers, --prompt-tokens' "${generate[@]}" --checkpoint words
row 2 "--head-dim 'many'" "${bench[@]}" --head-dim 64,many
row 2 "--head-dim ''" "${bench[@]}" --head-dim 64,,16
row 2 'more than 1000 combinations' "${bench[@]}" --head-dim "${long//q/,}"
row 2 '--trace .*: give no lists' bench step --dtype f32,bf16 --trace t.json
row 2 '--q-heads is 4.*--kv-heads, which is 3' "${bench[@]}" --q-heads 4 --kv-heads 3
row 2 'preset' bench step --model no-such-model
row 2 '--documents' prepare text.txt --out data --documents words
row 2 '--held-out' prepare text.txt --out data --held-out 1
row 2 '--shard-tokens' prepare text.txt --out data --shard-tokens 3g
row 2 '--out is missing' prepare text.txt

# --- texts: too long for a path, not UTF-8, or made to steer the terminal

for flag in data eval-data model out metrics trace rank-logs resume config set; do
  row 2 "--$flag 'qqq.*': has 100000 bytes: at most 4095" "${bare[@]}" --$flag "$long"
done
row 2 "--stash 'disk:qqq.*': has 100005 bytes" "${good[@]}" --stash "disk:$long"
row 2 "--checkpoint 'qqq.*': has 100000 bytes" generate --prompt a --checkpoint "$long"
row 2 "--prompt-file 'qqq.*': has 100000 bytes" generate --checkpoint run --prompt-file "$long"
row 0 '' "${generate[@]}" --prompt "${long::7000}" --max-tokens 1
row 0 '' "${generate[@]}" --prompt $'\xff\e' --max-tokens 1
row 3 'File name too long' "${bare[@]}" --data "${long::300}"
row 3 'File name too long' "${good[@]}" --out "${long::300}"
row 3 'File name too long' "${good[@]}" --metrics "${long::300}"
row 3 'File name too long' checkpoint verify "${long::300}"
row 2 "'qqq.*': has 100000 bytes: too long for a path" checkpoint verify "$long"
row 2 "'qqq.*': has 100000 bytes: too long for a path" report "$long"
row 2 "'qqq.*': has 100000 bytes: too long for a path" prepare "$long" --out data
row 2 "--data .*is not UTF-8" "${bare[@]}" --data $'\xff.txt'
row 2 "--out .*is not UTF-8" "${good[@]}" --out $'run\xe9'
row 3 "'x?\[31m?x': No such file" "${bare[@]}" --data $'x\e[31m\nx'
row 3 "'x?\[31m?x'" checkpoint show $'x\e[31m\nx'
row 3 "'x?\[31m?x'" report $'x\e[31m\nx'
row 3 "'x?\[31m?x'" prepare $'x\e[31m\nx' --out data-@

# --- configuration files: each in the place of a good one

# yaml CODE TEXT CONTENT
yaml() {
  mkdir $num_rows
  printf '%b' "$3" >$num_rows/bad.yaml
  row "$1" "$2" "${good[@]}" --config $num_rows/bad.yaml
}
yaml 2 "bad.yaml, line 2: 'optimizer.lrr': not a key.*did you mean optimizer.lr?" 'optimizer:\n  lrr: 1\n'
yaml 2 "bad.yaml, line 2: 'run.lr': belongs to section 'optimizer'" 'run:\n  lr: 1\n'
yaml 2 "bad.yaml, line 1: 'lr': belongs to section 'optimizer'" 'lr: 1\n'
yaml 2 "bad.yaml, line 1: 'optimzer': not a section.*did you mean optimizer?" 'optimzer: {lr: 1}\n'
yaml 2 "bad.yaml, line 1: 'measure': not a section" 'measure: {repeats: 1}\n'
yaml 2 "bad.yaml, line 2: run.seq_len: 'many'" 'run:\n  seq_len: many\n'
yaml 2 "bad.yaml, line 2: run.data: '': expected PATH" 'run:\n  data:\n'
yaml 2 "bad.yaml: .*SEQUENCE_START.*'lr' (line: 2" 'optimizer:\n  lr: [1, 2]\n'
yaml 2 "bad.yaml: .*MAPPING_START.*'lr' (line: 2" 'optimizer:\n  lr: {a: 1}\n'
yaml 2 "bad.yaml: .*already seen: lr" 'optimizer:\n  lr: 1\n  lr: 2\n'
yaml 2 "bad.yaml: .*already seen: optimizer" 'optimizer: {lr: 1}\noptimizer: {clip: 2}\n'
yaml 2 'bad.yaml: Expecting MAPPING' 'optimizer: 5\n'
yaml 2 'bad.yaml: Expecting MAPPING' '- a\n'
yaml 2 'bad.yaml, line 2: .*cannot start any token' 'optimizer:\n\tlr: 1\n'
yaml 2 "bad.yaml, line 5: .*unexpected end of" "run:\n  data: d\noptimizer:\n  lr: 'open\n"
yaml 2 'bad.yaml, line 1: control characters' '\001: 1\n'
yaml 2 'bad.yaml, line 1: .*UTF-8' '\377: 1\n'
yaml 2 'bad.yaml, line 2: ' "$(head -c 5000 /dev/zero | tr '\0' '[')\n"
yaml 2 "bad.yaml, line 1: 'a': not a section" 'a: &a [x, x]\nb: &b [*a, *a, *a]\nrun: {data: *b}\n'
yaml 3 "--config '[0-9]*/bad.yaml': has [0-9]* bytes: at most 1048576" "# $(head -c 1048576 /dev/zero | tr '\0' x)"
mkfifo pipe
row 3 "--config 'missing.yaml': cannot be opened: No such file" "${good[@]}" --config missing.yaml
row 3 "--config '.': is a folder" "${good[@]}" --config .
row 3 "--config 'pipe': is not a regular file" "${good[@]}" --config pipe
row 3 "--config '/dev/zero': is not a regular file" "${good[@]}" --config /dev/zero
row 3 "--config 'pipe': is not a regular file" "${plan[@]}" --config pipe
row 2 "--set 'lr': expected SECTION.KEY=VALUE" "${good[@]}" --set lr
row 2 "--set 'lr': belongs to section" "${good[@]}" --set lr=1
row 2 "--set 'run.lr': belongs to section 'optimizer'" "${good[@]}" --set run.lr=1
row 2 "--set optimizer.lr 'x': expected a number" "${good[@]}" --set optimizer.lr=x
row 2 "--set '.': not a section" "${good[@]}" --set .=1

# --- models

# model TEXT CONTENT: as a config.json
model() {
  mkdir $num_rows
  printf '%b' "$2" >$num_rows/bad.json
  row 2 "$1" "${good[@]}" --model $num_rows/bad.json
}
model "bad.json', line 1: .*expected near end of file" ''
model "bad.json', line 1: " '{"model_type": "llama", '
model "bad.json': \"model_type\" is missing; " '[]'
model "bad.json': \"model_type\" is \"mamba?\"" '{"model_type": "mamba\\u001b"}'
model "bad.json', line 1: " '{"model_type": "llama", "model_type": "gpt2"}'
model "bad.json', line 1: " '{"model_type": NaN}'
model "bad.json', line 1: " "$(head -c 5000 /dev/zero | tr '\0' '[')"
model '"hidden_size"' "$(sed 's/: 32/: -32/' tiny.json)"
model '"hidden_size"' "$(sed 's/: 32/: 1e99/' tiny.json)"
model '"hidden_size"' "$(sed 's/: 32/: "32"/' tiny.json)"
model 'bad.json' "$(sed 's/: 32/: 99999999999999999999/' tiny.json)"
model 'must all be given' "$(sed 's/"hidden_size": 32, //' tiny.json)"
model 'does not divide into 5 heads' "$(sed 's/"num_attention_heads": 4/"num_attention_heads": 5/' tiny.json)"
model 'not a multiple of 3 key/value heads' "$(sed 's/_value_heads": 2/_value_heads": 3/' tiny.json)"
model 'more than 2^44 parameters' "$(sed 's/"num_hidden_layers": 1,/"num_hidden_layers": 60000, "head_dim": 128,/; s/: 48/: 4194304/; s/: 32/: 1048576/' tiny.json)"
row 2 "'no-such-model' is neither a preset .*No such file" "${good[@]}" --model no-such-model
row 2 "'no-such-model' is neither a preset" "${plan[@]}" --model no-such-model
row 2 "'.' is neither a preset .*is a folder" "${good[@]}" --model .
row 2 "'pipe' is neither a preset .*is not a regular file" "${good[@]}" --model pipe
row 2 "'pipe' is neither a preset .*is not a regular file" "${plan[@]}" --model pipe
row 2 "'/dev/zero' is neither a preset .*is not a regular file" bench step --model /dev/zero
truncate -s 17M huge.json
row 2 "'huge.json' has 17825792 bytes; at most" "${good[@]}" --model huge.json

# --- what does not go together

row 2 '--data: missing' train --model tiny.json
row 2 '--data: missing' eval --checkpoint run
row 2 '--checkpoint: missing' eval --data text.txt
row 2 '--checkpoint: missing' generate --prompt a
row 2 'expected one of --prompt.*there are 0' generate --checkpoint run
row 2 'expected one of --prompt.*there are 2' "${generate[@]}" --prompt-file text.txt
row 2 '--zero is 2, but' "${eval[@]}" --zero 2
row 2 '--eval-every 1: needs --eval-data' "${good[@]}" --eval-every 1
row 2 '--save-every 1: needs --out' "${good[@]}" --save-every 1
row 2 '--keep-last 1: needs --out' "${good[@]}" --keep-last 1
row 2 '--keep-every 1: needs --keep-last' "${good[@]}" --out run --keep-every 1
row 2 '--resume auto: needs --out' "${good[@]}" --resume auto
row 2 '--nonfinite rollback: needs --out' "${good[@]}" --nonfinite rollback
row 2 '--nonfinite rollback: needs --out.* and --save-every' "${good[@]}" --nonfinite rollback --out unsaved
row 2 '--nonfinite rollback: needs --out.* and --save-every' "${good[@]}" --nonfinite rollback --out unsaved --resume auto
row 2 "--data: missing" "${good[@]:0:3}" --out -h
row 2 "--steps '10000000000': expected an integer" "${good[@]}" --steps 10000000000
row 2 "--doc-end 'none': .*or auto" "${good[@]}" --pack --doc-end none
row 2 '--doc-end is 32000' "${good[@]}" --pack --doc-end 32000
# What has no effect without another option, given or in a file, also where a checkpoint has the rest.
printf 'run: {doc_end: 5}\n' >ends.yaml
row 2 '--doc-end 5: needs --pack' "${good[@]}" --doc-end 5
row 2 '--doc-end 5: needs --pack' "${good[@]}" --config ends.yaml
row 2 '--doc-end 5: needs --pack' "${eval[@]}" --doc-end 5
row 2 '--doc-end 5: needs --pack' "${generate[@]}" --doc-end 5
row 2 '--sparse-block 16: needs --sparse' "${good[@]}" --sparse-block 16
row 2 '--sparse-local 2: needs --sparse' "${plan[@]}" --sparse-local 2
row 2 '--sparse-global 2: needs --sparse' "${bench[@]}" --sparse-global 2
row 2 '--sparse-random 2: needs --sparse' "${eval[@]}" --sparse-random 2
row 2 '--leaves 4: needs --reproducible' "${plan[@]}" --leaves 4
row 2 '--leaves 4: needs --reproducible' "${eval[@]}" --leaves 4
row 2 '--eval-windows 2: needs --eval-data' "${good[@]}" --eval-windows 2
row 2 '--batch is 5.*--dp 3.*multiple' "${plan[@]}" --dp 3 --batch 5

# --- impossible meshes

row 2 "--dp '0': expected an integer from 1" "${good[@]}" --dp 0
row 2 '7.*ranks.*change --dp or --sp' "${good[@]}" --sp 7
row 2 '7.*ranks' "${good[@]}" --dp 7
row 2 'ranks' "${good[@]}" --sp 2 --dp 2
row 2 'ranks' "${good[@]}" --sp 32768 --dp 32768
row 2 '7.*ranks' "${eval[@]}" --sp 7
row 2 '7.*ranks' "${generate[@]}" --sp 7
row 2 'heads.* (use --sp 4 or less, and --dp for the rest)' "${plan[@]}" --sp 5
row 2 '--reproducible .*--sp 3.*power of two' "${plan[@]}" --reproducible --sp 3
row 2 'power of two' "${plan[@]}" --reproducible --dp 3
row 2 '--leaves is 3' "${plan[@]}" --reproducible --leaves 3
row 2 '--leaves is 3' "${good[@]}" --reproducible --leaves 3

# --- sequences that do not fit: refused with bytes, and with what would

truncate -s 4G zeros.txt # takes no room
row 2 'needs [0-9]* bytes .* and may take 65536 (--memory-limit)' "${good[@]}" --memory-limit 64KiB
row 2 'and may take 3145728 .* It would fit with --seq-len [0-9]*$' "${bare[@]}" --any-bytes --data zeros.txt --seq-len 64k --memory-limit 3MiB
row 2 'needs [0-9]* bytes .* (its share of what is free on this machine.* It would fit' "${bare[@]}" --any-bytes --data zeros.txt --model llama-4m --seq-len 64m
row 2 'needs [0-9]* bytes .* (its share of what is free on this machine.* It would fit' "${bare[@]}" --any-bytes --data zeros.txt --model llama-4m --seq-len 64m --dry-run
row 2 '\(more than an MPI exchange can count: use more ranks\|and may take\)' "${bare[@]}" --any-bytes --data zeros.txt --seq-len 4096m
row 2 'needs [0-9]* bytes' "${plan[@]}" --memory-limit 64KiB
row 2 'needs [0-9]* bytes' "${eval[@]}" --memory-limit 64KiB
row 2 'needs [0-9]* bytes .* (its share of what is free' eval --checkpoint run --any-bytes --data zeros.txt --seq-len 128m
row 2 'needs [0-9]* bytes' "${generate[@]}" --memory-limit 64KiB
row 2 'needs [0-9]* bytes' "${generate[@]}" --max-tokens 4096m

# --- ranks that were started differently

two() { expect 2 "$1" "$mpirun" -n 1 "$program" "${good[@]}" "${@:2:2}" : -n 1 "$program" "${good[@]}" "${@:4}"; }
two 'rank 1' --lr 1e-3 --lr 5e-2
two 'rank 1' --sp 2 --sp 3
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
expect 2 'rank 1' "$mpirun" -n 1 "$program" bench exchange : -n 1 "$program" bench exchange --repeats 2
expect 2 'rank 1' "$mpirun" -n 1 "$program" bench exchange : -n 1 "$program" bench ceiling
expect 2 'an argument is missing' "$mpirun" -n 1 "$program" bench exchange : -n 1 "$program" bench
expect 2 'instruction set' "$mpirun" -n 2 env ULYSSES_ISA=none "$program" "${good[@]}"
expect 2 'heads' "$mpirun" -n 3 "$program" "${bench[@]}" --q-heads 1 --kv-heads 1
expect 2 'power of two' "$mpirun" -n 3 "$program" "${good[@]}" --reproducible
expect 2 'power of two' "$mpirun" -n 3 "$program" "${good[@]}" --reproducible --dp 3
expect 2 '--batch is 4.*multiple' "$mpirun" -n 3 "$program" "${good[@]}" --dp 3 --batch 4
expect 2 'mpirun' "$mpirun" -n 1 "$program" bench exchange
expect 2 'no-such-flag' "$mpirun" -n 2 "$program" doctor : -n 1 "$program" doctor --no-such-flag

finish
