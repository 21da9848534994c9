#!/usr/bin/env python3
"""Makes the golden files in data/ with the safetensors package itself (written with 0.8.0).

Usage: python make.py OUTPUT_FOLDER   (needs: pip install safetensors numpy)

all_dtypes.safetensors   one tensor per dtype that the package can save, and odd shapes
all_dtypes.txt           what the package reads back: name, dtype, shape, SHA-256 of the data, one line per tensor
model*                   two shards and their index

F6_E2M3 and F6_E3M2 are missing: version 0.8.0 reads them and has no way to save them.
"""
import ctypes, hashlib, json, os, sys
import safetensors
from safetensors import TensorSpec, deserialize, serialize

DTYPES = {  # name for TensorSpec: bits of one element
    "bool": 8, "float4_e2m1fn_x2": 4, "uint8": 8, "int8": 8,
    "float8_e5m2": 8, "float8_e4m3fn": 8, "float8_e8m0fnu": 8, "float8_e4m3fnuz": 8, "float8_e5m2fnuz": 8,
    "int16": 16, "uint16": 16, "float16": 16, "bfloat16": 16, "int32": 32, "uint32": 32, "float32": 32,
    "complex64": 64, "float64": 64, "int64": 64, "uint64": 64,
}
buffers = []  # TensorSpec holds bare addresses


def data_of(name, size):
    out = b""
    while len(out) < size:
        out += hashlib.sha256(f"{name}/{len(out)}".encode()).digest()
    return out[:size]


def spec(name, dtype, shape, bits):
    elements = 1
    for n in shape:
        elements *= n
    data = data_of(name, elements * bits // 8)
    if dtype == "bool":
        data = bytes(b & 1 for b in data)
    buffer = ctypes.create_string_buffer(data, max(1, len(data)))
    buffers.append(buffer)
    if dtype.endswith("_x2"):  # the constructor doubles the last dimension of packed types
        shape = shape[:-1] + [shape[-1] // 2]
    return TensorSpec(dtype=dtype, shape=shape, data_ptr=ctypes.addressof(buffer), data_len=len(data))


def listing(blob):
    lines = []
    for name, tensor in deserialize(blob):
        shape = ",".join(map(str, tensor["shape"]))
        lines.append("\t".join([json.dumps(name), tensor["dtype"], f"[{shape}]", hashlib.sha256(bytes(tensor["data"])).hexdigest()]))
    return "\n".join(sorted(lines)) + "\n"


def write(folder, name, content):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as out:
        out.write(content if isinstance(content, bytes) else content.encode())


def main(folder):
    tensors = {}
    for dtype, bits in DTYPES.items():
        tensors["t." + dtype] = spec("t." + dtype, dtype, [2, 3, 4], bits)
    tensors["scalar"] = spec("scalar", "float32", [], 32)
    tensors["empty"] = spec("empty", "float32", [0, 4], 32)
    tensors["odd \"name\"\n\u00e9"] = spec("odd", "float16", [1], 16)
    blob = serialize(tensors, {"format": "pt", "made by": "safetensors " + safetensors.__version__})
    write(folder, "all_dtypes.safetensors", blob)
    write(folder, "all_dtypes.txt", listing(blob))
    weight_map, total = {}, 0
    for shard in (1, 2):
        name = f"model-{shard:05}-of-00002.safetensors"
        tensors = {f"layer.{shard}.{i}": spec(f"layer.{shard}.{i}", "float32", [i, 2], 32) for i in (1, 2)}
        blob = serialize(tensors, {"format": "pt"})
        write(folder, name, blob)
        weight_map.update({tensor: name for tensor in tensors})
        total += 8 * 3
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    write(folder, "model.safetensors.index.json", json.dumps(index, indent=2) + "\n")


main(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "data"))
