#!/usr/bin/env python3
"""Runs every command of docs/hex.md and compares what it prints with what stands there.

    tests/conformance/hex_doc.py APR SMOLLM2 [DOCUMENT]

A block that begins with "$ " is a session: each line of it with that mark is run by bash, in one folder for the whole document, in
which SmolLM2-135M-Instruct.Q4_1.gguf and tiny.gguf lie; the lines below are its output. A line "…" stands for any number of lines.
"# exit N" behind a command is its exit status (0). Exit 1: a difference, or nothing was run.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def blocks(text):
    """Fenced and indented blocks, without their marks."""
    lines, fence, block = text.split("\n") + [""], False, []
    for line in lines:
        if line.startswith("```"):
            if block:
                yield block
            fence, block = not fence, []
        elif fence:
            block.append(line)
        elif line.startswith("    ") or (block and not line.strip()):
            block.append(line[4:])
        else:
            if block:
                yield block
            block = []


def sessions(text):
    """(command, expected exit status, expected lines) in order."""
    for block in blocks(text):
        if not block or not block[0].startswith("$ "):
            continue
        for part in re.split(r"^\$ ", "\n".join(block), flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            status = re.search(r"\s+# exit (\d+)$", command)
            yield command, int(status[1]) if status else 0, output.rstrip("\n").split("\n")


def matches(expected, found):
    """Whether the lines are those expected; "…" alone is any number of lines."""
    pattern = "\n".join(r"(?:.*\n)*?.*" if line.strip() == "…" else re.escape(line) for line in expected)
    return re.fullmatch(pattern, "\n".join(found)) is not None


def main(apr, model, document=ROOT / "docs/hex.md"):
    apr, n, n_wrong = os.path.abspath(apr), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(os.path.abspath(model), os.path.join(folder, "SmolLM2-135M-Instruct.Q4_1.gguf"))
        environment = dict(os.environ, PATH=f"{os.path.dirname(apr)}:{os.environ['PATH']}")
        subprocess.run([apr, "synth", "tiny.gguf", "--preset", "tiny"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        for command, status, expected in sessions(pathlib.Path(document).read_text(encoding="utf-8")):
            done = subprocess.run(["bash", "-c", command], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            found = done.stdout.decode("utf-8", "replace").rstrip("\n").split("\n")
            n += 1
            if done.returncode == status and matches(expected, found):
                continue
            n_wrong += 1
            print(f"$ {command}\nexit {done.returncode}, the document says {status}; printed:")
            print("\n".join(found[:200]))
    print(f"hex_doc: {n} commands run, {n_wrong} differ from the document")
    return 0 if n > 0 and n_wrong == 0 else 1


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
