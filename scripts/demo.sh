#!/bin/bash
# The demo behind `make demo`: trains a small Llama on real English text, in one long sequence
# that several ranks share, and shows what sequence parallelism did.
#
#   scripts/demo.sh              the text is perl's documentation, as Debian installs it
#   TEXT=PATH scripts/demo.sh    your own text: a file, or a folder of files
#
# Everything that it writes is in demo/. RANKS, STEPS, SEQ_LEN, MODEL in the environment change it.
set -euo pipefail
export LC_ALL=C

text=${TEXT:-}
[ -z "$text" ] || text=$(realpath -e -- "$text")
cd "$(dirname "$0")/.."

program=${ULYSSES:-build/release/ulysses}
model=${MODEL:-llama-1m}
ranks=${RANKS:-2}
steps=${STEPS:-200}
seq_len=${SEQ_LEN:-4096}
eval_every=$((steps < 10 ? 1 : steps / 10))
recompute=keep-attention
bytes_per_element=4 # of f32, the default --dtype
out=demo
default_text="perl's documentation"

fail() {
  echo "demo: $*" >&2
  exit 1
}

[ -x "$program" ] || fail "$program is not built: use \`make demo\`"

# ---------------------------------------------------------------- MPI

mpirun=${MPIRUN:-}
if [ -z "$mpirun" ]; then # the release build uses Open MPI
  mpirun=$(command -v mpirun.openmpi || command -v mpirun) || fail "no mpirun: is MPI installed?"
