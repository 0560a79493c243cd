#!/bin/bash
# Tests benchmarks: what they print and leave, on 1 and 2 ranks; whether they measure, never how
# fast.
#   cli_bench.sh ULYSSES MPIRUN
program=$1
mpirun=$2
# shellcheck source=tests/cli_common.sh
. "$(dirname "$(realpath "$0")")/cli_common.sh"
patience 0

# lines COUNT KEY...: that many lines of JSON, each with the keys of all benchmarks and these.
lines() {
  local count=$1 key line
  shift
  [ "$(wc -l <out.log)" -eq "$count" ] || fail "not $count lines: $(cat out.log)"
  while read -r line; do
    for key in bench what unit achieved ceiling ratio spread ceiling_spread seconds ranks config version "$@"; do
      [[ $line == "{"*"\"$key\": "*"}" ]] || fail "a line without '$key': $line"
    done
  done <out.log
  is_json <out.log || fail "no JSON: $(cat out.log)"
}

mkdir data
for ranks in 1 2; do
  run=("$mpirun" -n "$ranks" "$program" bench)
  expect 0 '' "${run[@]}" attention --seq-len 65 --head-dim 16,32 --dtype bf16 --repeats 1
  lines 4 flops seq_len head_dim q_heads kv_heads dtype mask threads repeats
  expect 0 '' "${run[@]}" attention --seq-len 33 --mask full --dtype bf16,f32 --q-heads 5 --kv-heads 1 --repeats 2
  lines 4 mask
  expect 0 '' "${run[@]}" step --model tiny.json --seq-len 64 --dtype bf16 --recompute none,full --repeats 1 --zero $ranks
  lines 2 flops tokens tokens_per_s num_params sent_bytes peak_bytes model seq_len dtype recompute zero reproducible batch
  TMPDIR=$folder/data expect 0 '' "${run[@]}" step --model tiny.json --seq-len 64 --dp "$ranks" --dtype bf16 --repeats 1 --trace steps-$ranks.json
  lines 1 dp
  [ -z "$(find data -name 'ulysses-bench-*')" ] || fail "data of steps was left"
  [ "$(tail -n 1 steps-$ranks.json)" = ']' ] || fail "a trace of steps that is not whole"
  expect 0 '' "${run[@]}" ceiling --array-bytes 64KiB --repeats 1 --threads $((3 - ranks))
  lines $((ranks == 1 ? 6 : 7)) array_bytes
done
expect 0 '' "$mpirun" -n 2 "$program" bench exchange --seq-len 64,65 --q-heads 5 --kv-heads 1 --repeats 2
lines 4 sent_bytes seq_len
# Where the CPU has no bf16, the ceiling is that of f32, in which the kernels multiply.
expect 0 '' env ONEDNN_MAX_CPU_ISA=AVX2 "$program" bench attention --seq-len 64 --dtype bf16 --repeats 1
[ "$(grep -c '"achieved": [0-9.e-]*, "ceiling": [0-9.e+]*, "ratio": [0-9]' out.log)" -eq 2 ] || fail "a ceiling without bf16"

finish
