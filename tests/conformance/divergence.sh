#!/usr/bin/env bash
# The fast executor (cache in f16 and in q8_0), llama.cpp and PyTorch beside the exact executor, over 2,000 tokens of text.txt.
# usage: divergence.sh BUILD MODEL LLAMA PYTHON     BUILD: apr's build folder; LLAMA: a folder with llama.cpp's source and
# build (static libraries); PYTHON has numpy, gguf, torch, transformers. Takes some minutes and 1.6 GB under TMPDIR.
# Exit status 1 when fast is worse than llama.cpp, or the perplexity of exact is more than 0.1 % off PyTorch's.
set -euo pipefail
if [ $# != 4 ]; then sed -n '2,5s/^# //p' "$0" >&2; exit 2; fi
build=$1 model=$2 llama=$3 python=$4
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --build "$build" --target text_logits >/dev/null
c++ -O1 -std=c++17 -I"$llama/source/include" -I"$llama/source/ggml/include" "$here/llama_logits.cpp" -o "$work/llama_logits" \
  "$llama/build/src/libllama.a" "$llama/build/ggml/src/libggml.a" "$llama/build/ggml/src/libggml-cpu.a" \
  "$llama/build/ggml/src/libggml-base.a" -fopenmp -ldl -lpthread
for kind in exact fast fast-q8_0; do
  "$build/tests/text_logits" "$model" $kind "$here/text.txt" 2000 "$work/ids" "$work/$kind.f32"
done
"$work/llama_logits" "$model" "$work/ids" "$work/llama.f32" 2>"$work/log" || { tail -5 "$work/log" >&2; exit 1; }
"$python" "$here/torch_logits.py" "$model" "$work/ids" "$work/torch.f32"
"$python" "$here/divergence.py" "$work/ids" "$work/exact.f32" fast="$work/fast.f32" fast-q8_0="$work/fast-q8_0.f32" llama.cpp="$work/llama.f32" \
  torch="$work/torch.f32" --no-worse fast llama.cpp --same-perplexity torch 0.1
