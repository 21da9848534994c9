#!/usr/bin/env python3
"""Fails when a CUDA kernel spills, uses local memory, or takes more registers than its row in cuda_kernels.def allows.

usage: ptxas_report.py ROOT [--arch sm_90] [--source FILE.cu --kernel NAME --registers N]

Compiles every module of the table with nvcc and reads the report of ptxas. With --source one file outside the table is
held against a budget given on the line: for the test that proves that this test can fail.
"""
import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROW = re.compile(r'^APR_CUDA_KERNEL\(\w+, "(\w+)", (\w+), (\d+), (\d+)\)', re.M)


def report(root, source, arch, folder):
    """{entry: {registers, stack, spill_stores, spill_loads}} of one file."""
    command = ["nvcc", f"-arch={arch}", "-O3", "-std=c++17", "-fmad=false", "-I", str(root), "-I", str(root / "include"),
               "-Xptxas", "-v", "-cubin", "-o", str(pathlib.Path(folder) / "out.cubin"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    found, entry = {}, None
    for line in (done.stdout + done.stderr).splitlines():
        if match := re.search(r"Compiling entry function '(\w+)'", line):
            entry = found.setdefault(match.group(1), {})
        elif entry is not None and (match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line)):
            entry.setdefault("stack", int(match.group(1)))
            entry.setdefault("spills", int(match.group(2)) + int(match.group(3)))
        elif entry is not None and (match := re.search(r"Used (\d+) registers", line)):
            entry["registers"] = int(match.group(1))
            entry["local"] = int(m.group(1)) if (m := re.search(r"(\d+) bytes lmem", line)) else 0
    return found


def breaches(name, facts, budget):
    if facts is None or "registers" not in facts or "spills" not in facts:
        yield f"{name}: ptxas reports nothing about it"
        return
    if facts["registers"] > budget:
        yield f"{name}: {facts['registers']} registers, at most {budget} are allowed"
    for what in ("spills", "stack", "local"):
        if facts.get(what, 0) != 0:
            yield f"{name}: {facts[what]} bytes of {what}, none are allowed"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("--arch", default="sm_90")
    parser.add_argument("--source", type=pathlib.Path)
    parser.add_argument("--kernel")
    parser.add_argument("--registers", type=int)
    options = parser.parse_args()
    if shutil.which("nvcc") is None:
        sys.exit("there is no nvcc")
    root = options.root.resolve()
    if options.source:
        rows = [(options.kernel, options.source, options.registers)]
    else:
        table = (root / "include/apr/kernels/cuda_kernels.def").read_text()
        rows = [(f"apr_{name}", root / f"kernels/cuda/{module}.cu", int(registers))
                for name, module, _, registers in ROW.findall(table)]
        if len(rows) != len(re.findall(r"^APR_CUDA_KERNEL", table, re.M)):
            sys.exit("cuda_kernels.def has rows that this script cannot read")
    found, reports = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for name, source, budget in rows:
            if source not in reports:
                reports[source] = report(root, source, options.arch, folder)
            facts = reports[source].get(name)
            found += breaches(name, facts, budget)
            if facts:
                print(f"{name:16} {facts.get('registers', '?'):>4} of {budget} registers, {facts.get('spills', '?')} bytes spilled")
    for line in found:
        print(line)
    print(f"ptxas: {len(rows)} kernels on {options.arch}, {len(found)} breaches")
    return 1 if found or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
