#!/usr/bin/env bash
# ptxas_report.py turns red: a kernel over its registers, one that spills, one that keeps an array in local memory, one
# that is not there. A plain one passes.
set -euo pipefail
root=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/k.cu" <<'CU'
extern "C" __global__ void plain(float* p) { p[threadIdx.x] += 1; }
extern "C" __global__ void indexed(float* p, int n) {
  float own[64];
  for (int i = 0; i < 64; ++i) own[i] = p[i * n];
  for (int i = 0; i < n; ++i) own[(i * n) & 63] += own[i & 63];
  for (int i = 0; i < 64; ++i) p[i] = own[i];
}
extern "C" __global__ void __launch_bounds__(1024, 2) crowded(float* p) {
  float own[96];
#pragma unroll
  for (int i = 0; i < 96; ++i) own[i] = p[i * 1024 + threadIdx.x];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 96; ++i) p[(95 - i) * 1024 + threadIdx.x] = own[i] * own[(i * 7 + 3) % 96];
}
CU
run() { python3 "$root/tests/lint/ptxas_report.py" "$root" --source "$folder/k.cu" --archs 90 --kernel "$1" --registers "$2" 2>&1; }
run plain 32 >/dev/null || { echo "a plain kernel does not pass"; run plain 32; exit 1; }
expect() {
  if text=$(run "$1" "$2"); then echo "$1 with $2 registers passes: $text"; exit 1; fi
  grep -q "$3" <<<"$text" || { echo "$1: no '$3' in: $text"; exit 1; }
}
expect plain 2 "at most 2 are allowed"
expect crowded 255 "bytes of spills"
expect indexed 255 "bytes of stack"
expect absent 255 "reports nothing"
echo "ptxas_report.py: 4 of 4 red"
