#!/usr/bin/env python3
"""The measuring part of hex_peers.sh."""
import argparse
import os
import shlex
import statistics
import subprocess
import sys
import time

HEADER_MS, HEADER_MB = 20, 32


def measure(command):
    """Milliseconds and MB of one run."""
    start = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=[
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)])
    _, status, usage = os.wait4(pid, 0)
    ms = (time.perf_counter() - start) * 1000
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 5):  # 5: apr found damage
        sys.exit(f"hex_peers: {shlex.join(command)} ended with {code}")
    return ms, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--apr", required=True)
    parser.add_argument("--gguf-dump", required=True)
    parser.add_argument("--before", default="")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("header_model")
    parser.add_argument("scan_model")
    options = parser.parse_args()
    before = shlex.split(options.before)
    hex_of = lambda model, *flags: [options.apr, "hex", model, *flags]
    middle = str(os.path.getsize(options.header_model) // 2)
    groups = [
        (options.header_model, options.rounds, [
            ("apr hex --header", hex_of(options.header_model, "--header")),
            ("apr hex --list", hex_of(options.header_model, "--list")),
            ("apr hex --at OFFSET", hex_of(options.header_model, "--at", middle)),
            ("gguf-dump", [options.gguf_dump, options.header_model]),
            ("gguf-dump --no-tensors", [options.gguf_dump, "--no-tensors", options.header_model])]),
        (options.scan_model, max(1, options.rounds // 2), [
            ("cat", ["cat", options.scan_model]),
            ("apr hex --entropy", hex_of(options.scan_model, "--entropy")),
            ("apr hex --damage", hex_of(options.scan_model, "--damage")),
            ("apr hex --stats", hex_of(options.scan_model, "--stats")),
            ("sha256sum", ["sha256sum", options.scan_model]),
            ("ent", ["ent", options.scan_model])])]
    failed = False
    for model, rounds, commands in groups:
        size = os.path.getsize(model)
        subprocess.run(["cat", model], stdout=subprocess.DEVNULL, check=True)  # into the page cache
        seen = {name: [] for name, _ in commands}
        for _ in range(rounds):
            for name, command in commands:
                seen[name].append(measure(before + command))
        print(f"\n{os.path.basename(model)}, {size:,} bytes, {rounds} rounds\n")
        print("| Command | median ms | best ms | GB/s | peak MB |\n|---|---:|---:|---:|---:|")
        for name, runs in seen.items():
            ms = statistics.median(r[0] for r in runs)
            memory = max(r[1] for r in runs)
            rate = f"{size / ms / 1e6:.2f}" if model == options.scan_model else ""  # a header's command reads little of the file
            print(f"| `{name}` | {ms:.1f} | {min(r[0] for r in runs):.1f} | {rate} | {memory:.0f} |")
            if model == options.header_model and name.startswith("apr") and not (ms < HEADER_MS and memory < HEADER_MB):
                print(f"hex_peers: {name} is over {HEADER_MS} ms or {HEADER_MB} MB", file=sys.stderr)
                failed = True
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
