#!/usr/bin/env bash
# isa_objects.py must turn red: each planted breach alone is found, a clean object passes, no object at all is an error.
# Usage: isa_objects_red.sh CXX
set -euo pipefail
cxx=$1
lint=$(dirname "$0")/isa_objects.py
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0 cases=0
table='namespace apr::kernels { extern const int table_x; extern const int table_x = 1; }'

expect() {  # expect STATUS TEXT SOURCE [FILE]
  local status=0 output
  printf '%s\n' "$3" >"$work/a.cpp"
  "$cxx" -std=c++20 -O0 -c "$work/a.cpp" -o "$work/${4:-isa_x.o}"
  output=$(python3 "$lint" "$work/${4:-isa_x.o}") || status=$?
  cases=$((cases + 1))
  if [ "$status" != "$1" ] || ! grep -qF "$2" <<<"$output"; then
    echo "FAIL: wanted status $1 and '$2', got status $status:"; echo "$output"; failures=$((failures + 1))
  fi
}

expect 0 "0 breaches"                    "$table static int f() { return 1; } [[gnu::used]] static int g() { return f(); }"
expect 1 "weak or unique symbol _Z1fv"   "$table inline int f() { return 1; } [[gnu::used]] static int g() { return f(); }"
expect 1 "weak or unique symbol _Z1tIiE" "$table template <class T> T t() { return 1; } [[gnu::used]] static int g() { return t<int>(); }"
expect 1 "weak or unique symbol"         "$table struct S { static inline int v = 3; }; [[gnu::used]] static int* g() { return &S::v; }"
expect 1 "external symbol _Z1fv"        "$table int f() { return 1; }"
expect 1 "needs the C++ symbol _Z1hv"   "$table int h(); [[gnu::used]] static int g() { return h(); }"
expect 1 "does not define"              "static int f() { return 1; }"
expect 1 "does not define"              "$table" isa_y.o
expect 1 "not named isa_NAME"           "$table" other.o
status=0; output=$(python3 "$lint") || status=$?; cases=$((cases + 1))
[ "$status" = 2 ] || { echo "FAIL: no object at all gave status $status"; failures=$((failures + 1)); }

[ "$failures" = 0 ] && echo "isa_objects_red: $cases cases as expected"
exit "$failures"
