#!/usr/bin/env bash
# Every C++ and CUDA source stands as .clang-format has it. To mend: tests/lint/format.sh ROOT --fix
# Usage: format.sh ROOT [--fix]; exit 1: a file differs, or no file was found
set -euo pipefail
cd "$1"
mode=(--dry-run --Werror)
[ "${2:-}" != --fix ] || mode=(-i)
mapfile -t files < <(find include kernels src tests -regex '.*\.\(h\|cpp\|inl\|cu\|cuh\)' | LC_ALL=C sort)
[ ${#files[@]} -gt 0 ] || { echo "format: no file found" >&2; exit 1; }
printf '%s\0' "${files[@]}" | xargs -0 -n 64 -P "$(nproc)" clang-format-14 "${mode[@]}"
echo "format: ${#files[@]} files"
