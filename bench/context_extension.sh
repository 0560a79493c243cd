#!/bin/bash
# Extends the context of a small model eightfold, with YaRN and without it, and compares the losses by position: a Llama
# of 1M parameters learns bytes of text in sequences of 2,048, and then goes on for 100 steps in sequences of 16,384.
#
#   bench/context_extension.sh [PROGRAM [FOLDER]]    PROGRAM=build/release/ulysses; FOLDER keeps the runs
#   TEXT=FILE STEPS=1200 MORE=100 bench/context_extension.sh    the text is perl's documentation, unless TEXT is given
set -euo pipefail
export LC_ALL=C
program=$(realpath "${1:-build/release/ulysses}")
folder=${2:-$(mktemp -d)}
steps=${STEPS:-1200} more=${MORE:-100}
[ -x "$program" ] || { echo "context_extension.sh: '$program' is not built: use make build" >&2; exit 2; }
text=${TEXT:+$(realpath -e -- "$TEXT")}
mkdir -p "$folder"
cd "$folder"

if [ -n "$text" ]; then
  cat "$text" >all.txt
else
  dpkg -L perl-doc | grep '\.pod$' | sort | xargs cat -- >all.txt
fi
held_out=400000
[ "$(wc -c <all.txt)" -gt $((4 * held_out)) ] || { echo "context_extension.sh: the text is too short" >&2; exit 2; }
head -c -$held_out all.txt >train.txt
tail -c $held_out all.txt >held_out.txt

cat >small.json <<'JSON'
{"model_type": "llama", "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4,
 "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 257,
 "max_position_embeddings": 2048, "rope_theta": 10000.0, "tie_word_embeddings": true}
JSON

# train OUT FLAG...: a run that goes on if it was stopped.
train() {
  local out=$1
  shift
  "$program" train --data train.txt --out "$out" --resume auto --save-every 100 --progress plain "$@" >>"$out.log" 2>&1 ||
    { tail -n 5 "$out.log" >&2; exit 1; }
}

# losses NAME CHECKPOINT FLAG...: one line of losses of sequences of 16,384, by position.
losses() {
  local name=$1 checkpoint=$2
  shift 2
  "$program" eval --checkpoint "$checkpoint" --data held_out.txt --seq-len 16384 --any-bytes --json "$@" 2>/dev/null |
    perl -MJSON::PP -e '
      my ($name) = @ARGV;
      my ($sum, $tokens) = ([0, 0, 0, 0], [0, 0, 0, 0]);
      for my $bin (@{decode_json(<STDIN>)->{by_position}}) {
        my ($begin, $end, $count, $loss) = @$bin;
        my $i = $end <= 2048 ? 0 : $end <= 4096 ? 1 : $end <= 8192 ? 2 : 3;
        $sum->[$i] += $count * $loss;
        $tokens->[$i] += $count;
      }
      printf "%-34s", $name;
      printf "  %7.4f", $sum->[$_] / $tokens->[$_] for 0 .. 3;
      print "\n";' "$name"
}

longer=(--seq-len 16384 --steps "$more" --lr 5e-4 --warmup 10 --dtype bf16 --any-bytes)
train trained --model small.json --seq-len 2048 --batch 2 --steps "$steps" --lr 2e-3 --warmup 50 --any-bytes
train plain --init trained "${longer[@]}"
train yarn --init trained --rope-scaling yarn --rope-factor 8 "${longer[@]}"

printf '%-34s  %7s  %7s  %7s  %7s\n' 'mean loss at positions' '0-2k' '2k-4k' '4k-8k' '8k-16k'
losses "trained on 2,048 tokens" trained
losses "the same, with yarn" trained --rope-scaling yarn --rope-factor 8
losses "$more steps of 16,384 tokens" plain
losses "$more steps of 16,384, with yarn" yarn
