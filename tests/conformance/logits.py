#!/usr/bin/env python3
"""Greedy continuations of eight prompts: apr beside llama.cpp.

usage: logits.py NEXT_TOKENS MODEL LLAMA_COMPLETION [exact|fast]

NEXT_TOKENS is the program of next_tokens.cpp. For each prompt 64 tokens are taken greedily by both, and the first token
at which they part is reported with apr's two largest logits there. A difference is acceptable only where these two are
closer than 0.05: llama.cpp computes with 8-bit activations, so it may fall to either side of a near tie.
Exit status 1 when a difference is wider, or when nothing was compared.
"""
import json
import subprocess
import sys

PROMPTS = [
    "Once upon a time, in a small village by the sea,",
    "The capital of France is",
    "def fibonacci(n):",
    "Water boils at a lower temperature on a mountain because",
    "Dear Sir or Madam, I am writing to",
    "1, 2, 3, 4, 5,",
    "The three most important inventions of the nineteenth century were",
    "Q: What is the largest planet of the solar system?\\nA:",  # a backslash and an n: both sides take it as it is
]
N_TOKENS = 64
NEAR_TIE = 0.05


def llama_text(program, model, prompt):
    command = [program, "-m", model, "-p", prompt, "-n", str(N_TOKENS), "--temp", "0", "-no-cnv", "--no-display-prompt",
               "--no-escape", "-s", "1", "-t", "2", "-c", "2048"]
    done = subprocess.run(command, capture_output=True, check=True, stdin=subprocess.DEVNULL)
    return done.stdout


def first_difference(steps, text):
    """Index of the first step whose bytes do not continue `text`; None when one is a prefix of the other."""
    at = 0
    for index, step in enumerate(steps):
        if step[0]["end"]:
            return None if text[at:].strip() in (b"", b"[end of text]") else index
        piece = bytes(step[0]["bytes"])
        if text[at:at + len(piece)] != piece:
            return None if len(text) - at < len(piece) and piece.startswith(text[at:]) else index
        at += len(piece)
    return None


def main():
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    program, model, llama = sys.argv[1:4]
    kind = sys.argv[4] if len(sys.argv) == 5 else "exact"
    ours = subprocess.run([program, model, kind, str(N_TOKENS)], input="\n".join(PROMPTS) + "\n", text=True,
                          capture_output=True, check=True).stdout.splitlines()
    assert len(ours) == len(PROMPTS), "a prompt is missing"
    compared = bad = same = 0
    for prompt, line in zip(PROMPTS, ours):
        steps = json.loads(line)["steps"]
        text = llama_text(llama, model, prompt)
        if not text.strip():
            sys.exit(f"llama.cpp generated nothing for {prompt!r}")
        compared += 1
        index = first_difference(steps, text)
        if index is None:
            same += 1
            print(f"{prompt[:40]!r:45} {len(steps)} tokens equal")
            continue
        (best, second) = steps[index]
        gap = best["logit"] - second["logit"]
        verdict = "near tie" if gap < NEAR_TIE else "TOO FAR APART"
        bad += gap >= NEAR_TIE
        print(f"{prompt[:40]!r:45} first difference at token {index + 1} of {len(steps)}: {bytes(best['bytes'])!r} "
              f"{best['logit']:.4f}, {bytes(second['bytes'])!r} {second['logit']:.4f}, gap {gap:.4f}: {verdict}")
    print(f"{compared} prompts compared ({kind}), {same} equal, {compared - same - bad} differ at a near tie, {bad} wrong")
    sys.exit(1 if bad or compared == 0 else 0)


if __name__ == "__main__":
    main()
