#!/usr/bin/env python3
"""How far the logits of others are from the exact ones, over the positions of one text.

usage: divergence.py IDS EXACT.f32 NAME=LOGITS.f32 ... [--no-worse A B] [--same-perplexity NAME PERCENT]

Files hold float32 rows, one a position, as text_logits, llama_logits and torch_logits.py write them. For each NAME: KL(exact
|| NAME) in nats, mean, median, 99th percentile and largest, the share of positions whose most probable token is the same,
and the perplexity of the text. All in double. --no-worse: fails when A's mean KL is above B's, or A misses exact's most
probable token more often than B by more than chance: among the positions where only one of them misses, two standard errors
(McNemar). --same-perplexity: fails when the perplexity of NAME and of exact differ by more. Comparing nothing fails.
"""
import argparse
import sys

import numpy as np


def log_softmax(logits):
    logits = logits.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def rows(path, n):
    data = np.memmap(path, dtype=np.float32, mode="r")
    if n == 0 or data.size == 0 or data.size % n:
        sys.exit(f"{path}: {data.size} numbers are no {n} rows")
    return data.reshape(n, -1)


def compare(ids, exact, other):
    """Rows: KL; same most probable token; negative log likelihood of the next token by both."""
    kl, same, nll, nll_exact = [], [], [], []
    for begin in range(0, len(ids), 64):
        p, q = log_softmax(exact[begin:begin + 64]), log_softmax(other[begin:begin + 64])
        kl.append((np.exp(p) * (p - q)).sum(axis=1))
        same.append(p.argmax(axis=1) == q.argmax(axis=1))
        nxt = ids[begin + 1:begin + 65]
        at = np.arange(len(nxt))
        nll_exact.append(-p[at, nxt])
        nll.append(-q[at, nxt])
    return tuple(map(np.concatenate, (kl, same, nll, nll_exact)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ids")
    parser.add_argument("exact")
    parser.add_argument("others", nargs="+", metavar="NAME=LOGITS")
    parser.add_argument("--no-worse", nargs=2, metavar=("A", "B"))
    parser.add_argument("--same-perplexity", nargs=2, metavar=("NAME", "PERCENT"))
    args = parser.parse_args()
    ids = np.fromfile(args.ids, dtype=np.int32)
    exact = rows(args.exact, len(ids))
    found, bad = {}, []
    print(f"{len(ids)} positions, {exact.shape[1]} logits each")
    print("| | mean KL | median KL | 99 % KL | max KL | same top token | perplexity |\n|---|---:|---:|---:|---:|---:|---:|")
    for other in args.others:
        name, path = other.split("=", 1)
        logits = rows(path, len(ids))
        if logits.shape != exact.shape:
            sys.exit(f"{path}: {logits.shape[1]} logits a position, exact has {exact.shape[1]}")
        kl, same, nll, nll_exact = compare(ids, exact, logits)
        if not np.isfinite(kl).all():
            bad.append(f"{name}: a divergence is not finite")
        if not found:
            print(f"| exact | | | | | | {np.exp(nll_exact.mean()):.4f} |")
        found[name] = dict(kl=kl.mean(), same=same, ppl=np.exp(nll.mean()), exact=np.exp(nll_exact.mean()))
        print(f"| {name} | {kl.mean():.3e} | {np.median(kl):.3e} | {np.quantile(kl, 0.99):.3e} | {kl.max():.3e} | "
              f"{100 * same.mean():.2f} % | {found[name]['ppl']:.4f} |")
    if args.no_worse:
        a, b = (found[name] for name in args.no_worse)
        only_a, only_b = (~a["same"] & b["same"]).sum(), (a["same"] & ~b["same"]).sum()
        errors = (int(only_a) - int(only_b)) / max(1.0, float(only_a + only_b)) ** 0.5
        print(f"mean KL of {args.no_worse[0]} / {args.no_worse[1]}: {a['kl'] / b['kl']:.3f}; other top token than exact: "
              f"{only_a} positions only {args.no_worse[0]}, {only_b} only {args.no_worse[1]} ({errors:+.1f} standard errors)")
        if not (a["kl"] <= b["kl"] and errors <= 2):
            bad.append(f"{args.no_worse[0]} is worse than {args.no_worse[1]}")
    if args.same_perplexity:
        name, percent = args.same_perplexity
        apart = 100 * abs(found[name]["ppl"] / found[name]["exact"] - 1)
        print(f"perplexity of {name} and exact differ by {apart:.5f} %")
        if not apart <= float(percent):
            bad.append(f"that is more than {percent} %")
    for line in bad:
        print("FAILED: " + line)
    sys.exit(1 if bad or not found else 0)


if __name__ == "__main__":
    main()
