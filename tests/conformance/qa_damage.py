#!/usr/bin/env python3
"""Damages a real model in many ways and asks `apr qa`: each copy must be red by the gate that should see it, and by no other.

usage: qa_damage.py APR MODEL [--only NAME]

MODEL is SmolLM2-135M-Instruct in Q4_1 (GGUF, as scripts/lib.sh fetches it). It must be green itself, with every gate.
Copies stand in a temporary folder, one at a time. Ends with a line of counts; exit status 1 when a copy is not red as
expected, or when nothing was compared. Standard library only.
"""
import json
import os
import struct
import subprocess
import sys
import tempfile

STATIC = ["container", "architecture", "tensors", "values", "tokenizer", "template"]  # gates that do not run the model
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
Q4_1_BLOCK = 20  # bytes: f16 d, f16 m, 16 bytes of nibbles


class Gguf:
    """Just enough of a GGUF file to know where things stand and to write its header anew."""

    def __init__(self, data):
        self.data = data
        assert data[:4] == b"GGUF"
        n_tensors, n_kv = struct.unpack_from("<QQ", data, 8)
        self.at = 24
        self.keys = {}  # name: (begin of the entry, begin of the value, end, type)
        for _ in range(n_kv):
            begin, name, kind = self.at, self.string(), self.number("I")
            value = self.at
            self.skip(kind)
            self.keys[name.decode()] = (begin, value, self.at, kind)
        self.infos_at = self.at
        self.tensors = {}  # name: dict
        for _ in range(n_tensors):
            begin, name = self.at, self.string().decode()
            n_dims = self.number("I")
            dims_at = self.at
            dims = [self.number("Q") for _ in range(n_dims)]
            type_at, kind, offset = self.at, self.number("I"), self.number("Q")
            self.tensors[name] = {"begin": begin, "dims_at": dims_at, "dims": dims, "type_at": type_at, "type": kind,
                                  "offset": offset}
        self.infos_end = self.at
        self.data_at = (self.at + 31) // 32 * 32

    def number(self, code):
        size = struct.calcsize(code)
        value = struct.unpack_from("<" + code, self.data, self.at)[0]
        self.at += size
        return value

    def string(self):
        length = self.number("Q")
        self.at += length
        return bytes(self.data[self.at - length:self.at])

    def skip(self, kind):
        if kind == 8:
            self.string()
        elif kind == 9:
            element, count = self.number("I"), self.number("Q")
            for _ in range(count):
                self.skip(element)
        else:
            self.number(SCALARS[kind])

    def place(self, tensor):
        return self.data_at + self.tensors[tensor]["offset"]

    def size(self, tensor):
        n = 1
        for d in self.tensors[tensor]["dims"]:
            n *= d
        return {0: n * 4, 3: n // 32 * Q4_1_BLOCK}[self.tensors[tensor]["type"]]

    def put(self, at, code, value):
        struct.pack_into("<" + code, self.data, at, value)

    def strings(self, key):
        self.at = self.keys[key][1] + 4
        return [self.string() for _ in range(self.number("Q"))]

    def with_arrays(self, new):
        """The same file with some arrays cut to their first elements: {key: count}."""
        out = bytearray(self.data[:24])
        for key, (begin, value, end, _) in self.keys.items():
            if key not in new:
                out += self.data[begin:end]
                continue
            self.at = value
            element, count = self.number("I"), self.number("Q")
            assert new[key] < count
            for _ in range(new[key]):
                self.skip(element)
            out += self.data[begin:value] + struct.pack("<IQ", element, new[key]) + self.data[value + 12:self.at]
        out += self.data[self.infos_at:self.infos_end]
        out += b"\0" * (-len(out) % 32)
        return out + self.data[self.data_at:]


def truncated(g):
    return g.data[:-(1 << 20)]


def zeroed_region(g):
    at = g.place("blk.10.ffn_down.weight") + 40960
    g.data[at:at + 65536] = bytes(65536)


def nan_scale(g):
    g.put(g.place("blk.5.attn_q.weight") + 1234 * Q4_1_BLOCK, "H", 0x7E00)


def flipped_scale_exponent(g):
    at = g.place("blk.7.ffn_up.weight") + 5000 * Q4_1_BLOCK
    g.put(at, "H", struct.unpack_from("<H", g.data, at)[0] ^ 0x4000)


def swapped_bytes_of_scales(g):
    at, size = g.place("blk.3.ffn_gate.weight"), g.size("blk.3.ffn_gate.weight")
    for block in range(at, at + size, Q4_1_BLOCK):
        g.data[block:block + 4] = bytes((g.data[block + 1], g.data[block], g.data[block + 3], g.data[block + 2]))


def swapped_bytes_of_norm(g):
    at, size = g.place("blk.0.attn_norm.weight"), g.size("blk.0.attn_norm.weight")
    for element in range(at, at + size, 4):
        g.data[element:element + 4] = g.data[element:element + 4][::-1]


def infinite_norm(g):
    g.put(g.place("output_norm.weight") + 4 * 17, "I", 0x7F800000)


def zero_tensor(g):
    at, size = g.place("blk.29.attn_output.weight"), g.size("blk.29.attn_output.weight")
    g.data[at:at + size] = bytes(size)


def repeated_rows(g):
    at, row = g.place("blk.15.attn_k.weight"), 576 // 32 * Q4_1_BLOCK
    g.data[at + 8 * row:at + 9 * row] = g.data[at + 7 * row:at + 8 * row]


def missing_tensor(g):
    begin = g.tensors["blk.12.ffn_up.weight"]["begin"]
    g.data[begin + 8:begin + 28] = b"blk.12.ffn_uq.weight"


def wrong_shape(g):
    t = g.tensors["blk.2.ffn_up.weight"]
    for i, d in enumerate(reversed(t["dims"])):
        g.put(t["dims_at"] + 8 * i, "Q", d)


def wrong_head_count(g):
    g.put(g.keys["llama.attention.head_count_kv"][1], "I", 2)  # does not divide 9


def zero_rope_base(g):
    g.put(g.keys["llama.rope.freq_base"][1], "f", 0.0)


def end_is_a_word(g):
    g.put(g.keys["tokenizer.ggml.eos_token_id"][1], "I", 1000)


def end_is_the_start_marker(g):
    g.put(g.keys["tokenizer.ggml.eos_token_id"][1], "I", 1)


def dropped_tokens(g):
    return g.with_arrays({"tokenizer.ggml.tokens": 49000, "tokenizer.ggml.token_type": 49000})


def truncated_merges(g):
    return g.with_arrays({"tokenizer.ggml.merges": 48000})


def unknown_pre_tokenizer(g):
    at = g.keys["tokenizer.ggml.pre"][1] + 8
    g.data[at:at + 6] = b"smolLM"


def broken_template(g):
    _, value, end, _ = g.keys["tokenizer.chat_template"]
    at = g.data.index(b"{% endfor %}", value, end)
    g.data[at:at + 12] = b"{% endfoo %}"


def template_without_content(g):
    _, value, end, _ = g.keys["tokenizer.chat_template"]
    at = g.data.index(b"message['content']", value, end)
    g.data[at:at + 18] = b"message['role']   "


def wrong_rope_base(g):
    g.put(g.keys["llama.rope.freq_base"][1], "f", 10.0)  # breaks no rule


def unpermuted_queries(g):
    """Rows of the query heads in the other order of the two rotary layouts: what a converter that forgets to permute does."""
    row = 576 // 32 * Q4_1_BLOCK
    for layer in range(30):
        at = g.place(f"blk.{layer}.attn_q.weight")
        for head in range(9):
            begin = at + head * 64 * row
            rows = [bytes(g.data[begin + i * row:begin + (i + 1) * row]) for i in range(64)]
            g.data[begin:begin + 64 * row] = b"".join(rows[0::2] + rows[1::2])


DAMAGES = [  # what, the gates that must be red
    (truncated, {"container"}),
    (zeroed_region, {"values"}),
    (nan_scale, {"values"}),
    (flipped_scale_exponent, {"values"}),
    (swapped_bytes_of_scales, {"values"}),
    (swapped_bytes_of_norm, {"values"}),
    (infinite_norm, {"values"}),
    (zero_tensor, {"values"}),
    (repeated_rows, {"values"}),
    (missing_tensor, {"tensors"}),
    (wrong_shape, {"tensors"}),
    (wrong_head_count, {"architecture"}),
    (zero_rope_base, {"architecture"}),
    (end_is_a_word, {"tokenizer"}),  # <|im_end|> still ends answers, by its name
    (end_is_the_start_marker, {"template"}),
    (dropped_tokens, {"tokenizer"}),
    (truncated_merges, {"tokenizer"}),
    (unknown_pre_tokenizer, {"tokenizer"}),
    (broken_template, {"template"}),
    (template_without_content, {"template"}),
    (wrong_rope_base, {"golden"}),
    (unpermuted_queries, {"golden"}),
]


def verdicts(apr, path, gates, more=()):
    command = [apr, "qa", path, "--json", *more]
    for gate in gates:
        command += ["--only", gate]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    document = json.loads(done.stdout)
    assert document["schema"] == "apr.qa/1", done.stdout[:400]
    return done.returncode, {g["name"]: g for g in document["gates"]}


def main():
    arguments = sys.argv[1:]
    only = None
    if "--only" in arguments:
        at = arguments.index("--only")
        only = arguments[at + 1]
        del arguments[at:at + 2]
    if len(arguments) != 2:
        sys.exit(__doc__)
    apr, model = arguments
    with open(model, "rb") as file:
        original = file.read()
    n_checked = n_wrong = 0
    if only is None:
        status, gates = verdicts(apr, model, [], ["--assert-tps", "0.001", "--require", "throughput"])
        bad = {name: g["message"] for name, g in gates.items() if g["verdict"] != "pass" or g["compared"] == 0}
        n_checked += 1
        n_wrong += 1 if bad or status != 0 else 0
        print(f"healthy: exit {status}, {len(gates)} gates" + (f"; NOT GREEN: {bad}" if bad else ", all green"), flush=True)
    with tempfile.TemporaryDirectory(prefix="apr_qa_damage_") as folder:
        path = os.path.join(folder, "damaged.gguf")
        for damage, expected in DAMAGES:
            if only not in (None, damage.__name__):
                continue
            g = Gguf(bytearray(original))
            data = damage(g)
            data = g.data if data is None else data
            assert data != original, damage.__name__
            with open(path, "wb") as file:
                file.write(data)
            status, gates = verdicts(apr, path, STATIC + sorted(expected - set(STATIC)))
            red = {name for name, g in gates.items() if g["verdict"] in ("fail", "error")}
            right = red == expected and status == 5
            n_checked += 1
            n_wrong += 0 if right else 1
            said = "; ".join(f"{name}: {gates[name]['message']}" for name in sorted(red))
            print(f"{damage.__name__}: {'red' if right else 'WRONG, expected ' + str(sorted(expected))}: {said}", flush=True)
    print(f"qa_damage: {n_checked} models judged, {n_wrong} wrong")
    sys.exit(1 if n_wrong or n_checked == 0 else 0)


if __name__ == "__main__":
    main()
