#!/usr/bin/env python3
"""Makes the golden files of the quant types: what ggml itself computes from blocks that the C++ test makes, too.

Oracles: libggml (static libggml-base.a of a llama.cpp build, through oracle.c) decides; gguf.quants of the `gguf` Python
package is compared with it, type by type, and every disagreement is printed.

  git clone https://github.com/ggml-org/llama.cpp && cmake -S llama.cpp -B build -DBUILD_SHARED_LIBS=OFF
  cmake --build build --target ggml-base
  pip install gguf
  make_goldens.py llama.cpp build [--out FOLDER]

The blocks and values come from splitmix64 (tests/support/quant_data.h has the same code) and the tables below.
One file per type: its size, a CRC-32 of the oracle's output for every 100 of 10,000 blocks, and a few whole blocks to
debug with. Floats are hashed as their bits, every NaN as 0x7fc00000; blocks are hashed as their bytes.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import zlib

import gguf
import numpy as np
from gguf import quants

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
N_BLOCKS, CHUNK, SHOWN = 10000, 100, (0, 1, 2)
# Types whose C++ quantiser must give ggml's bytes; the K types and IQ4 have one of their own, judged by its error.
SAME_BYTES = "F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q8_1 Q8_K Q1_0 Q2_0 TQ1_0 TQ2_0 MXFP4 NVFP4".split()
BY_ERROR = "Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS".split()
SPECIALS = {
    "F16": [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0x7C00, 0xFC00, 0x7E00, 0x7C01, 0x3C00, 0xBC00, 0xFE55],
    "BF16": [0x0000, 0x8000, 0x0001, 0x807F, 0x0080, 0x7F7F, 0x7F80, 0xFF80, 0x7FC0, 0x7F81, 0x3F80],
    "F32": [0, 0x80000000, 1, 0x807FFFFF, 0x00800000, 0x7F7FFFFF, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001,
            0x3F800000],
    "F64": [0, 1 << 63, 1, 0x7FEFFFFFFFFFFFFF, 0x7FF0000000000000, 0xFFF0000000000000, 0x7FF8000000000000,
            0x47EFFFFFE0000000, 0x47EFFFFFF0000000, 0x36A0000000000000, 0x3690000000000000, 0x3FF0000010000000],
    "E8M0": [0, 1, 2, 127, 254, 255],
    "E4M3": [0x00, 0x7F, 0x7E, 0xFF, 0x80, 0x01, 0x07, 0x08, 0x38],
    "I16": [0, 1, 0x7FFF, 0x8000, 0xFFFF],
    "I32": [0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x01000001],
    "I64": [0, 1, 0x7FFFFFFFFFFFFFFF, 1 << 63, 0xFFFFFFFFFFFFFFFF, (1 << 53) + 1],
}
WIDTH = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8, "E8M0": 1, "E4M3": 1, "I16": 2, "I32": 4, "I64": 8}


def splitmix64(seed, n):
    """The first n outputs, as numpy u64."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def rows(def_file, macro):
    text = (ROOT / "include/apr/core" / def_file).read_text()
    return [[a.strip().strip('"') for a in m.split(",")] for m in re.findall(rf"^{macro}\((.*)\)$", text, re.M)]


class Type:
    def __init__(self, row, fields):
        self.name, self.id, self.elements, self.bytes = row[1], int(row[2]), int(row[3]), int(row[4])
        # (offset, encoding) of every number in the block that is not random bits
        self.scales = []
        for name, offset, size, encoding in fields:
            if encoding in ("F16", "F32", "E8M0", "E4M3"):
                self.scales += [(int(offset) + i, encoding) for i in range(0, int(size), WIDTH[encoding])]
        if self.elements == 1 and self.name in WIDTH:
            self.scales = [(0, self.name)]


