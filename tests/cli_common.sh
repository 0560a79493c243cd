# What the tests of the program share: a scratch folder with small models and data, and `expect`. Source it with the
# path of the program in $program and MPI's starter in $mpirun.
set -uo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
failed=0

head -c 3000 /dev/zero | tr '\0' 'x' >text.txt
cat >tiny.json <<'JSON'
{"model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
 "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 257, "max_position_embeddings": 4096}
JSON
good=(train --model tiny.json --data text.txt --seq-len 64 --steps 2 --no-measure-peak)

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

fail() {
  echo "FAILED: $*"
  failed=1
}

# Seconds between Open MPI's TERM and KILL to the ranks that are left when one has failed: it always waits that long.
# Ranks of `train` fail together, after rank 0 has spoken; those of other commands each alone, so rank 0 needs time.
patience() { export OMPI_MCA_odls_base_sigkill_timeout=$1; }

# Each rank leaves its process id in pid.RANK.
cat >rank.sh <<'SH'
#!/bin/bash
echo $$ >"pid.${OMPI_COMM_WORLD_RANK:-$PMI_RANK}"
exec "$@"
SH
chmod +x rank.sh

finish() {
  [ $failed -eq 0 ] && echo "all as expected"
  exit $failed
}
