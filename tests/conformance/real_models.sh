#!/bin/sh
# What apr lists of real models, held against the Python packages gguf and safetensors; speculation on those that run.
#   real_models.sh APR_BINARY MODELS_FOLDER [PYTHON]
# MODELS_FOLDER must hold at least one .gguf and one .safetensors, at any depth. A missing one is a failure, not a skip.
set -eu
if [ $# -lt 2 ]; then
  sed -n '2,4p' "$0" >&2
  exit 2
fi
apr=$1
models=$2
python=${3:-python3}
here=$(dirname "$0")
"$python" -c 'import gguf, safetensors' || {
  echo "real_models: $python lacks the packages gguf and safetensors" >&2
  exit 1
}
for kind in gguf safetensors; do
  found=$(find "$models" -name "*.$kind" | sort)
  if [ -z "$found" ]; then
    echo "real_models: no .$kind file in $models: nothing to compare" >&2
    exit 1
  fi
  echo "$found" | while IFS= read -r file; do
    "$python" "$here/compare_listing.py" "$apr" "$file" || exit 1
    [ $kind = safetensors ] || "$python" "$here/speculation.py" "$apr" "$file" || exit 1
  done
done
