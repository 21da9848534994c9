#!/usr/bin/env python3
"""Instructions that a GPU issues per weight in the inner loop of every matrix kernel, and the speed that they allow.

usage: sass_budget.py [--kernel linear1|linear8] [--types Q4_K,Q6_K,...] [--mmvq FOLDER] [--json FILE] [--check]
       sass_budget.py --kernel prefill_attention


Each type is compiled alone (nvcc, sm_90), disassembled (nvdisasm of the PyPI package nvidia-cuda-nvdisasm, put into a
virtual environment under ~/.cache on demand), and the loop that holds its products is counted. Nothing is run: every
figure but a count is modelled, and says so. Bytes in flight: one tile of every warp that fits (of mmvq: the weights of one
trip). The budget is that of one column; of several columns an instruction serves them all. prefill_attention: instructions per
product of the matrix unit (16 x 8 x 16), and what its loop is made of. --mmvq takes the ggml-cuda folder of a llama.cpp source tree and counts
its mat-vec kernel the same way. --check exits with 1 when a budget is exceeded or nothing was counted.
"""
import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "apr" / "sass"

# GGUF id, budget of instructions per weight. A tile is 4096 weights: 128 per lane of a warp.
TYPES = {"Q4_K": (12, 1.3), "Q5_K": (13, 1.6), "Q6_K": (14, 1.8), "Q8_0": (8, 0.9), "Q4_0": (2, 1.3), "Q4_1": (3, 1.3),
         "Q5_0": (6, 1.6), "Q5_1": (7, 1.6), "F16": (1, None), "BF16": (30, None), "F32": (0, None)}
# SMs, sustained SM clock in Hz, bytes/s that reads reach: 89 % of the data sheet's bandwidth, which is what the best
# published read-only kernels get on an H200 (4.26 of 4.8 TB/s). Loads are answered after `latency` under load.
DEVICES = {"H100": (132, 1.755e9, 0.89 * 3.35e12), "H200": (132, 1.755e9, 0.89 * 4.8e12)}
LATENCY_S = 800e-9
REGISTERS_PER_SM, WARPS_PER_SM = 65536, 64
# dp4a of mmvq for one weight: four weights each; of the K types with a minimum every second one sums activations.
MMVQ = {"Q4_K": (12, 2), "Q5_K": (13, 2), "Q6_K": (14, 4), "Q8_0": (8, 4)}
MMVQ_BYTES = {"Q4_K": 144 / 256, "Q5_K": 176 / 256, "Q6_K": 210 / 256, "Q8_0": 34 / 32}


def run(command, **more):
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def disassembler():
    """nvdisasm of PATH, or of the PyPI package."""
    from shutil import which
    if which("nvdisasm"):
        return which("nvdisasm")
    def found():
        return next(iter(sorted(CACHE.glob("venv/lib/python*/site-packages/nvidia/**/bin/nvdisasm"))), None)
    if not found():
        CACHE.mkdir(parents=True, exist_ok=True)
        run([sys.executable, "-m", "venv", CACHE / "venv"])
        run([CACHE / "venv/bin/pip", "install", "-q", "nvidia-cuda-nvdisasm"])
    if not found():
        sys.exit("nvidia-cuda-nvdisasm holds no nvdisasm")
    found().chmod(0o755)
    return str(found())


Loop = collections.namedtuple("Loop", "n opcodes loads")


def loops(cubin, nvdisasm):
    """{kernel: [Loop]} of innermost loops: a backward branch and what lies under it, no other loop in it."""
    kernel, code, labels = None, collections.defaultdict(list), {}
    for line in run([nvdisasm, "-g", str(cubin)]).splitlines():
        if match := re.match(r"^\.text\.(\S+):", line):
            kernel = match.group(1)
        if (match := re.match(r"^(\.L_x_\d+):", line)) and kernel:
            labels[match.group(1)] = (kernel, len(code[kernel]))
        if (match := re.match(r"^\s+/\*([0-9a-f]+)\*/\s+(.*?);", line)) and kernel:
            code[kernel].append(re.sub(r"^@!?U?P\w+\s+", "", match.group(2)))
    found = collections.defaultdict(list)
    for name, instructions in code.items():
        spans = []
        for end, instruction in enumerate(instructions):
            match = re.search(r"BRA.*`\((\.L_x_\d+)\)", instruction)
            if not match or labels.get(match.group(1), ("", 0))[0] != name or labels[match.group(1)][1] >= end:
                continue
            spans.append((labels[match.group(1)][1], end + 1))
        for first, last in spans:
            if any((first, last) != other and first <= other[0] and other[1] <= last for other in spans):
                continue
            opcodes = collections.Counter(i.split()[0].split(".")[0] for i in instructions[first:last])
            found[name].append(Loop(last - first, opcodes, opcodes["LDG"]))
    return found


