#!/usr/bin/env python3
"""Peak memory of loading a model and one token: at most 1.15 times the file, the KV cache and 64 MiB.

usage: memory.py APR_BINARY MODEL     exit status 1 when a run needs more

The peak is the resident set that the kernel counted for the process, pages of the mapped file included.
"""
import json
import os
import sys
import tempfile

RUNS = [("fast", []), ("exact", ["--exact"])]
CONTEXTS = [256, 2048]


def peak_of(command):
    with tempfile.TemporaryFile() as out:
        pid = os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, out.fileno(), 1)])
        _, status, usage = os.wait4(pid, 0)
        out.seek(0)
        text = out.read()
    if status != 0:
        sys.exit(f"{' '.join(command)}: status {os.waitstatus_to_exitcode(status)}\n{text.decode()[:2000]}")
    return usage.ru_maxrss * 1024, json.loads(text)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    binary, model = sys.argv[1:]
    size, n_over = os.path.getsize(model), 0
    for name, flags in RUNS:
        for context in CONTEXTS:
            command = [binary, "run", model, "--raw", "Hello", "-n", "1", "--temp", "0", "--ctx", str(context), "--json"]
            peak, document = peak_of(command + flags)
            kv = document["memory"]["kv_bytes"]
            limit = size * 115 // 100 + kv + (64 << 20)
            if not (0 < kv and size // 4 < peak and document["tokens"]):
                sys.exit(f"{name}: nothing was loaded")
            n_over += peak > limit
            print(f"{name}, {context} tokens: peak {peak:,} bytes, file {size:,}, KV cache {kv:,}: "
                  f"{'within' if peak <= limit else 'ABOVE'} the limit of {limit:,}")
    sys.exit(1 if n_over else 0)


if __name__ == "__main__":
    main()
