#!/usr/bin/env bash
# Everything that awaits a GPU, in one run of less than 8 minutes: no argument, no network, no root, no clock is locked.
#
# Needs the programs apr and gpu_bench beside it, in APR_GPU_BIN, or in build/release/bin (built with APR_PORTABLE=ON they need
# nothing but the C library and the driver). Leaves machine.txt, smi.csv, bench.json, bench.txt in APR_GPU_OUT (./gpu-DATE)
# and prints what to paste into docs/profiling.md. APR_GPU_DRY=1 tries every step in small without a GPU; it measures nothing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=${APR_GPU_BIN:-}
for folder in "$here" "$here/../../build/release/bin"; do
  [ -n "$bin" ] || { [ -x "$folder/gpu_bench" ] && [ -x "$folder/apr" ] && bin=$folder; }
done
[ -n "$bin" ] || { echo "no gpu_bench and apr beside this script; set APR_GPU_BIN" >&2; exit 3; }
out=${APR_GPU_OUT:-$PWD/gpu-$(date +%Y%m%d-%H%M%S)}
dry=${APR_GPU_DRY:-}
mkdir -p "$out"
start=$SECONDS
limit=470
left() { echo $((limit - (SECONDS - start))); }
step() { echo "== $* ($((SECONDS - start)) s)"; }

step machine
{
  date -u
  uname -a
  "$bin/apr" --version
  if [ -z "$dry" ]; then nvidia-smi -q -d CLOCK,POWER,PERFORMANCE,MEMORY,ECC 2>&1 || echo "no nvidia-smi"; fi
} >"$out/machine.txt"
smi=
if [ -z "$dry" ] && command -v nvidia-smi >/dev/null; then
  fields=timestamp,name,power.draw,clocks.sm,clocks.mem,temperature.gpu,utilization.gpu,clocks_throttle_reasons.active
  nvidia-smi --query-gpu=$fields --format=csv -lms 500 >"$out/smi.csv" 2>&1 &
  smi=$!
fi
finish() { if [ -n "$smi" ]; then kill "$smi" 2>/dev/null || true; fi; }
trap finish EXIT

step models
models=()
make_model() {  # NAME PRESET
  local seconds=$(($(left) - 200))  # what is made must be measured, too
  if [ "$seconds" -lt 5 ] || ! timeout "$seconds" "$bin/apr" synth "$out/$1.gguf" --preset "$2" --quant q4_k_m --force -q; then
    echo "$1: not made in time, so not measured"
    return 0
  fi
  models+=("$1=$out/$1.gguf")
}
make_model tiny tiny
make_model tiny-gemma3 tiny-gemma3
small=("${models[@]}")
if [ -z "$dry" ]; then
  models=()
  make_model llama-1b llama-3.2-1b
  make_model qwen-1.5b qwen2.5-1.5b
  make_model qwen-7b qwen2.5-7b
fi

step "small models: every op, tokens of the CPU"
flags=(--small)
[ -z "$dry" ] || flags=(--dry)
status=0
timeout "$(left)" "$bin/gpu_bench" "${flags[@]}" --json "$out/small.json" "${small[@]}" 2>&1 | tee "$out/small.txt" || status=$?

if [ -z "$dry" ] && command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck; do
    step "compute-sanitizer $tool"
    timeout 60 compute-sanitizer --tool "$tool" --error-exitcode 5 "$bin/gpu_bench" --small --json "$out/$tool.json" "${small[@]:0:1}" \
      >"$out/$tool.txt" 2>&1 || { echo "$tool: status $?, see $out/$tool.txt"; status=5; }
  done
elif [ -z "$dry" ]; then
  echo "compute-sanitizer is not here: its checks were not made"
fi

if [ -z "$dry" ]; then
  step "speeds and soak"
  timeout "$(left)" "$bin/gpu_bench" --json "$out/bench.json" --soak 100000 "${models[@]}" 2>&1 | tee "$out/bench.txt" || status=$?
  step "apr on the device"
  "$bin/apr" profile "$out/llama-1b.gguf" --device cuda --perf-grade --json >"$out/profile.json" || status=$?
  "$bin/apr" profile "$out/llama-1b.gguf" --device cuda --perf-grade 2>&1 | tee -a "$out/bench.txt" || status=$?
fi

step "done, status $status"
echo
echo "To paste:"
echo '```'
sed -n 1,2p "$out/machine.txt"
cat "$out/bench.txt" 2>/dev/null || cat "$out/small.txt"
if [ -s "$out/smi.csv" ]; then
  echo "power W, SM MHz, memory MHz, throttle: first, middle, last sample"
  n=$(wc -l <"$out/smi.csv")
  for line in 2 $((n / 2 + 1)) "$n"; do sed -n "${line}p" "$out/smi.csv" | cut -d, -f3-5,8; done
fi
echo '```'
exit "$status"
