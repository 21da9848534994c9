#!/usr/bin/env bash
# The same models on a llama.cpp that was built with CUDA: peer.sh FOLDER, where FOLDER holds llama-bench.
#
# Uses the models that run.sh left in APR_GPU_OUT (the newest ./gpu-*). Shows llama.cpp at its best: flash attention, everything
# on the device, with and without its early launches and its graph optimisation. Run it in the same session as run.sh: only
# figures of one session are compared.
set -euo pipefail
[ $# = 1 ] && [ -x "$1/llama-bench" ] || { echo "usage: peer.sh FOLDER (with llama-bench, built with CUDA)" >&2; exit 2; }
out=${APR_GPU_OUT:-$(find . -maxdepth 1 -type d -name 'gpu-*' | sort | tail -1)}
[ -n "$out" ] && [ -d "$out" ] || { echo "no folder of run.sh; set APR_GPU_OUT" >&2; exit 3; }
found=0
for model in "$out"/*.gguf; do
  case $model in *tiny*) continue ;; esac
  [ -f "$model" ] || continue
  found=1
  for pdl in 1 0; do
    for graph in 0 1; do
      echo "== $(basename "$model"), GGML_CUDA_PDL=$pdl GGML_CUDA_GRAPH_OPT=$graph"
      GGML_CUDA_PDL=$pdl GGML_CUDA_GRAPH_OPT=$graph "$1/llama-bench" -m "$model" -p 512,2048,8192 -n 128 -d 0,4096,16384 -ngl 99 \
        -fa 1 -r 5 -o json >"$out/peer-$(basename "$model" .gguf)-pdl$pdl-graph$graph.json" || echo "failed with status $?"
    done
  done
done
[ "$found" = 1 ] || { echo "no model in $out" >&2; exit 5; }
