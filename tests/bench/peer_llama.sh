#!/usr/bin/env bash
# apr beside llama.cpp: the same files, the same machine, the same run, alternately (A B A B).
# usage: tests/bench/peer_llama.sh [options] MODEL.gguf...
#   --rounds N     pairs of runs of each case (5)
#   --threads "L"  thread counts ("1 2")
#   --prompt N     tokens of the prefill (512)
#   --generate N   tokens decoded one by one (64)
#   --depth N      tokens in the cache before them (0); above 0 only decoding is compared
#   --isa NAME     instruction set of apr (the best)
#   --first-token  also the time of a whole process from its start to one token behind a short prompt, page cache warm
#   --no-exact     without the tokens of the exact executor, which takes minutes for a large model
#   --flash LIST   flash attention of llama.cpp: off, on or both, of which the better counts ("off,on")
#   --peer FOLDER  programs of llama.cpp; default: $APR_PEER, else built in $XDG_CACHE_HOME/apr-peer, outside the tree
# Environment: APR (build/release/bin/apr); QUIET, a command put before every measured program, e.g. one that waits until the
# machine is idle. For every case it prints the medians, the median of the ratios of the rounds with its bootstrap interval,
# the weight bytes read a second beside the read bandwidth measured in the same run, and whether apr's fast and exact
# executors agree on greedy tokens.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
apr=${APR:-$root/build/release/bin/apr}
peer=${APR_PEER:-} first_token=0 kinds="fast exact" rounds=5 threads="1 2" prompt=512 generate=64 depth=0 flash=off,on isa=() models=()
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=$2; shift ;;
    --threads) threads=$2; shift ;;
    --prompt) prompt=$2; shift ;;
    --generate) generate=$2; shift ;;
    --depth) depth=$2; shift ;;
    --first-token) first_token=1 ;;
    --no-exact) kinds=fast ;;
    --isa) isa=(--isa "$2"); shift ;;
    --flash) flash=$2; shift ;;
    --peer) peer=$2; shift ;;
    -*) echo "unknown option $1" >&2; exit 2 ;;
    *) models+=("$1") ;;
  esac
  shift
done
[ ${#models[@]} -gt 0 ] || { sed -n 3,17p "$0" >&2; exit 2; }

# build_peer FOLDER: the newest source package of llama.cpp, for this CPU, outside the tree. Once, some minutes.
build_peer() {
  local top=$1 version=0.3.36 tmp
  [ -x "$top/build/bin/llama-bench" ] && [ -x "$top/build/bin/llama-completion" ] && return
  mkdir -p "$top"
  if [ ! -d "$top/source" ]; then
    tmp=$(mktemp -d "$top/fetch.XXXX")
    python3 -m pip download -q --no-deps --no-binary llama-cpp-python -d "$tmp" "llama-cpp-python==$version" >&2
    tar xzf "$tmp"/llama_cpp_python-*.tar.gz -C "$tmp"
    mv "$tmp"/llama_cpp_python-*/vendor/llama.cpp "$top/source"
    rm -rf "$tmp"
  fi
  cmake -S "$top/source" -B "$top/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DLLAMA_CURL=OFF \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_UI=OFF -DBUILD_SHARED_LIBS=OFF >"$top/cmake.log" 2>&1
  ninja -C "$top/build" llama-bench llama-completion >"$top/ninja.log" 2>&1
}
if [ -z "$peer" ]; then
  top=${XDG_CACHE_HOME:-$HOME/.cache}/apr-peer/llama.cpp
  build_peer "$top"
  peer=$top/build/bin
fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# timed FILE COMMAND...: appends the seconds that the command takes to FILE.
timed() {
  ${QUIET:-} python3 -c 'import subprocess, sys, time
begin = time.monotonic()
subprocess.run(sys.argv[2:], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(time.monotonic() - begin, file=open(sys.argv[1], "a"))' "$@"
}
ctx=$((depth + generate > prompt ? depth + generate : prompt))
for model in "${models[@]}"; do
  for t in $threads; do
    for ((r = 0; r < rounds; ++r)); do
      ${QUIET:-} "$apr" profile "$model" --json --threads "$t" "${isa[@]}" --prompt "$prompt" --prompt-passes 3 \
        --depth "$depth" --passes "$generate" --ctx "$ctx" >"$out/apr.$r.json"
      ${QUIET:-} "$peer/llama-bench" -m "$model" -t "$t" -p $((depth > 0 ? 0 : prompt)) -n "$generate" -d "$depth" -fa "$flash" \
        -r 1 -o json >"$out/peer.$r.json" 2>"$out/peer.log"
    done
    rm -f "$out"/{apr,peer}.first
    for ((r = 0; r < first_token * rounds; ++r)); do
      timed "$out/apr.first" "$apr" run "$model" --raw Hello -n 1 --temp 0 --ctx 512 --threads "$t" "${isa[@]}"
      timed "$out/peer.first" "$peer/llama-completion" -m "$model" -p Hello -n 1 --temp 0 -c 512 -t "$t" -no-cnv --no-warmup
    done
    rm -f "$out"/{fast,exact}.json
    for kind in $kinds; do
      flag=(); [ $kind = exact ] && flag=(--exact)
      "$apr" run "$model" --raw "The quick brown fox" -n 8 --temp 0 --threads "$t" "${isa[@]}" "${flag[@]}" --json >"$out/$kind.json"
    done
    python3 "$root/tests/bench/peer_table.py" "$model" "$t" "$rounds" "$out"
  done
done
