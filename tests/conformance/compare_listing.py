#!/usr/bin/env python3
"""Compares `apr hex FILE --list --json` with what the Python packages gguf or safetensors read from the same file.

    compare_listing.py APR_BINARY FILE...

For every tensor: name, place in the list, dtype, shape, absolute offset, stored bytes.
Exit 0: all equal. Otherwise a difference, or nothing could be compared; it is printed.
"""
import json
import struct
import subprocess
import sys


def listing_of_apr(binary, path):
    result = subprocess.run([binary, "hex", path, "--list", "--json"], capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"{binary} hex {path} --list --json: exit {result.returncode}\n{result.stdout}{result.stderr}")
    document = json.loads(result.stdout)
    return [(t["name"], t["dtype"], tuple(t["shape"]), t["offset"], t["size_bytes"]) for t in document["tensors"]]


def listing_of_gguf(path):
    import gguf

    rows = []
    for t in gguf.GGUFReader(path).tensors:
        shape = tuple(int(d) for d in reversed(t.shape))
        rows.append((t.name, t.tensor_type.name, shape, int(t.data_offset), int(t.n_bytes)))
    return rows


def listing_of_safetensors(path):
    """Names, dtypes and shapes by the package; offsets, which it does not tell, from the header itself."""
    from safetensors import safe_open

    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    rows = {}
    with safe_open(path, framework="numpy") as model:
        for name in model.keys():
            view = model.get_slice(name)
            begin, end = header[name]["data_offsets"]
            rows[name] = (name, view.get_dtype(), tuple(view.get_shape()), 8 + length + begin, end - begin)
    return rows


def differences(expected, found):
    for i, (want, have) in enumerate(zip(expected, found)):
        if want != have:
            yield f"tensor {i}: expected {want}, found {have}"
    if len(expected) != len(found):
        yield f"expected {len(expected)} tensors, found {len(found)}"


def compare(binary, path):
    found = listing_of_apr(binary, path)
    with open(path, "rb") as file:
        magic = file.read(4)
    if magic == b"GGUF":
        expected = listing_of_gguf(path)
    else:  # the package sorts by name; apr keeps the order of the header
        rows = listing_of_safetensors(path)
        expected = [rows[name] for name in (row[0] for row in found) if name in rows]
        expected += [row for name, row in rows.items() if name not in {row[0] for row in found}]
    if not expected:
        raise SystemExit(f"{path}: the Python package reads no tensor from it, so nothing was compared")
    lines = list(differences(expected, found))
    for line in lines[:20]:
        print(f"{path}: {line}")
    print(f"{path}: {len(expected)} tensors, {len(lines)} differences")
    return not lines


def main():
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    results = [compare(sys.argv[1], path) for path in sys.argv[2:]]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
