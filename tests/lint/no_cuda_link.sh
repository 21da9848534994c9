#!/usr/bin/env bash
# Fails when a program needs a CUDA library to start: the driver is opened at run time. usage: no_cuda_link.sh PROGRAM...
set -euo pipefail
needs_cuda() { readelf -d "$1" | grep -Ei 'NEEDED.*(libcuda|libcudart|libcublas|libnv)'; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Red first: a program that is linked to the driver.
echo 'int cuInit(unsigned flags) { return (int)flags; }' >"$folder/driver.c"
cc -shared -o "$folder/libcuda.so.1" -Wl,-soname,libcuda.so.1 "$folder/driver.c"
echo 'int cuInit(unsigned); int main(void) { return cuInit(0); }' >"$folder/linked.c"
cc -o "$folder/linked" "$folder/linked.c" -Wl,--no-as-needed "$folder/libcuda.so.1"
needs_cuda "$folder/linked" >/dev/null || { echo "a program linked to libcuda.so.1 passes"; exit 1; }
[ $# -gt 0 ] || { echo "nothing was checked"; exit 1; }
for program in "$@"; do
  if needs_cuda "$program"; then echo "$program needs a CUDA library to start"; exit 1; fi
done
echo "no_cuda_link: $# programs"
