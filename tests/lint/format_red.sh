#!/usr/bin/env bash
# format.sh must turn red: on one planted breach, and where it finds nothing to look at; --fix mends the breach.
set -euo pipefail
lint=$(realpath "$(dirname "$0")/format.sh")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$(dirname "$0")/../../.clang-format" "$work"
mkdir -p "$work"/{include,kernels,src,tests}

expect() {  # expect red|green WHAT [--fix]
  local got=red
  ! bash "$lint" "$work" "${@:3}" >"$work/log" 2>&1 || got=green
  [ "$got" = "$1" ] || { echo "FAIL: $2 is $got, not $1:"; cat "$work/log"; exit 1; }
}
expect red "a tree without sources"
echo 'int a = 1;' >"$work/src/a.cpp"
expect green "a formatted file"
echo 'int  b=1 ;' >"$work/kernels/b.cuh"
expect red "a file that is not formatted"
expect green "mending" --fix
expect green "the mended file"
echo "format_red: 5 cases"
