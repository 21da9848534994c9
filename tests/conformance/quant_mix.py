#!/usr/bin/env python3
"""Compares the quantised models of `apr synth` with what llama-quantize makes of the f16 ones.

For each preset and mix: every tensor's name, place, shape and type, every metadata key, its place, type and value.
    quant_mix.py --apr build/bin/apr --llama-quantize .../llama-quantize --work /tmp/mix [PRESET...]
    quant_mix.py ... --write-golden     writes tests/golden/quant_mix.txt, which the unit tests hold
Needs gguf-py (pip install gguf) and llama.cpp's llama-quantize. Exit status 1 on any difference.
"""
import argparse
import collections
import pathlib
import subprocess
import sys

from gguf import GGUFReader

PRESETS = ["tiny", "tiny-qwen2", "tiny-qwen3", "tiny-gemma3", "gemma-3-270m", "qwen2.5-0.5b"]
QUANTS = ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m", "q6_k", "f16", "bf16", "f32"]
GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "quant_mix.txt"


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"failed ({done.returncode}): {' '.join(map(str, command))}\n{done.stdout[-500:]}{done.stderr[-2000:]}")


def read(path):
    """(tensors, metadata) of a GGUF: lists of comparable tuples in file order."""
    reader = GGUFReader(path)
    tensors = [(t.name, t.tensor_type.name, tuple(int(n) for n in t.shape)) for t in reader.tensors]
    metadata = [(k, tuple(f.types), f.contents()) for k, f in reader.fields.items() if not k.startswith("GGUF.")]
    return tensors, metadata


def differences(ours, theirs, what):
    lines = [f"{what} {i}: apr {str(a)[:150]} | llama.cpp {str(b)[:150]}" for i, (a, b) in enumerate(zip(ours, theirs)) if a != b]
    if len(ours) != len(theirs):
        lines.append(f"{what}: apr has {len(ours)}, llama.cpp {len(theirs)}")
    return lines


def golden_lines(preset, quant, tensors):
    """One line per matrix role: its types by layer, run-length encoded."""
    by_role = collections.defaultdict(list)
    for name, type_name, shape in tensors:
        if len(shape) == 2:
            layer = int(name.split(".")[1]) if name.startswith("blk.") else -1
            role = name.split(".", 2)[2] if layer >= 0 else name
            by_role[role].append((layer, type_name))
    for role, entries in sorted(by_role.items()):
        runs = []
        for _, type_name in sorted(entries):
            if runs and runs[-1][0] == type_name:
                runs[-1][1] += 1
            else:
                runs.append([type_name, 1])
        yield f"{preset} {quant} {role} " + " ".join(f"{t}*{n}" for t, n in runs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apr", required=True)
    parser.add_argument("--llama-quantize", required=True)
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--write-golden", action="store_true")
    parser.add_argument("presets", nargs="*", default=[])
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    n_tensors = n_bad = 0
    golden = []
    for preset in args.presets or PRESETS:
        source, ours, theirs = (args.work / f"{preset}-{part}.gguf" for part in ("source", "apr", "llama"))
        run(args.apr, "synth", source, "--preset", preset, "--quant", "f16", "--force")
        for quant in QUANTS:
            run(args.apr, "synth", ours, "--preset", preset, "--quant", quant, "--force")
            run(args.llama_quantize, source, theirs, quant)
            (our_tensors, our_metadata), (their_tensors, their_metadata) = read(ours), read(theirs)
            if quant in ("f16", "bf16", "f32"):  # ours stand in the converter's order, llama-quantize sorts
                our_tensors, their_tensors = sorted(our_tensors), sorted(their_tensors)
                our_metadata, their_metadata = sorted(our_metadata, key=str), sorted(their_metadata, key=str)
            bad = differences(our_tensors, their_tensors, "tensor") + differences(our_metadata, their_metadata, "key")
            counts = collections.Counter(type_name for _, type_name, _ in their_tensors)
            print(f"{preset} {quant}: {len(their_tensors)} tensors, {len(their_metadata)} keys, {dict(counts)}:",
                  "equal" if not bad else f"{len(bad)} DIFFERENCES")
            print("".join(f"    {line}\n" for line in bad[:20]), end="")
            golden += golden_lines(preset, quant, their_tensors)
            n_tensors += len(their_tensors)
            n_bad += len(bad)
        for path in (source, ours, theirs):
            path.unlink()
    print(f"{n_tensors} tensors compared, {n_bad} differences")
    if n_tensors == 0:
        sys.exit("nothing was compared")
    if args.write_golden:
        GOLDEN.write_text("# Types that llama-quantize gives each matrix, by layer: PRESET QUANT ROLE TYPE*COUNT...\n"
                          "# Made by tests/conformance/quant_mix.py --write-golden.\n" + "\n".join(golden) + "\n")
    sys.exit(1 if n_bad else 0)


if __name__ == "__main__":
    main()