def resources(log, entry):
    """(registers, static shared bytes) of a kernel in the report of ptxas."""
    match = re.search(rf"Compiling entry function '{entry}'.*?Used (\d+) registers(?:.*?(\d+) bytes smem)?", log, re.S)
    return (int(match.group(1)), int(match.group(2) or 0)) if match else (0, 0)


def compile_types(kernel, type_ids, folder):
    """The kernel with the code of these types alone: (cubin, report)."""
    stem = f"{kernel}_{'_'.join(map(str, type_ids))}"
    source, cubin = folder / f"{stem}.cu", folder / f"{stem}.cubin"
    source.write_text('#include "kernels/cuda/linear_common.cuh"\n#undef APR_FOR_TILE_TYPES\n'
                      f"#define APR_FOR_TILE_TYPES(X) {' '.join(f'X({i})' for i in type_ids)}\n"
                      f'#include "kernels/cuda/{kernel}.cu"\n')
    log = run(["nvcc", "-arch=sm_90", "-O3", "-std=c++17", "-fmad=false", "-I", str(ROOT), "-I", str(ROOT / "include"),
               "-Xptxas", "-v", "-cubin", "-o", str(cubin), str(source)])
    return cubin, log


def ceiling(device, instructions, bytes_per_weight, bytes_in_flight):
    """Modelled bytes/s: the least of what memory gives, what the schedulers issue, what is in flight over the latency."""
    n_sms, clock, memory = DEVICES[device]
    issue = n_sms * 4 * 32 * clock / instructions * bytes_per_weight
    flight = n_sms * bytes_in_flight / LATENCY_S
    limit = min((memory, "memory"), (issue, "issue"), (flight, "bytes in flight"))
    return {"bytes_per_s_modelled": limit[0], "limit_modelled": limit[1], "issue_use_modelled": limit[0] / issue,
            "of_memory_modelled": limit[0] / memory}


def tile_bytes():
    """{type id: bytes of a tile}, asked of the layout header by a small program."""
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "tiles.cpp"
        source.write_text('#include <cstdio>\n#include "kernels/cuda/tile_layout.h"\nusing namespace apr::kernels::cuda;\n'
                          'int main() {\n#define APR_PRINT(id) std::printf("%d %d\\n", id, int(TileType<id>::bytes));\n'
                          "APR_FOR_TILE_TYPES(APR_PRINT)\n}\n")
        run(["c++", "-std=c++20", "-I", str(ROOT), "-I", str(ROOT / "include"), "-o", f"{folder}/tiles", str(source)])
        return dict(tuple(map(int, line.split())) for line in run([f"{folder}/tiles"]).splitlines())


def products(loop):
    return loop.opcodes["IMMA"] + loop.opcodes["HMMA"]


