# What the soak tests share: a small model, its data, and how to start ranks. Source it with the path of the
# program in $ulysses; it makes a scratch folder, $work, and goes there.
set -euo pipefail

starter=${MPIRUN:-mpirun.openmpi}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1 OMP_WAIT_POLICY=passive

work=$(mktemp -d "${TMPDIR:-/tmp}/ulysses-soak.XXXXXX")
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$work"' EXIT
cd "$work"
mkdir tmp
export TMPDIR=$work/tmp # starters of Open MPI that share one trip over each other

cat >model.json <<'JSON'
{"model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
 "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 8, "vocab_size": 257,
 "max_position_embeddings": 4096, "tie_word_embeddings": true}
JSON
# Any text will do, as long as it is always the same.
awk 'BEGIN { for (i = 0; i < 20000; i++) printf "%c", 97 + (i * i + int(i / 7)) % 26 }' >text.txt

mode=(--reproducible)

# train RANKS THREADS FLAG...: a run of the small model, with the flags of its mode.
train() {
  local ranks=$1 threads=$2
  shift 2
  "$starter" -n "$ranks" "$ulysses" train --model model.json --data text.txt --seq-len 256 --batch 4 \
    --warmup 5 "${mode[@]}" --threads "$threads" --log-every 1000000 "$@"
}

# bits FOLDER: one checksum of a checkpoint's files, by content and name.
bits() { (cd "$1" && sha256sum config.json model.safetensors optimizer.safetensors trainer.json) | sha256sum | cut -c1-64; }

fail() {
  echo "$*" >&2
  exit 1
}
