#!/usr/bin/env python3
"""Fails when a CUDA kernel spills, uses local memory, or takes more registers than its row in cuda_kernels.def allows.

usage: ptxas_report.py ROOT [--archs 75,80,...] [--source FILE.cu --kernel NAME --registers N]

Compiles every module of the table with nvcc, warnings as errors, for each architecture of the list that this nvcc knows (it is
asked; the others are named), and its PTX; reads the report of ptxas. With --source one file outside the table is
held against a budget given on the line: for the test that proves that this test can fail.
"""
import argparse
import concurrent.futures
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROW = re.compile(r'^APR_CUDA_KERNEL\(\w+, (\w+), (\w+), (\d+), (\d+)\)', re.M)


def report(root, source, arch, flags=()):
    """{entry: {registers, stack, spill_stores, spill_loads}} of one file."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["nvcc", f"-gencode=arch=compute_{arch},code=[sm_{arch},compute_{arch}]", "-O3", "-std=c++17", "-fmad=false",
                   "-Werror", "all-warnings", *flags, "-I", str(root), "-I", str(root / "include"), "-Xptxas", "-v", "-fatbin",
                   "-o", f"{folder}/out.fatbin", str(source)]
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
    parser.add_argument("--archs", default="75,80,86,89,90,100,120")
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
    known = set(subprocess.run(["nvcc", "--list-gpu-arch"], capture_output=True, text=True, check=True).stdout.split())
    wanted = options.archs.split(",")
    archs = [a for a in wanted if f"compute_{a}" in known]
    if missing := [a for a in wanted if a not in archs]:
        print(f"this nvcc cannot compile for {', '.join(missing)}: not tested")
    # The variant with time stamps (kernels/cuda/stamps.cuh) is for measuring: one architecture, and what a block may have at most.
    stamped = [] if options.source else ["90"]
    jobs = {(source, arch) for _, source, _ in rows for arch in archs}
    jobs |= {(source, arch, ("-DAPR_STAMPS=1",)) for _, source, _ in rows for arch in stamped}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        reports = dict(zip(jobs, pool.map(lambda job: report(root, *job), jobs)))
    found = []
    for name, source, budget in rows:
        facts = {arch: reports[source, arch].get(name) for arch in archs}
        for arch in archs:
            found += [f"sm_{arch}: {line}" for line in breaches(name, facts[arch], budget)]
        print(f"{name:16} at most {budget:3} registers: " + ", ".join(
            f"sm_{arch} {(of or {}).get('registers', '?')}" + (f" and {of['spills']} bytes spilled" if (of or {}).get("spills") else "")
            for arch, of in facts.items()))
        for arch in stamped:
            facts = reports[source, arch, ("-DAPR_STAMPS=1",)].get(f"{name}_stamped")
            found += [f"sm_{arch}: {line}" for line in breaches(f"{name}_stamped", facts, max(budget, 128))]
    for line in found:
        print(line)
    print(f"ptxas: {len(rows)} kernels on {len(archs)} architectures ({', '.join(archs)}), {len(found)} breaches")
    if "90" not in archs and "90" in wanted:
        sys.exit("sm_90 must be compiled")
    return 1 if found or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
