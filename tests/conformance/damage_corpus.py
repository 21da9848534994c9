#!/usr/bin/env python3
"""Scores `apr hex --damage` on faults injected into sound models; prints recall, localisation and false alarms per class.

usage: damage_corpus.py APR FOLDER [--real MODEL]... [--seeds N] [--healthy-only] [--markdown]

FOLDER keeps the models of `apr synth` between runs. Each case patches one region of a copy, scans it, and restores it.
  found      a suspicious range overlaps the region
  cause      one that overlaps it names the injected cause
  start      one that overlaps it starts within a window (4 KiB) or a block of the region's start
  alarms     suspicious ranges elsewhere; on the sound models any range counts
Exit 1 when a sound model alarms, or when a class falls below its floor (FLOORS); 2 when nothing was scored.
"""
import argparse
import collections
import json
import os
import random
import re
import struct
import subprocess
import sys

QUANTS = ["q4_k_m", "q8_0", "q6_k", "f16", "bf16"]
PRESETS = ["tiny", "tiny-qwen3"]
HEALTHY_PRESETS = ["tiny", "tiny-qwen2", "tiny-qwen3", "tiny-gemma3"]
HEALTHY_QUANTS = ["q4_k_m", "q8_0", "q6_k", "f16", "bf16", "f32", "q4_0", "q4_1", "q5_0", "q5_1", "q4_k_s", "q5_k_m"]
BIG_HEALTHY = [("gemma-3-270m", "q4_k_m"), ("qwen2.5-0.5b", "q8_0"), ("qwen3-0.6b", "q4_k_m")]
BLOCK = {"Q4_K": 144, "Q6_K": 210, "Q8_0": 34, "Q4_1": 20, "Q5_0": 22, "F16": 2, "BF16": 2, "F32": 4}
# byte offset of the f16 scale in its block
SCALE_AT = {"Q4_K": 0, "Q6_K": 208, "Q8_0": 0, "Q4_1": 0, "Q5_0": 0}
# where the packed scales of the sub-blocks stand, and their bytes
SUB_SCALES = {"Q4_K": (4, 12), "Q6_K": (192, 16)}
# Least share found. What statistics cannot see is scored, too, with a floor of 0: see docs/damage.md.
FLOORS = {"truncated": 1, "zero_fill": 1, "constant": 1, "repeated_block": 0.98, "text": 1, "non_finite": 1, "zero_tensor": 1,
          "random_bytes": 0.95, "shifted": 0.9, "copy": 1, "layer_twice": 1, "foreign_bytes": 0.9, "bit_flip_14": 0.9}


def run(apr, path):
    done = subprocess.run([apr, "hex", path, "--damage", "--json"], capture_output=True, text=True)
    if done.returncode not in (0, 4, 5):
        raise SystemExit(f"{path}: exit {done.returncode}: {done.stdout[-400:]}{done.stderr[-400:]}")
    document = json.loads(done.stdout)
    suspicious = [r for r in document["ranges"] if r["suspicious"]]
    if (done.returncode == 5) != bool(suspicious) and done.returncode != 4:
        raise SystemExit(f"{path}: exit {done.returncode} with {len(suspicious)} suspicious ranges")
    return suspicious


