#!/usr/bin/env python3
"""The table of peer_llama.sh: medians, median ratio with its bootstrap interval, bandwidth, witness.

usage: peer_table.py MODEL THREADS ROUNDS FOLDER
FOLDER holds apr.N.json, peer.N.json; fast.json and exact.json, apr.first and peer.first (seconds, a round a line) if asked for.
"""
import json
import os
import random
import statistics
import sys


def interval(samples, draws=4000):
    """95 % bootstrap interval of the median."""
    rng = random.Random(1)
    medians = sorted(statistics.median(rng.choices(samples, k=len(samples))) for _ in range(draws))
    return medians[int(0.025 * draws)], medians[int(0.975 * draws) - 1]


def load(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return json.load(file)


def peer_rates(tests):
    """Tokens per second of prefill and decode, for flash attention off and on."""
    rates = {"prefill": {}, "decode": {}}
    for test in tests:
        phase = "prefill" if test["n_prompt"] > 0 else "decode"
        if phase == "prefill" and test.get("n_depth", 0) > 0:
            continue
        flash = test.get("flash_attn")
        rates[phase]["on" if flash in (1, True, "1", "on", "true") else "off"] = float(test["avg_ts"])
    return rates


def main():
    model, threads, rounds, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    ours = [load(folder, f"apr.{r}.json") for r in range(rounds)]
    theirs = [peer_rates(load(folder, f"peer.{r}.json")) for r in range(rounds)]
    read = statistics.median(o["roofs"]["read_gb_per_s"] for o in ours)
    witnesses = {o["witness"] for o in ours}
    agree = "not compared with the exact executor's"
    if os.path.exists(os.path.join(folder, "exact.json")):
        tokens = [load(folder, f"{kind}.json")["tokens"] for kind in ("fast", "exact")]
        first = next((i for i, (a, b) in enumerate(zip(*tokens)) if a != b), min(map(len, tokens)))
        agree = f"equal to the exact executor's: first {first} of {len(tokens[1])}"
    print(f"{os.path.basename(model)}  {ours[0]['executor']}, {threads} thread(s), {ours[0]['machine']}, {rounds} rounds, "
          f"read {read:.1f} GB/s")
    for phase in ("prefill", "decode"):
        if any(not t[phase] for t in theirs):
            print(f"  {phase:8} not measured by the peer at this depth")
            continue
        best = max(theirs[0][phase], key=lambda flash: statistics.median(t[phase][flash] for t in theirs))
        a = [o[phase]["tokens_per_s"] for o in ours]
        b = [t[phase][best] for t in theirs]
        ratios = [x / y for x, y in zip(a, b)]
        low, high = interval(ratios)
        line = (f"  {phase:8} apr {statistics.median(a):9.2f} tok/s   llama.cpp {statistics.median(b):9.2f} tok/s (flash attention {best})"
                f"   ratio {statistics.median(ratios):.2f} [{low:.2f}, {high:.2f}]")
        if phase == "decode":
            weights = sum(brick["bytes"] for brick in ours[0][phase]["bricks"])
            rate = weights * statistics.median(a) / 1e9
            line += f"   {rate:.1f} GB/s = {100 * rate / read:.0f} % of read"
        print(line)
    if os.path.exists(os.path.join(folder, "apr.first")):
        a, b = ([float(line) for line in open(os.path.join(folder, f"{name}.first"), encoding="utf-8")] for name in ("apr", "peer"))
        ratios = [y / x for x, y in zip(a, b)]
        low, high = interval(ratios)
        print(f"  first token  apr {statistics.median(a):.3f} s   llama.cpp {statistics.median(b):.3f} s   "
              f"ratio {statistics.median(ratios):.2f} [{low:.2f}, {high:.2f}]")
    print(f"  witness  the same logits in every round: {'yes' if len(witnesses) == 1 else 'NO'}; "
          f"greedy tokens {agree}")
    return 0 if len(witnesses) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
