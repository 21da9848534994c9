#!/usr/bin/env python3
"""n-gram speculation on a real model: the same tokens as without, greedy and drawn, in fewer passes.

usage: speculation.py APR_BINARY MODEL     exit status 1 when a token differs, or when no drafted token was accepted
"""
import json
import os
import subprocess
import sys

# A text in which much comes again: a file of functions that differ in a word.
PROMPT = "".join(f'def {name}(values):\n    """Returns the {name} of a list of numbers."""\n    result = {name}_of(values)\n'
                 f'    print("{name}:", result)\n    return result\n\n\n' for name in ("sum", "mean", "median", "variance"))
TOKENS = 96


def run(apr, model, more):
    command = [apr, "run", model, "--raw", PROMPT, "-n", str(TOKENS), "--json"] + more
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    apr, model = sys.argv[1:]
    wrong = 0
    for label, options in (("greedy", ["--temp", "0"]), ("drawn", ["--temp", "0.7", "--seed", "1"])):
        plain = run(apr, model, options)
        fast = run(apr, model, options + ["--speculate", "ngram"])
        differences = sum(a != b for a, b in zip(plain["tokens"], fast["tokens"]))
        differences += abs(len(plain["tokens"]) - len(fast["tokens"]))
        told, passes = fast["speculation"], (fast["timings"]["n_passes"], plain["timings"]["n_passes"])
        print(f"{os.path.basename(model)}: {label}, {len(plain['tokens'])} tokens, {told['accepted']} of {told['drafted']} drafted "
              f"tokens accepted, {passes[0]} passes instead of {passes[1]}, {differences} differences")
        wrong += differences != 0 or told["accepted"] == 0 or passes[0] >= passes[1]
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