fi
launch=("$mpirun" -n "$ranks")
if "$mpirun" --version 2>&1 | grep -qi 'open.\?mpi\|open-rte\|openrte'; then
  launch+=(--bind-to none)
  # Open MPI starts no more ranks than cores, and does not run as root, unless told to.
  [ "$(nproc)" -ge "$ranks" ] || launch+=(--oversubscribe)
  if [ "$(id -u)" -eq 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  fi
fi

# ---------------------------------------------------------------- text

# All text, as one stream.
collect() {
  if [ -n "$text" ]; then
    find "$text" -type f -print0 | sort -z | xargs -0 cat --
  else
    dpkg -L perl-doc | grep '\.pod$' | sort | xargs cat --
  fi
}

if [ -z "$text" ] && ! dpkg -L perl-doc >/dev/null 2>&1; then
  fail "the default text is that of the Debian package perl-doc: install it, or use TEXT=PATH"
fi

rm -rf "$out/run"
mkdir -p "$out/text"
collect >"$out/all.txt"
total=$(wc -c <"$out/all.txt")
[ "$total" -ge $((40 * (seq_len + 1))) ] ||
  fail "$total bytes of text are too few: --seq-len $seq_len needs $((40 * (seq_len + 1)))"

# The last 3% are held out: the model never sees them. The cut is at the end of a line.
cut=$((total * 97 / 100))
line=$(tail -c +$((cut + 1)) "$out/all.txt" | head -n 1 | wc -c) || true # head leaves early
[ "$line" -gt $((total / 100)) ] || cut=$((cut + line))
head -c "$cut" "$out/all.txt" >"$out/text/train.txt"
tail -c +$((cut + 1)) "$out/all.txt" >"$out/text/eval.txt"
rm "$out/all.txt"
echo "demo: $cut bytes of text to train on, $((total - cut)) held out: ${text:-$default_text}"

# ---------------------------------------------------------------- training

shape=(--model "$model" --seq-len "$seq_len" --recompute "$recompute")
command=("${launch[@]}" "$program" train "${shape[@]}"
  --data "$out/text/train.txt" --eval-data "$out/text/eval.txt" --eval-windows 4 --eval-every "$eval_every"
  --steps "$steps" --lr 0.003 --warmup "$((steps / 10))"
  --out "$out/run" --log-every "$eval_every")
printf 'demo: %s\n\n' "${command[*]}"
"${command[@]}"

# ---------------------------------------------------------------- results

# number TEXT KEY [OBJECT]: prints the value of "KEY" in JSON text with one level of objects.
number() {
  local json=$1
  if [ $# -eq 3 ]; then
    json=${json#*\""$3"\":}
    json=${json%%\}*}
  fi
  [[ $json =~ \"$2\":\ *([-+0-9.eE]+) ]] || fail "no \"$2\" in: $1"
  printf '%s\n' "${BASH_REMATCH[1]}"
}

printf '\nThe loss in nats per byte. A model that knows nothing has ln 257 = 5.55. The training loss is the mean\n'
printf 'since the row before; the bar is that of text that the model never saw.\n\n'
awk '
  function value(key) {
    if (!match($0, "\"" key "\": *[-+0-9.eE]+")) return ""
    text = substr($0, RSTART, RLENGTH)
    sub(/^[^:]*: */, "", text)
    return text + 0
  }
  {
    sum += value("loss")
    count++
    eval_loss = value("eval_loss")
    if (NR > 1 && eval_loss == "") next
    bar = ""
    for (i = 0.5; i < 10 * eval_loss; i++) bar = bar "#"
    printf "  step %4d  training %.3f", NR, sum / count
    printf eval_loss == "" ? "\n" : "  held out %.3f  %s\n", eval_loss, bar
    sum = count = 0
  }' "$out/run/metrics.jsonl"

first=$(head -n 1 "$out/run/metrics.jsonl")
last=$(tail -n 1 "$out/run/metrics.jsonl")
plan_one=$("$program" plan "${shape[@]}" --sp 1 --json | tr -d '\n')
plan_all=$("$program" plan "${shape[@]}" --sp "$ranks" --json | tr -d '\n')

# The model's shape, from the configuration beside the checkpoint (Hugging Face's names).
config=$(find "$out/run" -name config.json | sort | tail -n 1)
[ -n "$config" ] || fail "no config.json in $out/run"
config=$(tr -d '\n' <"$config")
layers=$(number "$config" num_hidden_layers)
q_heads=$(number "$config" num_attention_heads)
kv_heads=$(number "$config" num_key_value_heads)
head_dim=$(number "$config" head_dim)
h=$((q_heads * head_dim))
k=$((kv_heads * head_dim))

cat <<END

What sequence parallelism did. Each of the $ranks ranks held $(number "$plan_all" tokens) of the $seq_len tokens. In each of
the $layers layers an exchange gave each rank all tokens of its heads, and a second one gave them back.

Bytes that attention sent per rank and step. Formula: (2h + 2k) N (P-1) / P^2 elements in a layer,
h = $h (query heads x head size), k = $k (key heads x head size), N = $seq_len, P = $ranks:

  direction         formula        plan       counted
END

# The formula is exact if P divides both heads and tokens.
exact=yes
[ $((q_heads % ranks + kv_heads % ranks + seq_len % ranks)) -eq 0 ] || exact=no
elements=$(((2 * h + 2 * k) * seq_len * (ranks - 1) * layers / (ranks * ranks)))
formula=$((elements * bytes_per_element))
wrong=no
for direction in forward backward; do
  planned=$(number "$plan_all" attention_$direction sent_bytes)
  counted=$(number "$last" attention_$direction sent_bytes)
  verdict=
  if [ $exact = yes ]; then
    if [ "$counted" = $formula ] && [ "$planned" = $formula ]; then
      verdict=equal
    else
      verdict=DIFFERENT wrong=yes
    fi
  fi
  printf '  %-10s %14s %11s   %11s   %s\n' $direction $formula "$planned" "$counted" $verdict
done

printf '\nMemory per rank in bytes, on one rank and on %s:\n\n  %-14s %12s %12s\n' "$ranks" arena \
  "1 rank" "$ranks ranks"
for arena in parameters gradients optimizer activations scratch; do
  printf '  %-14s %12s %12s\n' $arena "$(number "$plan_one" $arena arena_bytes)" \
    "$(number "$plan_all" $arena arena_bytes)"
done
printf '  %-14s %12s %12s\n' total "$(number "$plan_one" peak_bytes)" \
  "$(number "$plan_all" peak_bytes)"
printf '  %-14s %12s %12s\n' measured - "$(number "$last" peak_bytes)"

"$program" report "$out/run" --out "$out/report.html" >/dev/null

cat <<END

Activations and scratch memory are what grows with the sequence, and what the ranks share. Parameters,
gradients and optimizer states are the same on each rank.

Checkpoint:  $(find "$out/run" -maxdepth 1 -name 'step-*' | sort | tail -n 1)
Metrics:     $out/run/metrics.jsonl, one line of JSON per step
Report:      $out/report.html, their plots: open it in a browser
END

[ $wrong = no ] || fail "the exchanged bytes are not those of the formula"
awk -v first="$(number "$first" loss)" -v last="$(number "$last" loss)" \
  'BEGIN { exit !(last < 0.8 * first) }' || fail "the loss did not fall"