def count_own(kernel, names, nvdisasm, tiles):
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        # Occupancy is that of the kernel as it is built: with the code of every type.
        entry = f"apr_{kernel}"
        _, log = compile_types(kernel, [i for i, _ in TYPES.values()], pathlib.Path(folder))
        registers, _ = resources(log, entry)
        warps = min(WARPS_PER_SM, REGISTERS_PER_SM // (max(registers, 1) * 32)) // 8 * 8
        for name in names:
            type_id, budget = TYPES[name]
            cubin, _ = compile_types(kernel, [type_id], pathlib.Path(folder))
            found = loops(cubin, nvdisasm)[entry]
            # The inner loop: of those with products (floats: with multiply-adds and loads) the one with most per instruction.
            inner = [l for l in found if products(l)] or [l for l in found if l.opcodes["FFMA"] and l.loads]
            if not inner:
                sys.exit(f"{name}: {kernel} has no loop with products")
            loop = max(inner, key=lambda l: (products(l) or l.opcodes["FFMA"]) / l.n)
            # m16n8k32: 512 weights of a warp, 16 per lane. Floats: one multiply-add a weight and column.
            weights = 16 * products(loop) if products(loop) else loop.opcodes["FFMA"]
            # One tile of a warp is on its way while another is worked on; of floats as much of it as 64 registers hold.
            flight = min(32 * 256, tiles[type_id])
            rows.append({"kernel": kernel, "type": name, "loop_instructions": loop.n, "weights_per_lane_and_trip": weights,
                         "instructions_per_weight": loop.n / weights, "budget": budget if kernel == "linear1" else None,
                         "registers": registers, "warps_per_sm_modelled": warps, "bytes_in_flight_per_sm_modelled": warps * flight,
                         "bytes_per_weight": tiles[type_id] / 4096, "opcodes": dict(loop.opcodes.most_common(8))})
    return rows


def count_prefill(nvdisasm):
    """Prints the loop over tiles of each prefill attention; returns how many were counted."""
    with tempfile.TemporaryDirectory() as out:
        cubin = pathlib.Path(out) / "prefill.cubin"
        log = run(["nvcc", "-arch=sm_90", "-O3", "-std=c++17", "-fmad=false", "-I", str(ROOT), "-I", str(ROOT / "include"),
                   "-Xptxas", "-v", "-cubin", "-o", str(cubin), str(ROOT / "kernels/cuda/prefill_attention.cu")])
        found = loops(cubin, nvdisasm)
    counted = 0
    for entry in sorted(found):
        loop = max(found[entry], key=products)
        counted += products(loop) > 0
        print(f"{entry}: {loop.n} instructions for {products(loop)} products: {loop.n / max(1, products(loop)):.2f} each, "
              f"{resources(log, entry)[0]} registers; {', '.join(f'{o} {n}' for o, n in loop.opcodes.most_common(12))}")
    return counted


def count_mmvq(folder, nvdisasm):
    folder, rows = pathlib.Path(folder), []
    with tempfile.TemporaryDirectory() as out:
        cubin = pathlib.Path(out) / "mmvq.cubin"
        log = run(["nvcc", "-arch=sm_90", "-O3", "-std=c++17", "-use_fast_math", "-I", str(folder), "-I", str(folder.parents[1] / "include"),
                   "-I", str(folder.parent), "-Xptxas", "-v", "-cubin", "-o", str(cubin), str(folder / "mmvq.cu")])
        found = loops(cubin, nvdisasm)
        for name, (type_id, weights_per_dp4a) in MMVQ.items():
            # mul_mat_vec_q<type, one column, no fusion, ...>
            kernels = [k for k in found if re.search(rf"mul_mat_vec_qIL9ggml_type{type_id}ELi1ELb0E", k)]
            candidates = [(l, k) for k in kernels for l in found[k] if l.opcodes["IDP"]]
            if not candidates:
                sys.exit(f"mmvq: no loop for {name} (kernels: {sorted(found)[:4]})")
            loop, kernel = max(candidates, key=lambda c: c[0].opcodes["IDP"] / c[0].n)  # its best one
            weights = weights_per_dp4a * loop.opcodes["IDP"]
            registers, _ = resources(log, re.escape(kernel))
            warps = min(WARPS_PER_SM, REGISTERS_PER_SM // (max(registers, 1) * 32)) // 4 * 4
            rows.append({"kernel": "mmvq", "type": name, "loop_instructions": loop.n, "weights_per_lane_and_trip": weights,
                         "instructions_per_weight": loop.n / weights, "budget": None, "registers": registers,
                         "warps_per_sm_modelled": warps, "bytes_in_flight_per_sm_modelled": warps * 32 * weights * MMVQ_BYTES[name],
                         "bytes_per_weight": MMVQ_BYTES[name], "opcodes": dict(loop.opcodes.most_common(8))})
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", default="linear1", choices=["linear1", "linear8", "prefill_attention"])
    parser.add_argument("--types", default=",".join(TYPES))
    parser.add_argument("--mmvq")
    parser.add_argument("--json")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    names = options.types.split(",")
    if unknown := [n for n in names if n not in TYPES]:
        sys.exit(f"unknown types: {', '.join(unknown)}")
    nvdisasm = disassembler()
    if options.kernel == "prefill_attention":
        sys.exit(0 if count_prefill(nvdisasm) == 3 else "prefill_attention: a loop without products")
    rows = count_own(options.kernel, names, nvdisasm, tile_bytes())
    if options.mmvq:
        rows += count_mmvq(options.mmvq, nvdisasm)
    for row in rows:
        for device in DEVICES:
            row[device] = ceiling(device, row["instructions_per_weight"], row["bytes_per_weight"],
                                  row["bytes_in_flight_per_sm_modelled"])
    print(f"{'kernel':8} {'type':5} {'loop':>5} {'w/trip':>6} {'i/weight':>8} {'budget':>6} {'regs':>4} {'warps*':>6} "
          f"{'KB in flight*':>13} {'H100 TB/s*':>16} {'H200 TB/s*':>16}")
    over = 0
    for row in rows:
        over += row["budget"] is not None and not row["instructions_per_weight"] <= row["budget"]
        cells = [f"{row[d]['bytes_per_s_modelled'] / 1e12:5.2f} {row[d]['limit_modelled'][:6]:>6}" for d in DEVICES]
        print(f"{row['kernel']:8} {row['type']:5} {row['loop_instructions']:5} {row['weights_per_lane_and_trip']:6} "
              f"{row['instructions_per_weight']:8.2f} {row['budget'] or '':>6} {row['registers']:4} {row['warps_per_sm_modelled']:6} "
              f"{row['bytes_in_flight_per_sm_modelled'] / 1024:13.1f} {cells[0]:>16} {cells[1]:>16}")
    print("* modelled from the counts; no GPU was used. The limit is the least of memory, issue and bytes in flight / 800 ns.")
    print(f"sass_budget: {sum(r['budget'] is not None for r in rows)} inner loops with a budget, {over} over it")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"schema": "apr.sass_budget/1", "rows": rows}, indent=2))
    if options.check and (over or not rows):
        sys.exit(f"{over} of {len(rows)} inner loops exceed their budget")


if __name__ == "__main__":
    main()
