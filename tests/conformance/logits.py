#!/usr/bin/env python3
"""Greedy continuations of eight prompts: apr beside llama.cpp.

usage: logits.py NEXT_TOKENS MODEL LLAMA_COMPLETION [exact|fast] [--peer-model FILE] [--llama-logits PROGRAM]

NEXT_TOKENS is the program of next_tokens.cpp. For each prompt 64 tokens are taken greedily by both; the table shows the first token
at which they part, the exact executor's logits of its two best there and, with PROGRAM (llama_logits.cpp), llama.cpp's
logits of the same two. A difference is a near tie where the exact two are closer than 0.05. A wider one is wrong when apr's token is
not exact's best; when it is, llama.cpp's rounding (activations in 8 bits) moved its choice, and the table says so.
--peer-model: what llama.cpp runs; default MODEL. The same weights as F32 (llama-quantize ... F32), with which it rounds no
activations, tell its rounding from a fault of either side; its cache is f32 then and flash attention off.
With it every wider difference is wrong. Exit status 1 when one is wrong, or when nothing was compared.
"""
import argparse
import array
import json
import os
import subprocess
import sys
import tempfile

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


def llama_text(program, model, prompt, unrounded):
    command = [program, "-m", model, "-p", prompt, "-n", str(N_TOKENS), "--temp", "0", "-no-cnv", "--no-display-prompt",
               "--no-escape", "-s", "1", "-t", "2", "-c", "2048"]
    if unrounded:
        command += ["-fa", "off", "-ctk", "f32", "-ctv", "f32"]
    done = subprocess.run(command, capture_output=True, check=True, stdin=subprocess.DEVNULL)
    return done.stdout


def llama_logits(program, model, ids, tokens):
    """llama.cpp's logits of `tokens` behind `ids`."""
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "ids"), "wb") as file:
            array.array("i", ids).tofile(file)
        out = os.path.join(folder, "logits")
        subprocess.run([program, model, os.path.join(folder, "ids"), out], check=True, capture_output=True)
        n_vocab = os.path.getsize(out) // 4 // len(ids)
        with open(out, "rb") as file:
            file.seek((len(ids) - 1) * n_vocab * 4)
            last = array.array("f", file.read())
    return [last[t] for t in tokens]


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


def shown(token):
    return "`" + repr(bytes(token["bytes"]).decode(errors="replace")).replace("|", "\\|") + "`"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("next_tokens")
    parser.add_argument("model")
    parser.add_argument("llama_completion")
    parser.add_argument("kind", nargs="?", choices=["exact", "fast"], default="exact")
    parser.add_argument("--peer-model")
    parser.add_argument("--llama-logits", metavar="PROGRAM")
    args = parser.parse_args()
    ours = subprocess.run([args.next_tokens, args.model, args.kind, str(N_TOKENS)], input="\n".join(PROMPTS) + "\n", text=True,
                          capture_output=True, check=True).stdout.splitlines()
    assert len(ours) == len(PROMPTS), "a prompt is missing"
    compared = bad = same = moved = 0
    print(f"| Prompt | First difference | Exact's two best | Gap | {args.kind} takes | llama.cpp's logits of the two | |\n"
          "|---|---|---|---:|---|---|---|")
    for prompt, line in zip(PROMPTS, ours):
        line = json.loads(line)
        steps = line["steps"]
        text = llama_text(args.llama_completion, args.peer_model or args.model, prompt, args.peer_model is not None)
        if not text.strip():
            sys.exit(f"llama.cpp generated nothing for {prompt!r}")
        compared += 1
        index = first_difference(steps, text)
        start = f"| {prompt[:32].strip()}… |"
        if index is None:
            same += 1
            print(f"{start} none in {len(steps)} | | | | | equal |")
            continue
        best, second = line.get("exact_steps", steps)[index]
        gap = best["logit"] - second["logit"]
        verdict = "near tie"
        if gap >= NEAR_TIE:
            ours_is_best = steps[index][0]["id"] == best["id"] and not args.peer_model
            verdict = "llama.cpp's rounding" if ours_is_best else "WRONG"
            moved, bad = moved + ours_is_best, bad + (not ours_is_best)
        peer = ""
        if args.llama_logits:
            ids = line["prompt_tokens"] + [step[0]["id"] for step in steps[:index]]
            a, b = llama_logits(args.llama_logits, args.peer_model or args.model, ids, [best["id"], second["id"]])
            peer = f"{a:.3f}, {b:.3f}"
        print(f"{start} token {index + 1} of {len(steps)} | {shown(best)} {best['logit']:.3f}, {shown(second)} {second['logit']:.3f} | "
              f"{gap:.3f} | {shown(steps[index][0])} | {peer} | {verdict} |")
    print(f"\n{compared} prompts compared ({args.kind}), {same} equal, {compared - same - bad - moved} differ at a near tie, "
          f"{moved} where llama.cpp leaves exact's best, {bad} wrong")
    sys.exit(1 if bad or compared == 0 else 0)


if __name__ == "__main__":
    main()
