#!/usr/bin/env bash
# The lint must turn red: each planted breach alone makes layers.py fail and name the file; an empty tree fails, too.
set -euo pipefail
lint=$(dirname "$0")/layers.py
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

expect() {  # expect STATUS TEXT: the lint's status and a text that its output must hold
  local status=0 output
  output=$(python3 "$lint" "$work/tree") || status=$?
  if [ "$status" != "$1" ] || ! grep -qF "$2" <<<"$output"; then
    echo "FAIL: wanted status $1 and '$2', got status $status:"; echo "$output"; failures=$((failures + 1))
  fi
}
plant() {  # plant PATH LINE
  rm -rf "$work/tree"; mkdir -p "$work/tree/src/core" "$(dirname "$work/tree/$1")"
  echo '#include "apr/core/error.h"' >"$work/tree/src/core/good.cpp"
  echo "$2" >"$work/tree/$1"
}

plant src/format/gguf.cpp '#include "apr/core/bytes.h"';            expect 0 "0 breaches"
plant src/core/file.cpp '#include "apr/format/value.h"';            expect 1 "src/core/file.cpp:1: core may not include format"
plant include/apr/kernels/x.h '#include "apr/format/value.h"';      expect 1 "kernels may not include format"
plant src/inspect/hex.cpp '#  include "src/format/json.h"';         expect 1 "private header of another layer"
plant src/engine/session.cpp '#include <cuda_runtime.h>';           expect 1 "CUDA header outside"
plant src/engine/cuda_executor.cpp '#include <cuda_runtime.h>';     expect 0 "0 breaches"
plant src/inspect/hex.cpp '#include <Eigen/Dense>';                 expect 1 "Eigen outside diag"
plant src/diag/pca.cpp '#include <Eigen/Dense>';                    expect 0 "0 breaches"
plant kernels/cpu/quant/q4_k.inl '#include <vector>';               expect 1 "kernels/cpu includes only"
plant src/newlayer/a.cpp '#include "apr/core/error.h"';             expect 1 "not in the table"
rm -rf "$work/tree"; mkdir "$work/tree";                            expect 1 "nothing was checked"

[ "$failures" = 0 ] && echo "layers_red: 11 cases as expected"
exit "$failures"
