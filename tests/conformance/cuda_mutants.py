#!/usr/bin/env python3
"""Breaks the CUDA kernels one line at a time and demands that their tests turn red.

usage: cuda_mutants.py build --root ROOT --out MUTANTS.o --compiler CXX [--launcher CCACHE]
       cuda_mutants.py run --root ROOT --program cuda_mutants [--only NAME] [--table]
       cuda_mutants.py red --root ROOT --program cuda_mutants

A mutant is a copy of one kernel source with one change: every barrier, warp barrier, fence and dependency wait of the sources is
taken out in turn, and the changes of CHANGES are made. `build` compiles each mutant as kernels of the emulator under a name of
its own; the program cuda_mutants is the tests of unit_cuda with all of them, and APR_CUDA_MUTANT says which one runs. `run`
fails when a mutant survives the tests named for it, when the tests fail without a mutant, or when a row of CHANGES no longer
fits its source. `red` shows that `run` can fail: a change that changes nothing must be reported as a survivor.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

KERNELS = "kernels/cuda"
# Tests that run the code of a source; those of CHANGES may be named more narrowly.
TESTS = {"attention.cu": "Shapes/Attention.*", "prefill_attention.cu": "Shapes/Prefill.*", "heads.cuh": "Shapes/Attention.*", "linear1.cu": "Types/Linear.*:LinearMix.*", "linear8.cu": "Types/Linear.*", "linear_prompt.cu": "Types/Linear.*:LinearMix.*", "quads.cuh": "Types/Linear.*",
         "rows.cu": "Prepare.*:Types/Load.*", "sample.cu": "Sample.*", "load.cu": "Types/Load.*", "common.cuh": "Prepare.*:Types/Linear.*",
         "linear_common.cuh": "Types/Linear.*:LinearMix.*", "fragments.cuh": "Types/Linear.*", "tile_read.cuh": "Types/Load.*"}
# Modules that a header is tried in; a .cu is its own.
MODULES = {"heads.cuh": ["attention", "prefill_attention"], "common.cuh": ["rows", "linear1"], "linear_common.cuh": ["linear1", "linear8"], "fragments.cuh": ["linear1", "linear8"], "quads.cuh": ["linear8", "linear_prompt"],
           "tile_read.cuh": ["load", "rows"]}
ROW = re.compile(r'^APR_CUDA_KERNEL\((\w+), (\w+), (\w+),', re.M)
# Taken out wherever it stands: what the emulator's rules are about.
EVERYWHERE = [(re.compile(r"(?<![\w:])sync\(\);"), "barrier"), (re.compile(r"sync_warp\(\);"), "warp barrier"),
              (re.compile(r"wait_early\(\);"), "dependency wait"), (re.compile(r"await_copies\(\);"), "wait for copies"), (re.compile(r"(?<![\w:])fence\(\);"), "fence")]
# (what, source, text that stands there once, what it becomes)
CHANGES = [
    ("no bounds test of a row", "linear_common.cuh", "  if (local >= matrix.n_rows) return;\n", ""),
    ("no bounds test of a gated row", "linear_common.cuh", "  if (row < p.matrix[0].n_rows) {\n", "  {\n"),
    ("one set of sums for all units", "linear1.cu", "set * linear_warps * 16;", "0 * set;"),
    ("one set of sums for all units", "linear8.cu", "set * linear_warps * 16 * max_columns;", "0 * set;"),
    ("a column too many", "linear8.cu", "if (to.matrix < 0 || column0 + column >= p.n_columns) continue;", "if (to.matrix < 0) continue;"),
    ("a column too many", "linear_prompt.cu", "if (to.matrix < 0 || column0 + column >= p.n_columns) continue;", "if (to.matrix < 0) continue;"),
    ("a gated column too many", "linear_prompt.cu", "c < Columns && column0 + c < p.n_columns;", "c < Columns;"),
    ("a column that does not exist is read", "linear_prompt.cu", "const bool exists = column0 + column < p.n_columns;", "const bool exists = true;"),
    ("a tile that does not exist is read", "linear_prompt.cu", "    if (k >= n_tiles) break;\n", ""),
    ("a tile that does not exist takes part", "linear_prompt.cu", "if (own.matrix >= 0 && k < n_tiles) {", "if (own.matrix >= 0) {"),
    ("the activations of the first tile for all", "linear_prompt.cu", "shared<const uint8_t>(slice * Layout::tile_bytes)", "shared<const uint8_t>(0)"),
    ("the first eight columns for all", "linear_prompt.cu", "{q + 8 * e * Layout::q_stride, ", "{q, "),
    ("the scales of the first eight columns for all", "linear_prompt.cu", "scales + 8 * e * Layout::scale_stride}", "scales}"),
    ("sums are scales", "linear_prompt.cu", "return d(c, 8 + group);", "return d(c, group);"),
    ("scales of the other group", "quads.cuh", "in.d(c, odd) * factor<T>(1)", "in.d(c, even) * factor<T>(1)"),
    ("no bounds test of the padding", "linear1.cu", "if (i < p.n_cols) value = norm", "value = norm"),
    ("no bounds test of the padding", "rows.cu", "if (i < p.n_cols) value = given", "value = given"),
    ("no bounds test of a column", "rows.cu", "  if (col >= p.n_cols) return;\n", ""),
    ("an unknown token is looked up", "rows.cu", "state.token >= 0 && state.token < p.n_rows;", "true;"),
    ("the last position is left out", "attention.cu", "const int end = state.position + 1,", "const int end = state.position,"),
    ("no bounds test of a position", "attention.cu", "  if (position < task.last) {\n", "  {\n"),
    ("scores past the end take part", "attention.cu", "position < task.last ? sum[head] * p.scale : minus_infinity();", "sum[head] * p.scale;"),
    ("no bounds test of the values", "attention.cu", "const int n = task.last - base < chunk ? task.last - base : chunk;", "const int n = chunk;"),
    ("sums are not shrunk to a new highest score", "attention.cu", "const float shrink = state[4 * head + 2];", "const float shrink = 1.0f;"),
    ("the first to arrive adds up", "attention.cu", "return before == static_cast<uint32_t>(n - 1);\n}", "return before == 0u;\n}"),
    ("the ticket is not set back", "attention.cu", "*ticket = 0u;", "static_cast<void>(0);"),
    ("no atomic ticket", "attention.cu", "const uint32_t before = atomic_add(ticket, 1);", "const uint32_t before = *ticket;\n    *ticket = before + 1;"),
    ("the cache of another slot", "heads.cuh", "(static_cast<int64_t>(slot) * p.n_kv_heads + kv_head)", "static_cast<int64_t>(kv_head)"),
    ("every split writes the new key", "attention.cu", "task.newest = task.first < end && task.last == end;", "task.newest = true;"),
    ("the scale of another group", "attention.cu", "scales[row * groups + part / 4]", "scales[row * groups]"),
    ("the scales of the keys are those of the values", "attention.cu", "p.head.k_cache, p.head.k_scales,", "p.head.k_cache, p.head.v_scales,"),
    ("no bounds test of a group", "attention.cu", "if (i < p.head_dim) out[i] = static_cast<int8_t>(value.q);", "out[i] = static_cast<int8_t>(value.q);"),
    ("elements behind the head take part", "attention.cu", "round_lane(i < p.head_dim ? in[i] : 0.0f)", "round_lane(in[i])"),
    ("no window", "attention.cu", "p.window == 0 || end <= p.window ? 0 : end - p.window;", "0;"),
    ("no bounds test of a position", "prefill_attention.cu", "base + row < end && 8 * part < h.head_dim;", "8 * part < h.head_dim;"),
    ("no bounds test of an element", "prefill_attention.cu", "base + row < end && 8 * part < h.head_dim;", "base + row < end;"),
    ("no bounds test of a query's element", "prefill_attention.cu", "i < h.head_dim ? pack_halves(query[i], query[i + 1]) : 0u;", "pack_halves(query[i], query[i + 1]);"),
    ("rows that do not exist are read", "prefill_attention.cu", "    row = row < last_row ? row : last_row;", "    row += 0;"),
    ("rows that do not exist are stored", "prefill_attention.cu", "    if (row > last_row) continue;\n", ""),
    ("a position sees what comes behind it", "prefill_attention.cu", "position > rows.position[r] || position < rows.first[r]", "position < rows.first[r]"),
    ("no window", "prefill_attention.cu", "position > rows.position[r] || position < rows.first[r]", "position > rows.position[r]"),
    ("tiles at the edge count as whole", "prefill_attention.cu", "base + Tile::positions > oldest.position + 1 || base < first_seen(p, newest.position);", "false;"),
    ("the window's edge counts as whole", "prefill_attention.cu", "oldest.position + 1 || base < first_seen(p, newest.position);", "oldest.position + 1;"),
    ("a row that has seen nothing has a level", "prefill_attention.cu", "most == minus_infinity() ? 0.0f : most;", "most;"),
    ("sums are not shrunk to a new highest score", "prefill_attention.cu", "rows.sum[r] = fused(rows.sum[r], shrink, sum);", "rows.sum[r] += sum;"),
    ("values are not shrunk to a new highest score", "prefill_attention.cu", "      rows.out[i][2 * r] *= shrink;\n", ""),
    ("tiles start where the window does", "prefill_attention.cu", "first_seen(p, oldest.position) / Tile::positions * Tile::positions;", "first_seen(p, oldest.position);"),
    ("the cache of another slot", "prefill_attention.cu", "cache_row(h, oldest.slot, kv_head, 0)", "cache_row(h, 0, kv_head, 0)"),
    ("the left side's rows are swapped", "prefill_attention.cu", "rows.query[k][r + 2 * half]", "rows.query[k][2 * r + half]"),
    ("the next tile over the one that is read", "prefill_attention.cu", "base + Tile::positions, end, key_tile);", "base + Tile::positions, end, value_tile);"),
    ("a NaN is quantised as a number", "common.cuh", "finite ? d : nan_value()", "d"),
    ("a subnormal scale overflows", "common.cuh", "d > 1.17549435e-38f ? 1.0f / d : 0.0f;", "1.0f / d;"),
    ("the minimum's sums are left out", "fragments.cuh", "fused(-high_half(d), least, fused(low_half(d), both, acc))", "fused(low_half(d), both, acc)"),
    ("scales of rows 8 to 15 are those of 0 to 7", "fragments.cuh", "const uint32_t d = r == 0 ? scales.d.x : scales.d.y;", "const uint32_t d = scales.d.x;"),
    ("the bit of another register", "fragments.cuh", "i == 1 ? e << 1 : i == 2", "i == 1 ? e << 2 : i == 2"),
    ("a row that the matrix lacks is read", "load.cu", "  if (!row.exists) return 0;\n", ""),
    ("columns that the row lacks are read", "load.cu", "const int code = e < row.n ? file_code<Id>(row.at, e) : 0;", "const int code = file_code<Id>(row.at, e);"),
    ("a warp too many", "load.cu", "  if (index >= ceil_div(p.n_rows, 16) * ceil_div(p.n_cols, 256)) return;\n", ""),
    ("the larger id among equals", "sample.cu", "(a.key == b.key && a.token < b.token)", "(a.key == b.key && a.token > b.token)"),
    ("the histogram is not atomic", "sample.cu", "atomic_add(histogram + ((key >> shift) & ((1u << bits) - 1)), 1u);", "histogram[(key >> shift) & ((1u << bits) - 1)] += 1u;"),
    ("a stopped sequence goes on", "sample.cu", "  if (state.stopped != 0) return;\n", ""),
    ("the end of the context is not seen", "sample.cu", "  if (state.position + 1 < p.n_ctx) {\n", "  if (true) {\n"),
    ("a column leaves the context", "sample.cu", "  if (state.position + 1 < p.n_ctx) {\n", "  if (state.position < p.n_ctx) {\n"),
    ("more candidates than fit", "sample.cu", "if ((above || equal) && to < sample_candidates) {", "if (above || equal) {"),
    ("every thread moves the state on", "sample.cu", "  if (thread() != 0) return;  // all", "  // all"),
]


class Mutant:
    def __init__(self, what, source, line, text):
        self.what, self.source, self.line, self.text = what, source, line, text
        self.tests = TESTS[source]

    def name(self):
        return f"{self.source}:{self.line} {self.what}"


def mutants(root):
    found = []
    for source in TESTS:
        text = (root / KERNELS / source).read_text()
        for pattern, what in EVERYWHERE:
            for match in pattern.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                found.append(Mutant(f"without its {what}", source, line, text[:match.start()] + "static_cast<void>(0);" + text[match.end():]))
    for what, source, old, new in CHANGES:
        text = (root / KERNELS / source).read_text()
        if text.count(old) != 1:
            sys.exit(f"{source}: '{old.strip()}' stands there {text.count(old)} times, once is needed: {what}")
        found.append(Mutant(what, source, text.count("\n", 0, text.index(old)) + 1, text.replace(old, new)))
    return found


def build(options):
    root, out = options.root.resolve(), options.out.resolve()
    folder = out.with_suffix(".d")
    folder.mkdir(parents=True, exist_ok=True)
    all_mutants = mutants(root)
    table = ROW.findall((root / "include/apr/kernels/cuda_kernels.def").read_text())
    flags = ["-std=c++20", "-O1", "-w", "-ffp-contract=off"]  # -w: a change may leave something unused

    def compile_one(number):
        """One mutant: the modules that hold its source; all other kernels are the emulator's own."""
        mutant, own = all_mutants[number - 1], folder / str(number)
        (own / KERNELS).mkdir(parents=True, exist_ok=True)
        for old in (own / KERNELS).iterdir():
            old.unlink()
        (own / KERNELS / mutant.source).write_text(mutant.text)
        modules = MODULES.get(mutant.source, [mutant.source.removesuffix(".cu")])
        (own / "body.cpp").write_text(
            "".join(f'#include "{KERNELS}/{module}.cu"\n' for module in modules) +
            '#include "kernels/cuda/emu/bodies.h"\nnamespace apr::kernels::cuda::emu {\nEmulator::Body original_body(KernelId);\n'
            f"Emulator::Body mutant_{number}_body(KernelId kernel) {{\n  switch (kernel) {{\n" +
            "".join(f"    case KernelId::{symbol}: return [](const void* p) {{ apr_{name}(*static_cast<const {symbol}Params*>(p)); }};\n"
                    for symbol, name, module in table if module in modules) +
            "    default: return original_body(kernel);\n  }\n}\n}\n")
        compile_file(own / "body.cpp", own / "body.o", ["-I", own])
        return own / "body.o"

    def compile_file(source, out, more):
        done = subprocess.run([*options.launcher.split(), options.compiler, *flags, *more, "-I", root, "-I", root / "include", "-c", source,
                               "-o", out], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{source} does not compile\n{done.stderr}")

    compile_file(root / KERNELS / "emu/bodies.cpp", folder / "original.o", ["-Dbody=original_body"])
    numbers = range(1, len(all_mutants) + 1)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        objects = list(pool.map(compile_one, numbers))
    choice = folder / "choice.cpp"
    choice.write_text('#include <cstdlib>\n#include "kernels/cuda/emu/bodies.h"\nnamespace apr::kernels::cuda::emu {\n'
                      "Emulator::Body original_body(KernelId);\n" + "".join(f"Emulator::Body mutant_{n}_body(KernelId);\n" for n in numbers)
                      + "Emulator::Body body(KernelId kernel) {\n  const char* own = std::getenv(\"APR_CUDA_MUTANT\");\n"
                        "  switch (own == nullptr ? 0 : std::atoi(own)) {\n    case 0: return original_body(kernel);\n"
                      + "".join(f"    case {n}: return mutant_{n}_body(kernel);\n" for n in numbers)
                      + "  }\n  std::abort();\n}\n}\n")
    compile_file(choice, folder / "choice.o", [])
    objects += [folder / "choice.o", folder / "original.o"]
    out.unlink(missing_ok=True)
    subprocess.run([options.compiler, "-r", "-nostdlib", "-o", out, *objects], check=True)
    print(f"cuda_mutants: {len(all_mutants)} compiled")


def run_tests(program, number, tests):
    """(red, what the tests said first)"""
    environment = dict(os.environ, APR_CUDA_MUTANT=str(number), GTEST_FAIL_FAST="1", GTEST_COLOR="no")
    try:
        done = subprocess.run([program, f"--gtest_filter={tests}"], capture_output=True, text=True, env=environment, timeout=120)
    except subprocess.TimeoutExpired:
        return True, "does not end"
    if done.returncode == 0:
        if "[  PASSED  ] 0 tests" in done.stdout or "[  PASSED  ]" not in done.stdout:
            sys.exit(f"{tests}: no such test")
        return False, ""
    said = re.search(r'description: "(.*)"|C\+\+ exception with description "(.*?)"', done.stdout)
    test = re.search(r"\[  FAILED  \] (\S+?),? ", done.stdout)
    why = next((t for t in said.groups() if t), "") if said else "other values"
    return True, f"{test.group(1) if test else f'exit {done.returncode}'}: {why or 'other values'}"


def run(options):
    all_mutants = mutants(options.root.resolve())
    for tests in sorted(set(TESTS.values())):
        red, said = run_tests(options.program, 0, tests)
        if red:
            sys.exit(f"{tests} is red without a mutant: {said}")
    numbered = [(n, m) for n, m in enumerate(all_mutants, 1) if not options.only or options.only in m.name()]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda item: run_tests(options.program, item[0], item[1].tests), numbered))
    survivors = 0
    for (number, mutant), (red, said) in zip(numbered, results):
        survivors += not red
        if options.table:
            print(f"| `{mutant.source}` {mutant.line} | {mutant.what} | {said} |")
        elif not red:
            print(f"SURVIVES: {mutant.name()} ({mutant.tests})")
    print(f"cuda_mutants: {len(numbered) - survivors} of {len(numbered)} red")
    return 1 if survivors or not numbered else 0


