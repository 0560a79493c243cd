#!/bin/bash
# Tests that the example with transformers prints what its page says. Exit code 77: what it needs is
# not installed.
#   bindings_transformers.sh PYTHON MPIRUN
set -euo pipefail
python=$1 mpirun=$2
root=$(cd "$(dirname "$0")/.." && pwd)
name=06_transformers_llama
export PYTHONPATH=$root/bindings/python

for module in torch transformers mpi4py; do
  "$python" -c "import $module" 2>/dev/null || { echo "skipped: $python has no $module" && exit 77; }
done
sed -n '/^```console/,/^```/p' "$root/examples/$name.md" | grep -v '^```\|^\$' |
  diff -u --label $name.md --label 'what it prints' - \
    <("$mpirun" -n 2 "$python" "$root/examples/$name.py")