def tensors_of(apr, path):
    done = subprocess.run([apr, "hex", path, "--list", "--json"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["tensors"]


class Injection:
    """What to write where: {offset: bytes}, the region to be found, the cause to be named."""

    def __init__(self, offset, data, cause, region=None, also=()):
        self.offset, self.data, self.cause = offset, data, cause
        self.region = region or (offset, len(data))
        self.also = tuple(also)  # other places that may rightly be named (the source of a copy)


def region_in(rng, tensor, least=4096, most=65536):
    size = min(tensor["size_bytes"] // 2, rng.choice([s for s in (4096, 16384, 65536) if least <= s <= most]))
    at = tensor["offset"] + rng.randrange(tensor["size_bytes"] - size)
    if rng.random() < 0.5 and at // 4096 * 4096 >= tensor["offset"]:
        at = at // 4096 * 4096
    return at, size


def whole_blocks(tensor, at, size):
    block = BLOCK[tensor["dtype"]]
    first = (at - tensor["offset"]) // block
    return tensor["offset"] + first * block, max(1, size // block) * block


def inject_zero_fill(rng, t, read, ts):
    at, size = region_in(rng, t)
    return Injection(at, bytes(size), {"zero_fill"})


def inject_zero_tensor(rng, t, read, ts):
    return Injection(t["offset"], bytes(t["size_bytes"]), {"zero_fill"})


def inject_constant(rng, t, read, ts):
    at, size = region_in(rng, t)
    return Injection(at, bytes([rng.randrange(1, 256)]) * size, {"constant"})


def inject_repeated_block(rng, t, read, ts):
    at, size = whole_blocks(t, *region_in(rng, t))
    unit = BLOCK[t["dtype"]] if BLOCK[t["dtype"]] > 8 else 64
    return Injection(at, (read(at, unit) * (size // unit + 1))[:size], {"repeated_block"})


def inject_text(rng, t, read, ts):
    at, size = region_in(rng, t, most=16384)
    page = b"<!DOCTYPE html><html><head><title>503 Service Unavailable</title></head><body>No server is available.</body></html>\n"
    words = page + b"".join(b"line %d: retry in %d seconds\n" % (i, rng.randrange(99)) for i in range(900))
    return Injection(at, words[:size].ljust(size, b"."), {"text"})


def inject_random_bytes(rng, t, read, ts):
    at, size = region_in(rng, t)
    return Injection(at, rng.randbytes(size), {"random_bytes"})


def inject_shifted(rng, t, read, ts):
    """Bytes inserted in the middle of a tensor: its rest moves back, and its end is lost."""
    at, _ = region_in(rng, t)
    at = min(at, t["offset"] + t["size_bytes"] * 3 // 4)
    end = t["offset"] + t["size_bytes"]
    k = rng.choice([1, 3, 5, 7] if BLOCK[t["dtype"]] <= 4 else [1, 2, 3, 4, 7, 8, 16])
    if k % BLOCK[t["dtype"]] == 0:
        k += 1
    return Injection(at, (rng.randbytes(k) + read(at, end - at))[:end - at], {"shifted"})


def inject_byte_swapped(rng, t, read, ts):
    """16-bit words reversed, as by a copy of the wrong byte order: of the whole tensor, or of a part of it."""
    if rng.random() < 0.5:
        at, size = t["offset"], t["size_bytes"]
    else:
        at, size = region_in(rng, t)
        at -= (at - t["offset"]) % 2
    data = bytearray(read(at, size // 2 * 2))
    data[0::2], data[1::2] = data[1::2], data[0::2]
    return Injection(at, bytes(data), {"byte_swapped"})


def inject_copy(rng, t, read, ts):
    """Data of another tensor of the same type, at the same place or at another row."""
    others = [o for o in ts if o["dtype"] == t["dtype"] and o["name"] != t["name"] and o["size_bytes"] >= t["size_bytes"]]
    if not others:
        return None
    source = rng.choice(others)
    at, size = whole_blocks(t, *region_in(rng, t, least=16384))
    from_at = source["offset"] + (at - t["offset"])
    if BLOCK[t["dtype"]] <= 4:
        at -= (at - t["offset"]) % 64
        from_at = source["offset"] + (at - t["offset"])
    return Injection(at, read(from_at, size), {"copy"}, also=[(from_at, size)])


def inject_layer_twice(rng, t, read, ts):
    """A whole tensor is that of another layer."""
    others = [o for o in ts if re.sub(r"\d+", "*", o["name"]) == re.sub(r"\d+", "*", t["name"]) and o["name"] != t["name"]
              and o["size_bytes"] == t["size_bytes"] and o["dtype"] == t["dtype"]]
    if not others:
        return None
    source = rng.choice(others)
    return Injection(t["offset"], read(source["offset"], t["size_bytes"]), {"copy"}, also=[(source["offset"], t["size_bytes"])])


def inject_packed_scales(rng, t, read, ts):
    """The packed scales of sub-blocks one bit to the left, in all blocks of a tensor; the codes stay."""
    if t["dtype"] not in SUB_SCALES:
        return None
    at, n = SUB_SCALES[t["dtype"]]
    block, data = BLOCK[t["dtype"]], bytearray(read(t["offset"], t["size_bytes"]))
    for b in range(0, len(data), block):
        bits = int.from_bytes(data[b + at:b + at + n], "little")
        data[b + at:b + at + n] = (bits << 1 & (1 << 8 * n) - 1 | bits >> 8 * n - 1).to_bytes(n, "little")
    return Injection(t["offset"], bytes(data), {"foreign_bytes", "random_bytes"})


def inject_foreign_bytes(rng, t, read, ts):
    """Data of another type, as of another file."""
    others = [o for o in ts if o["dtype"] != t["dtype"] and o["size_bytes"] > 65536]
    at, size = region_in(rng, t, least=16384)
    if others:
        source = rng.choice(others)
        at_source = source["offset"] + rng.randrange(source["size_bytes"] - size) if source["size_bytes"] > size else None
        if at_source is not None:  # shuffled, so that it is no copy of what stands in this file
            data = bytearray(read(at_source, size))
            half = size // 2 // 96 * 96
            for i in range(0, half, 96):
                data[i:i + 96], data[i + half:i + half + 96] = data[i + half:i + half + 96], data[i:i + 96]
            return Injection(at, bytes(data), {"foreign_bytes", "random_bytes"})
    floats = struct.pack(f"<{size // 4}f", *(rng.gauss(0, 0.02) for _ in range(size // 4)))
    return Injection(at, floats, {"foreign_bytes", "random_bytes"})


def scale_place(rng, t):
    block = BLOCK[t["dtype"]]
    return t["offset"] + rng.randrange(t["size_bytes"] // block) * block + SCALE_AT.get(t["dtype"], 0)


def flip(bit):
    def inject(rng, t, read, ts):
        """One exponent bit of a scale, or of a weight of a plain type, from 0 to 1."""
        for _ in range(200):
            at = scale_place(rng, t)
            value = int.from_bytes(read(at, 2), "little")
            if t["dtype"] == "F32" or value & (1 << bit) or not value & 0x7C00:
                continue
            return Injection(at, (value | 1 << bit).to_bytes(2, "little"), {"scale_outlier", "value_outlier", "non_finite"})
        return None
    return inject


def inject_non_finite(rng, t, read, ts):
    at = scale_place(rng, t)
    if t["dtype"] == "F32":
        return Injection(at, struct.pack("<f", float("nan")), {"non_finite"})
    return Injection(at, struct.pack("<H", 0x7FC0 if t["dtype"] == "BF16" else 0x7E00), {"non_finite"})


def inject_extreme(rng, t, read, ts):
    """A finite value far above all others: 6e4 in a scale or a weight."""
    at = scale_place(rng, t)
    bits = 0x5F00 if t["dtype"] == "BF16" else 0x7B00
    return Injection(at, struct.pack("<H", bits), {"scale_outlier", "value_outlier"})


def inject_dead_rows(rng, t, read, ts):
    """One row in place of its neighbours."""
    row = t["size_bytes"] // t["shape"][0] if len(t["shape"]) == 2 else 0
    if not row or t["shape"][0] < 64 or "embd" in t["name"]:
        return None
    n = max(8, 8192 // row)
    first = rng.randrange(t["shape"][0] - n)
    at = t["offset"] + first * row
    return Injection(at, read(at, row) * n, {"repeated_block"})


CLASSES = {
    "zero_fill": inject_zero_fill, "zero_tensor": inject_zero_tensor, "constant": inject_constant,
    "repeated_block": inject_repeated_block, "dead_rows": inject_dead_rows, "text": inject_text,
    "random_bytes": inject_random_bytes, "shifted": inject_shifted, "byte_swapped": inject_byte_swapped, "copy": inject_copy,
    "layer_twice": inject_layer_twice, "packed_scales": inject_packed_scales, "foreign_bytes": inject_foreign_bytes, "non_finite": inject_non_finite, "extreme_value": inject_extreme,
    "bit_flip_14": flip(14), "bit_flip_13": flip(13),
}


def overlaps(r, region):
    return r["offset"] < region[0] + region[1] and region[0] < r["offset"] + r["size_bytes"]


class Score:
    def __init__(self):
        self.n = self.found = self.cause = self.start = self.alarms = 0
        self.otherwise = collections.Counter()  # causes named where the injected one was not

    def add(self, injection, ranges, block):
        self.n += 1
        hit = [r for r in ranges if overlaps(r, injection.region)]
        self.found += bool(hit)
        named = any(r["cause"] in injection.cause for r in hit)
        self.cause += named
        if hit and not named:
            self.otherwise[hit[0]["cause"]] += 1
        self.start += any(abs(r["offset"] - injection.region[0]) <= max(4096, block) for r in hit)
        self.alarms += sum(not overlaps(r, injection.region) and not any(overlaps(r, a) for a in injection.also) for r in ranges)


def score_model(apr, path, label, seeds, scores, only=()):
    tensors = tensors_of(apr, path)
    big = [t for t in tensors if len(t["shape"]) == 2 and t["size_bytes"] >= 32768 and t["dtype"] in BLOCK]
    with open(path, "r+b") as f:
        def read(at, size):
            f.seek(at)
            return f.read(size)

        for name, inject in CLASSES.items():
            if only and name not in only:
                continue
            for seed in range(seeds):
                rng = random.Random(f"{label}/{name}/{seed}")
                tensor = rng.choice(big)
                injection = inject(rng, tensor, read, big)
                if injection is None or read(injection.offset, len(injection.data)) == injection.data:
                    continue
                before = read(injection.offset, len(injection.data))
                f.seek(injection.offset)
                f.write(injection.data)
                f.flush()
                scores[name, tensor["dtype"]].add(injection, run(apr, path), BLOCK[tensor["dtype"]])
                f.seek(injection.offset)
                f.write(before)
                f.flush()
        size = os.path.getsize(path)
        for seed in range(seeds if not only or "truncated" in only else 0):
            rng = random.Random(f"{label}/truncated/{seed}")
            tensor = rng.choice(big)
            at = tensor["offset"] + rng.randrange(1, tensor["size_bytes"])
            tail = read(at, size - at)
            f.truncate(at)
            f.flush()
            scores["truncated", tensor["dtype"]].add(Injection(at, b"", {"truncated"}, region=(at, size - at)), run(apr, path),
                                                    BLOCK[tensor["dtype"]])
            f.seek(at)
            f.write(tail)
            f.flush()
    if run(apr, path):
        raise SystemExit(f"{path}: was not restored")


def synth(apr, folder, preset, quant, seed=1):
    path = os.path.join(folder, f"{preset}.{quant}.{seed}.gguf")
    if not os.path.exists(path):
        subprocess.run([apr, "synth", path, "--preset", preset, "--quant", quant, "--seed", str(seed), "-q"], check=True,
                       stdout=subprocess.DEVNULL)
    return path


def healthy_files(args):
    yield from args.real
    for preset in HEALTHY_PRESETS:
        for quant in HEALTHY_QUANTS:
            yield synth(args.apr, args.folder, preset, quant)
    for preset, quant in BIG_HEALTHY if args.big else []:
        yield synth(args.apr, args.folder, preset, quant)


def print_table(rows, markdown):
    head = ["class", "type", "cases", "found", "cause named", "start within 4 KiB or a block", "false alarms", "named otherwise"]
    if markdown:
        print("| " + " | ".join(head) + " |\n|---|---|---:|---:|---:|---:|---:|---|")
    else:
        print("  ".join(head))
    for row in rows:
        print("| " + " | ".join(str(c) for c in row) + " |" if markdown else "  ".join(f"{c!s:>14}" for c in row))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("apr")
    parser.add_argument("folder")
    parser.add_argument("--real", action="append", default=[], help="a sound model; GGUF ones are injected into, too")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--preset", action="append", default=[], help="inject into models of this preset (tiny, tiny-qwen3)")
    parser.add_argument("--model-seed", type=int, default=1, help="of `apr synth`")
    parser.add_argument("--healthy-only", action="store_true")
    parser.add_argument("--class", dest="cls", action="append", default=[], choices=[*CLASSES, "truncated"], help="score these classes alone")
    parser.add_argument("--big", action="store_true", help="also the larger synthetic models, as sound files")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--by-type", action="store_true", help="a row for each class and type")
    args = parser.parse_args()
    os.makedirs(args.folder, exist_ok=True)

    n_healthy, alarms = 0, []
    for path in healthy_files(args):
        n_healthy += 1
        alarms += [(path, r) for r in run(args.apr, path)]
    print(f"sound files: {n_healthy}, alarms: {len(alarms)}")
    for path, r in alarms[:10]:
        print(f"  {path}: {r['cause']} at {r['offset']} in {r['tensor']}: {r['evidence']}")
    if args.healthy_only:
        return 2 if n_healthy == 0 else 1 if alarms else 0

    scores = collections.defaultdict(Score)
    models = [(synth(args.apr, args.folder, p, q, args.model_seed), f"{p}.{q}.{args.model_seed}")
              for p in args.preset or PRESETS for q in QUANTS]
    for path in args.real:
        if path.endswith(".gguf"):
            copy = os.path.join(args.folder, "real-" + os.path.basename(path))
            with open(path, "rb") as source, open(copy, "wb") as target:
                target.write(source.read())
            models.append((copy, os.path.basename(path)))
    for path, label in models:
        score_model(args.apr, path, label, args.seeds, scores, args.cls)

    names = args.cls or list(CLASSES) + ["truncated"]
    rows, failed = [], []
    for name in names:
        parts = {t: s for (n, t), s in sorted(scores.items()) if n == name}
        total = Score()
        for s in parts.values():
            for field in ("n", "found", "cause", "start", "alarms"):
                setattr(total, field, getattr(total, field) + getattr(s, field))
            total.otherwise.update(s.otherwise)
        for label, s in (list(parts.items()) if args.by_type else []) + [("all", total)]:
            otherwise = ", ".join(f"{cause} {n}" for cause, n in s.otherwise.most_common())
            rows.append([name, label, s.n, s.found, s.cause, s.start, s.alarms, otherwise])
        if total.n == 0 or total.found < FLOORS.get(name, 0) * total.n:
            failed.append(name)
    print_table(rows, args.markdown)
    if not any(s.n for s in scores.values()):
        print("nothing was scored")
        return 2
    for name in failed:
        print(f"below its floor: {name}")
    return 1 if alarms or failed else 0


if __name__ == "__main__":
    sys.exit(main())