def red(options):
    """A mutant number that is not built must end the program; the original under a mutant's number must survive."""
    ended, _ = run_tests(options.program, 1000000, "Prepare.*")
    alive, _ = run_tests(options.program, 0, "Prepare.*")
    if not ended or alive:
        sys.exit("a missing mutant passes, or the original does not")
    with tempfile.TemporaryDirectory() as folder:  # one more row, of a program that has the original there
        text = pathlib.Path(__file__).read_text()
        script = pathlib.Path(folder) / "cuda_mutants.py"
        head, _, _ = text.rpartition('if __name__ ==')
        script.write_text(head + 'TESTS, EVERYWHERE = {"rows.cu": TESTS["rows.cu"]}, []\n'
                          'CHANGES = [("nothing", "rows.cu", "// Kernels that go", "// Kernels that go")]\nsys.exit(main())\n')
        zero = pathlib.Path(folder) / "original"
        zero.write_text(f'#!/bin/sh\nAPR_CUDA_MUTANT=0 exec "{options.program.resolve()}" "$@"\n')
        zero.chmod(0o755)
        done = subprocess.run([sys.executable, script, "run", "--root", options.root, "--program", zero], capture_output=True, text=True)
    if done.returncode != 1 or "SURVIVES: rows.cu:1 nothing" not in done.stdout or "0 of 1 red" not in done.stdout:
        sys.exit(f"a survivor is not reported: exit {done.returncode}\n{done.stdout}{done.stderr}")
    print("cuda_mutants.py: a survivor is reported, exit 1")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["build", "run", "red"])
    parser.add_argument("--root", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--compiler", default="c++")
    parser.add_argument("--launcher", default="")
    parser.add_argument("--program", type=pathlib.Path)
    parser.add_argument("--only")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    return {"build": build, "run": run, "red": red}[options.what](options)


if __name__ == "__main__":
    sys.exit(main())