def make_blocks(t):
    """N_BLOCKS blocks of random bytes; every fourth has special scales, the one after it ordinary ones."""
    total = N_BLOCKS * t.bytes
    data = np.frombuffer(splitmix64(1 + t.id, (total + 7) // 8).astype("<u8").tobytes(), dtype=np.uint8)[:total].copy()
    data = data.reshape(N_BLOCKS, t.bytes)
    for b in range(0, N_BLOCKS, 4):
        for k, (offset, encoding) in enumerate(t.scales):
            special = SPECIALS[encoding][(b // 4 + 7 * k) % len(SPECIALS[encoding])]
            data[b, offset:offset + WIDTH[encoding]] = list(special.to_bytes(WIDTH[encoding], "little"))
        if t.name == "IQ1_M":  # its f16 scale is spread over the top nibbles of four u16
            special = SPECIALS["F16"][(b // 4) % len(SPECIALS["F16"])]
            for k in range(4):
                data[b, 49 + 2 * k] = (int(data[b, 49 + 2 * k]) & 0x0F) | ((special >> (4 * k)) & 15) << 4
        for offset, encoding in t.scales:
            if encoding == "F16":  # magnitude in [2^-5, 2^-4)
                data[b + 1, offset + 1] = (int(data[b + 1, offset + 1]) & 0x83) | 0x28
    return data


def sums(seed, n):
    """Sum of four 16-bit numbers less its mean, near-Gaussian with deviation 37837: exact in every language."""
    w = splitmix64(seed, n)
    total = sum(((w >> np.uint64(16 * k)) & np.uint64(0xFFFF)).astype(np.int64) for k in range(4))
    return total - 131070


def make_values(t):
    """N_BLOCKS blocks of float32 to quantise; one block of sixteen is a special case."""
    e = t.elements
    raw = sums(1001 + t.id, N_BLOCKS * e).reshape(N_BLOCKS, e)
    x = raw.astype(np.float32)
    for b in range(N_BLOCKS):
        x[b] *= np.float32(2.0 ** ((b * 5) % 21 - 30))
        if e == 1:  # plain types: every other value is random bits
            if b % 2 == 0:
                x[b] = np.uint32(splitmix64(2001 + t.id + b, 1)[0] >> np.uint64(32)).view(np.float32)
            continue
        if b % 16:
            continue
        i = np.arange(e)
        kind = (b // 16) % 11
        if kind == 0: x[b] = 0
        elif kind == 1: x[b] = np.float32(-0.0)
        elif kind == 2: x[b] = x[b, 0]
        elif kind == 3: x[b] = np.where(i == (b // 16) % e, x[b, 0], np.float32(0))
        elif kind == 4: x[b] = np.where(i % 2 == 0, abs(x[b, 0]), -abs(x[b, 0]))
        elif kind == 5: x[b] = raw[b].astype(np.float32) * np.float32(2.0 ** -40)
        elif kind == 6: x[b] = raw[b].astype(np.float32) * np.float32(2.0 ** 10)
        elif kind == 7: x[b] = abs(x[b])
        elif kind == 8: x[b] = -abs(x[b])
        elif kind == 9: x[b] = (raw[b] >> 12).astype(np.float32)
        elif kind == 10: x[b] = np.where(i % 2 == 0, np.float32(0.0), np.float32(-0.0))
    return x


def error_values(t):
    """1000 blocks of the near-Gaussian distribution, for the error of a quantiser."""
    return (sums(3001 + t.id, 1000 * t.elements).astype(np.float32) * np.float32(2.0 ** -16)).reshape(1000, t.elements)


class Oracle:
    def __init__(self, source, build):
        self.program = pathlib.Path(build) / "apr_quant_oracle"
        libs = [str(pathlib.Path(build) / "ggml/src/libggml-base.a"), "-lstdc++", "-lm", "-lpthread", "-fopenmp", "-ldl"]
        includes = [f"-I{source}/ggml/include", f"-I{source}/ggml/src"]
        subprocess.run(["cc", "-O1", "-ffp-contract=off", *includes, str(HERE / "oracle.c"), *libs, "-o",
                        str(self.program)], check=True)

    def run(self, command, t, data):
        count = data.shape[0]
        out = subprocess.run([str(self.program), command, str(t.id), str(count)], input=data.tobytes(), check=True,
                             capture_output=True).stdout
        kind, width = (np.float32, t.elements) if command == "dequantize" else (np.uint8, t.bytes)
        return np.frombuffer(out, dtype=kind).reshape(count, width)

    def sizes(self):
        text = subprocess.run([str(self.program), "sizes"], check=True, capture_output=True, text=True).stdout
        return [line.split() for line in text.splitlines()]


def float_bits(values):
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32).copy()
    bits[(bits & 0x7FFFFFFF) > 0x7F800000] = 0x7FC00000
    return bits


def crc_lines(data):
    crcs = [f"{zlib.crc32(data[i:i + CHUNK].tobytes()):08x}" for i in range(0, N_BLOCKS, CHUNK)]
    return [" ".join(crcs[i:i + 10]) for i in range(0, len(crcs), 10)]


def hex_bytes(data):
    return bytes(data).hex()


def hex_bits(bits):
    return " ".join(f"{int(v):x}" for v in bits)


def compare_with_gguf(t, blocks, bits):
    """What gguf.quants says of the same blocks."""
    kind = getattr(gguf.GGMLQuantizationType, t.name, None)
    if kind is None or (kind not in quants._type_traits and t.name not in ("F32", "F16")):
        return "gguf.quants lacks it"
    try:
        with np.errstate(all="ignore"):
            other = float_bits(quants.dequantize(blocks, kind).reshape(bits.shape))
    except Exception as error:  # noqa: BLE001: the report names it
        return f"gguf.quants failed: {error!r}"
    rows_off = np.nonzero((other != bits).any(axis=1))[0]
    if not len(rows_off):
        return "gguf.quants agrees"
    b = rows_off[0]
    j = np.nonzero(other[b] != bits[b])[0][0]
    return (f"gguf.quants DISAGREES in {len(rows_off)} of {N_BLOCKS} blocks; first: block {b} "
            f"({hex_bytes(blocks[b])[:24]}...) element {j}: gguf {int(other[b, j]):08x}, libggml {int(bits[b, j]):08x}")


def golden(t, oracle):
    blocks = make_blocks(t)
    bits = float_bits(oracle.run("dequantize", t, blocks))
    lines = [f"type {t.name} {t.id} {t.elements} {t.bytes}", "dequantize_crc", *crc_lines(bits)]
    for b in SHOWN:
        lines += [f"block {b} {hex_bytes(blocks[b])}", f"floats {hex_bits(bits[b])}"]
    if t.name in SAME_BYTES:
        values = make_values(t)
        made = oracle.run("quantize", t, values)
        lines += ["quantize_crc", *crc_lines(made)]
        for b in SHOWN:
            lines += [f"values {b} {hex_bits(values[b].view(np.uint32))}", f"quantized {hex_bytes(made[b])}"]
    if t.name in BY_ERROR:
        values = error_values(t)
        back = oracle.run("dequantize", t, oracle.run("quantize", t, values)).astype(np.float64)
        error = np.sqrt(((back - values) ** 2).sum() / (values.astype(np.float64) ** 2).sum())
        lines += [f"ggml_relative_rmse {error:.9f}"]
    return lines, compare_with_gguf(t, blocks, bits)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="llama.cpp source folder")
    parser.add_argument("build", help="its build folder, with static libraries")
    parser.add_argument("--out", default=HERE, type=pathlib.Path)
    args = parser.parse_args()
    oracle = Oracle(args.source, args.build)
    fields = {}
    for symbol, *rest in rows("block_fields.def", "APR_BLOCK_FIELD"):
        fields.setdefault(symbol, []).append(rest)
    types = [Type(r, fields.get(r[0], [])) for r in rows("tensor_types.def", "APR_TENSOR_TYPE")]
    live = [t for t in types if t.id < 256 and t.elements]

    size_lines = ["# id name block_elements block_bytes, as libggml has them"]
    for number, name, elements, size in oracle.sizes():
        kind = next((k for k in gguf.GGML_QUANT_SIZES if int(k) == int(number)), None)
        size_lines.append(f"{number} {name} {elements} {size}")
        if kind is None:
            print(f"{name}: gguf.GGML_QUANT_SIZES lacks it")
        elif tuple(gguf.GGML_QUANT_SIZES[kind]) != (int(elements), int(size)):
            print(f"{name}: gguf.GGML_QUANT_SIZES DISAGREES: {gguf.GGML_QUANT_SIZES[kind]}, libggml ({elements}, {size})")
    (args.out / "sizes.txt").write_text("\n".join(size_lines) + "\n")
    for t in live:
        lines, verdict = golden(t, oracle)
        (args.out / f"{t.name.lower()}.txt").write_text("\n".join(lines) + "\n")
        print(f"{t.name}: {verdict}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
