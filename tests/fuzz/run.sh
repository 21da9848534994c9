#!/usr/bin/env bash
# Builds the fuzz targets and runs each for SECONDS (20), two at a time.
# usage: tests/fuzz/run.sh [SECONDS] [TARGET...]     one line a target: executions, coverage, outcome
# Ends with 1 when a target found something or executed nothing, and when the target with a fault on purpose found none.
# Inputs that make trouble are kept in build/fuzz/found; the growing corpus in build/fuzz/corpus. JOBS=N changes the two.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
seconds=${1:-20}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { echo "usage: tests/fuzz/run.sh [SECONDS] [TARGET...]" >&2; exit 2; }
shift || true
all=(gguf safetensors safetensors_index apr apr_metadata json tokenizer tokenizer_json template)
targets=("${@:-${all[@]}}")
[ $# -gt 0 ] || targets=("${all[@]}")
for target in "${targets[@]}"; do
  [ -f "tests/fuzz/${target}_fuzz.cpp" ] || { echo "no such target: $target (known: ${all[*]})" >&2; exit 2; }
done

build=build/fuzz
cmake --preset fuzz >/dev/null || exit 1
cmake --build "$build" --target fuzz_red $(printf 'fuzz_%s ' "${targets[@]}") >"$build/build.log" 2>&1 ||
  { tail -40 "$build/build.log" >&2; exit 1; }
mkdir -p "$build"/{corpus,found,logs}

dictionary() {
  case $1 in
    gguf | tokenizer) echo tests/fuzz/dict/gguf.dict ;;
    template) echo tests/fuzz/dict/template.dict ;;
    *) echo tests/fuzz/dict/json.dict ;;
  esac
}
# A leak, a crash, more than 10 s for one input, one block of more than 64 MB, or more than 1 GB in all, is a finding.
fuzz() {  # fuzz TARGET SECONDS
  mkdir -p "$build/corpus/$1" "tests/fuzz/corpus/$1"
  ASAN_OPTIONS=allocator_may_return_null=0 "$build/bin/fuzz_$1" "$build/corpus/$1" "tests/fuzz/corpus/$1" \
    -max_total_time="$2" -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=64 -max_len=16384 -print_final_stats=1 \
    -dict="$(dictionary "$1")" -artifact_prefix="$build/found/$1-" >"$build/logs/$1.log" 2>&1
  echo $? >"$build/logs/$1.status"
}

# The gate itself first: a target that crashes must be seen as one.
rm -rf "$build/corpus/red"
fuzz red 60
rmdir tests/fuzz/corpus/red 2>/dev/null
if [ "$(cat "$build/logs/red.status")" = 0 ]; then
  echo "the target with a fault on purpose found nothing: nothing below would count" >&2
  exit 1
fi
rm -f "$build"/found/red-*

running=0
for target in "${targets[@]}"; do
  rm -f "$build/logs/$target.status"
  fuzz "$target" "$seconds" &
  running=$((running + 1))
  if [ "$running" -ge "${JOBS:-2}" ]; then wait -n; running=$((running - 1)); fi
done
wait

failed=0 total=0
printf '%-20s %12s %10s %8s %8s  %s\n' target executions per_second coverage corpus outcome
for target in "${targets[@]}"; do
  log=$build/logs/$target.log
  stat() { sed -n "s/^stat::$1: *\([0-9]*\)$/\1/p" "$log" | tail -1; }
  executions=$(stat number_of_executed_units)
  last=$(grep -oE 'cov: [0-9]+ ft: [0-9]+ corp: [0-9]+' "$log" | tail -1)
  outcome=passed
  if [ "$(cat "$build/logs/$target.status" 2>/dev/null || echo none)" != 0 ]; then
    outcome="FOUND: $(grep -m1 -E 'SUMMARY|broken promise|ERROR: libFuzzer' "$log" | cut -c1-120)"
  elif [ "${executions:-0}" -le 0 ]; then
    outcome="FAILED: executed nothing"
  fi
  [ "$outcome" = passed ] || failed=1
  total=$((total + ${executions:-0}))
  printf '%-20s %12s %10s %8s %8s  %s\n' "$target" "${executions:-0}" "$(stat average_exec_per_sec)" \
    "$(sed -n 's/cov: \([0-9]*\).*/\1/p' <<<"$last")" "$(sed -n 's/.*corp: \([0-9]*\)/\1/p' <<<"$last")" "$outcome"
done
if [ "$failed" != 0 ]; then
  echo "the inputs are in $build/found: $(ls "$build/found" 2>/dev/null | tr '\n' ' ')" >&2
  exit 1
fi
echo "fuzz: ${#targets[@]} targets passed, $total executions"
