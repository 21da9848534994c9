#!/usr/bin/env python3
"""Fails when a file includes a header of a layer that its own layer may not see.

usage: layers.py ROOT

The table below is the architecture (docs/architecture.md): a layer may include its own headers and those of the layers
listed. It also holds three rules of its own: no CUDA header outside kernels/cuda and src/engine/cuda*, no Eigen outside
diag, and files under kernels/cpu include only compiler headers, .def tables, apr/kernels headers and each other.
"""
import os
import re
import sys

ALLOWED = {
    "core": set(),
    "format": {"core"},
    "kernels": {"core"},
    "model": {"format", "core"},
    "diag": {"model", "kernels", "format", "core"},
    "engine": {"model", "kernels", "format", "core"},
    "inspect": {"diag", "model", "kernels", "format", "core"},
    "convert": {"model", "kernels", "format", "core"},
    "profile": {"engine", "model", "kernels", "format", "core"},
    "qa": {"diag", "engine", "model", "kernels", "format", "core"},
    "serve": {"engine", "model", "format", "core"},
    "cli": {"serve", "qa", "profile", "convert", "inspect", "engine", "diag", "model", "kernels", "format", "core"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]')
SOURCE = (".h", ".hpp", ".cpp", ".cu", ".cuh", ".inl", ".def")
CUDA = re.compile(r"^(cuda|cublas|curand|cufft|nvrtc|nvml|nv/|cub/|thrust/)")
COMPILER_HEADERS = {"stddef.h", "stdint.h", "string.h", "immintrin.h", "arm_neon.h", "float.h", "limits.h"}


def layer_of(path):
    """Layer of a file, from its path below the root; None for files of no layer (tests)."""
    parts = path.split("/")
    if parts[0] == "kernels":
        return "kernels"
    if parts[0] == "src" and len(parts) > 2:
        return parts[1]
    if parts[:2] == ["include", "apr"] and len(parts) > 3:
        return parts[2]
    return None


def layer_of_include(header, path):
    """Layer that an include names; a bare name is a private header beside the file."""
    if header.startswith("apr/"):
        return header.split("/")[1]
    if header.startswith("src/") or header.startswith("kernels/"):
        return layer_of(header)
    return layer_of(path) if "/" not in header else None


def breaches(path, text):
    layer = layer_of(path)
    if layer is None:
        return
    if layer not in ALLOWED:
        yield 0, f"layer '{layer}' is not in the table"
        return
    for number, line in enumerate(text.split("\n"), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        quoted, header = match.group(1) == '"', match.group(2)
        target = layer_of_include(header, path)
        if quoted and target and target != layer and target not in ALLOWED[layer]:
            yield number, f"{layer} may not include {target} ({header})"
        if quoted and header.startswith("src/") and target != layer:
            yield number, f"private header of another layer: {header}"
        if CUDA.match(header) and not (path.startswith("kernels/cuda/") or path.startswith("src/engine/cuda")):
            yield number, f"CUDA header outside kernels/cuda and src/engine/cuda*: {header}"
        if header.startswith("Eigen/") and layer != "diag":
            yield number, f"Eigen outside diag: {header}"
        if path.startswith("kernels/cpu/"):
            own = header.startswith(("apr/kernels/", "kernels/cpu/")) or header.endswith(".def") or (quoted and "/" not in header)
            if not own and header not in COMPILER_HEADERS:
                yield number, f"kernels/cpu includes only compiler headers, .def tables and its own: {header}"


def main(root):
    n_files = 0
    found = []
    for top in ("src", "include", "kernels"):
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                if not name.endswith(SOURCE):
                    continue
                full = os.path.join(folder, name)
                path = os.path.relpath(full, root)
                n_files += 1
                with open(full, encoding="utf-8") as file:
                    found += [f"{path}:{number}: {text}" for number, text in breaches(path, file.read())]
    for line in found:
        print(line)
    print(f"layers: {n_files} files, {len(found)} breaches")
    if n_files == 0:
        print("layers: nothing was checked")
        return 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
