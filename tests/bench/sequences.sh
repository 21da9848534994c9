#!/usr/bin/env bash
# Tokens a second of 1, 2, 4 and 8 sequences decoded together, in turn (1 2 4 8, 1 2 4 8, ...), and how many times one sequence's that is.
# usage: tests/bench/sequences.sh [--rounds N] [--depth N] [--kv-type T] [--threads N] MODEL
# Environment: APR (build/release/bin/apr); QUIET, a command put before every measured program.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
apr=${APR:-$root/build/release/bin/apr}
rounds=5 depth=0 more=()
while [ $# -gt 1 ]; do
  case $1 in
    --rounds) rounds=$2 ;;
    --depth) depth=$2 ;;
    --kv-type | --threads) more+=("$1" "$2") ;;
    *) echo "unknown option $1" >&2; exit 2 ;;
  esac
  shift 2
done
[ $# = 1 ] || { sed -n 3,4p "$0" >&2; exit 2; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for ((r = 0; r < rounds; ++r)); do
  for n in 1 2 4 8; do
    ${QUIET:-} "$apr" profile "$1" --json --sequences $n --depth "$depth" --ctx $((depth + 32)) --prompt 32 --prompt-passes 1 \
      --passes 16 "${more[@]}" >"$out/$n.$r.json"
  done
done
python3 - "$out" "$rounds" <<'PY'
import json, statistics, sys

folder, rounds = sys.argv[1], int(sys.argv[2])
runs = {n: [json.load(open(f"{folder}/{n}.{r}.json")) for r in range(rounds)] for n in (1, 2, 4, 8)}
first = runs[1][0]
print(f"{first['executor']}, {first['threads']} thread(s), {first['machine']}, {rounds} rounds")
for n, documents in runs.items():
    rates = [d["decode"]["tokens_per_s"] for d in documents]
    ratios = [rate / one["decode"]["tokens_per_s"] for rate, one in zip(rates, runs[1])]
    read = statistics.median(d["roofs"]["read_gb_per_s"] for d in documents)
    print(f"  {n} sequence(s): {statistics.median(rates):8.1f} tok/s [{min(rates):.1f}, {max(rates):.1f}]   "
          f"{statistics.median(ratios):.2f} times one [{min(ratios):.2f}, {max(ratios):.2f}]   read roof {read:.1f} GB/s")
if len({d["witness"] for documents in runs.values() for d in documents}) != 1:
    sys.exit("the first sequence's logits differ between runs")
PY
