#!/usr/bin/env python3
"""Writes the seeds of tests/fuzz/corpus: small sound files, one or a few a target. They are checked in.

usage: make_seeds.py [FOLDER]
"""
import json
import pathlib
import struct
import sys
import zlib

OUT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "corpus")
TEMPLATES = pathlib.Path(__file__).parent.parent / "golden" / "template" / "families"


def save(target, name, data):
    path = OUT / target
    path.mkdir(parents=True, exist_ok=True)
    (path / name).write_bytes(data if isinstance(data, bytes) else data.encode())


# ---- GGUF ----

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
FORMATS = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q", I64: "q", F64: "d"}


def text(value, e="<"):
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack(e + "Q", len(raw)) + raw


def value(kind, v, e="<"):
    if kind == STRING:
        return text(v, e)
    if kind == ARRAY:
        element, items = v
        return struct.pack(e + "IQ", element, len(items)) + b"".join(value(element, i, e) for i in items)
    return struct.pack(e + FORMATS[kind], v)


def gguf(entries, tensors, version=3, alignment=32, e="<"):
    """tensors: (name, dims, type, bytes)."""
    out = b"GGUF" + struct.pack(e + "IQQ", version, len(tensors), len(entries))
    for key, kind, v in entries:
        out += text(key, e) + struct.pack(e + "I", kind) + value(kind, v, e)
    data = b""
    for name, dims, kind, raw in tensors:
        out += text(name, e) + struct.pack(e + "I", len(dims)) + b"".join(struct.pack(e + "Q", d) for d in dims)
        out += struct.pack(e + "IQ", kind, len(data))
        data += raw + b"\0" * (-len(raw) % alignment)
    return out + b"\0" * (-len(out) % alignment) + data


HPARAMS = [("llama.block_count", U32, 1), ("llama.context_length", U32, 64), ("llama.embedding_length", U32, 8),
           ("llama.feed_forward_length", U32, 16), ("llama.attention.head_count", U32, 2),
           ("llama.attention.head_count_kv", U32, 1), ("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
           ("llama.rope.freq_base", F32, 1e4)]
ARCH = ("general.architecture", STRING, "llama")
F32_8 = struct.pack("<8f", *range(8))


def vocabulary(model, tokens, more=()):
    n = len(tokens)
    return [ARCH, ("tokenizer.ggml.model", STRING, model), ("tokenizer.ggml.tokens", ARRAY, (STRING, tokens)),
            ("tokenizer.ggml.scores", ARRAY, (F32, [-float(i) for i in range(n)])),
            ("tokenizer.ggml.token_type", ARRAY, (I32, [2 if i == 0 else 3 if i < 3 else 1 for i in range(n)])), *more]


def make_gguf():
    save("gguf", "empty", gguf([], []))
    save("gguf", "small", gguf([ARCH], [("a", [8], 0, F32_8)]))
    save("gguf", "hparams", gguf([ARCH, *HPARAMS], [("token_embd.weight", [8, 1], 0, F32_8)]))
    kinds = [("k%d" % kind, kind, 1) for kind in FORMATS]
    arrays = [("a%d" % kind, ARRAY, (kind, [1, 0])) for kind in FORMATS]
    nested = ("nest", ARRAY, (ARRAY, [(ARRAY, [(U8, [1])]), (STRING, ["x"])]))
    save("gguf", "values", gguf([ARCH, *kinds, *arrays, nested], []))
    save("gguf", "big_endian_v2", gguf([ARCH, ("x", F64, 0.5)], [("a", [2], 0, b"\0" * 8)], 2, e=">"))
    save("gguf", "blocks", gguf([ARCH, ("general.alignment", U32, 64)],
                                [("q4_0", [32], 2, b"\1" * 18), ("q4_k", [256], 12, b"\2" * 144), ("iq", [256], 16, b"\3" * 66)],
                                alignment=64))
    save("gguf", "split", gguf([("split.no", U16, 0), ("split.count", U16, 1), ("split.tensors.count", I32, 1)],
                               [("a", [8], 0, F32_8)]))
    spm = ["<unk>", "<s>", "</s>", "<0x41>", "\u2581a", "b", "ab", "\u2581ab"]
    save("tokenizer", "spm", gguf(vocabulary("llama", spm), []))
    bpe = ["<unk>", "<s>", "<|endoftext|>", "a", "b", "\u0120", "ab", "\u0120ab", "1", "12", "\u00c3"]
    merges = ("tokenizer.ggml.merges", ARRAY, (STRING, ["a b", "\u0120 ab", "1 2"]))
    ids = [("tokenizer.ggml.bos_token_id", U32, 1), ("tokenizer.ggml.eos_token_id", U32, 2)]
    for pre in ("default", "llama-bpe", "qwen2", "gpt-4o", "smollm", "deepseek-v3"):
        save("tokenizer", "bpe_" + pre, gguf(vocabulary("gpt2", bpe, [("tokenizer.ggml.pre", STRING, pre), merges, *ids]), []))
    wpm = ["[UNK]", "[CLS]", "[SEP]", "\u2581ab", "cd", "\u2581a", "b"]
    special = [("tokenizer.ggml.%s_token_id" % name, U32, i)
               for name, i in (("unknown", 0), ("bos", 1), ("eos", 2), ("seperator", 2), ("padding", 0), ("mask", 0))]
    save("tokenizer", "wpm", gguf(vocabulary("bert", wpm, special), []))


# ---- SafeTensors ----

def safetensors(header, data=b""):
    raw = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    return struct.pack("<Q", len(raw)) + raw + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def make_safetensors():
    save("safetensors", "none", safetensors({}))
    save("safetensors", "small", safetensors({"__metadata__": {"format": "pt"}, "a": entry("F32", [2, 3], 0, 24),
                                              "b": entry("BF16", [4], 24, 32)}, bytes(range(32))))
    save("safetensors", "odd", safetensors({"": entry("U8", [1], 0, 1), "x\n": entry("F8_E4M3", [], 1, 2),
                                            "z": entry("F4", [0, 7], 2, 2), "f6": entry("F6_E2M3", [4], 2, 5)}, b"12345"))
    save("safetensors", "escapes", safetensors(b'{"\\u0061\\n":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}', b"12345678"))
    for name, index in (("good", {"metadata": {"total_size": 8}, "weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}),
                        ("one", {"weight_map": {"a": "a.safetensors"}}),
                        ("missing", {"weight_map": {"a": "c.safetensors", "b": "a.safetensors"}}),
                        ("path", {"weight_map": {"a": "../a.safetensors"}})):
        save("safetensors_index", name, json.dumps(index))


# ---- APR ----

def apr(metadata, entries, data, flags=0x0400):
    """entries: (name, dtype, dims, offset, size)."""
    def pad(raw):
        return raw + b"\0" * (-len(raw) % 64)
    index = b"".join(struct.pack("<H", len(n)) + n + struct.pack("<BB", t, len(d)) + struct.pack("<%dQ" % len(d), *d) +
                     struct.pack("<QQ", o, s) for n, t, d, o, s in entries)
    index_at = 64 + len(pad(metadata))
    head = b"APR\0" + struct.pack("<BBHIQIQQ", 2, 0, flags, len(entries), 64, len(metadata), index_at, index_at + len(pad(index)))
    head += struct.pack("<I", zlib.crc32(head + b"\0" * 20)) + b"\0" * 20
    body = head + pad(metadata) + pad(index) + pad(data)
    return body + struct.pack("<I", zlib.crc32(body))


METADATA = [b"{}", b'{"model_type":"qwen2","hidden_size":64,"license":null,"rope_theta":1e6}',
            b'{"architecture":"llama","num_layers":1,"hidden_size":8,"num_heads":2,"intermediate_size":16,'
            b'"rms_norm_eps":1e-5,"rope_type":2,"config":{"a":[1,{"b":"c"}]}}',
            b'{"tokenizer.model_type":"BPE","tokenizer.vocabulary":["a","b","ab"],"tokenizer.merges":["a b"],'
            b'"tokenizer.bos_token_id":0,"tokenizer.eos_token_id":1}']


def make_apr():
    entries = [(b"a", 0, [2, 3], 0, 24), (b"b", 1, [5], 64, 10), (b"c", 12, [2, 256], 128, 288), (b"d", 128, [3, 11], 448, 36)]
    save("apr", "none", apr(METADATA[0], [], b""))
    save("apr", "small", apr(METADATA[1], entries, bytes(range(256)) * 2, 0x0420))
    save("apr", "vocabulary", apr(METADATA[3], entries[:1], b"\1" * 24, 0x0600))
    for i, metadata in enumerate(METADATA):
        save("apr_metadata", str(i), metadata)


# ---- JSON, tokenizer.json, templates ----

def make_json():
    for i, t in enumerate((b"[]", b'{"a":[1,-2.5e3,true,null,"\\u00e9\\ud83d\\ude00\\n"],"b":{"c":{}}}', b"1e309", b'"\xc3\xa9"',
                           b"[[[[[[[[]]]]]]]]", b" [ 0 , 1 ] ", b"18446744073709551615", b"1e-400")):
        save("json", str(i), t)
    added = [{"id": 0, "content": "<unk>", "special": True}, {"id": 1, "content": "<s>", "special": True, "lstrip": True}]
    bpe = {"version": "1.0", "added_tokens": added, "normalizer": {"type": "NFC"},
           "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False}, "decoder": {"type": "ByteLevel"},
           "model": {"type": "BPE", "vocab": {"<unk>": 0, "<s>": 1, "a": 2, "b": 3, "ab": 4}, "merges": ["a b"]}}
    save("tokenizer_json", "bpe", json.dumps(bpe))
    split = {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "\\p{L}+|\\s+"}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]}
    save("tokenizer_json", "split", json.dumps({**bpe, "pre_tokenizer": split}))
    save("tokenizer_json", "merge_pairs", json.dumps({**bpe, "model": {**bpe["model"], "merges": [["a", "b"]]}}))
    unigram = {"added_tokens": added, "normalizer": {"type": "Sequence", "normalizers": [
                   {"type": "Prepend", "prepend": "\u2581"}, {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
               "pre_tokenizer": None, "decoder": {"type": "Metaspace", "replacement": "\u2581", "add_prefix_space": True},
               "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["<s>", 0.0], ["\u2581a", -1.0], ["b", -2.0]]}}
    save("tokenizer_json", "unigram", json.dumps(unigram))
    wordpiece = {"added_tokens": added, "normalizer": {"type": "BertNormalizer", "lowercase": True},
                 "pre_tokenizer": {"type": "BertPreTokenizer"}, "decoder": {"type": "WordPiece", "prefix": "##"},
                 "model": {"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##",
                           "vocab": {"<unk>": 0, "<s>": 1, "ab": 2, "##c": 3}}}
    save("tokenizer_json", "wordpiece", json.dumps(wordpiece))


SNIPPETS = """{% for m in messages %}{{ loop.index0 ~ m.role | upper }}{% else %}-{% endfor %}
{% set n = namespace(a=1) %}{% if n.a is defined and n.a > 0 %}{{ n.a + 1 }}{% elif x %}{{ x }}{% endif %}
{% macro f(a, b=2) %}{{ a * b }}{% endmacro %}{{ f(3) }}{{ f(1, b='x') }}
{{ messages[0]['content'][::-1] | tojson }}{{ messages | map(attribute='role') | join(', ') }}
{{ '%s %d' % ('a', 3) }}{{ "a{}b".format(1) }}{{ 'x'.split(',') | length }}
{{ messages | selectattr('role', 'equalto', 'user') | list | first }}
{{ range(5) | sum }}{{ [3,1,2] | sort | last }}{{ {'a': 1} | dictsort }}{{ 1 if true else 2 }}
{%- set ns = namespace(found=false) -%}{%- for m in messages -%}{%- if loop.first -%}{% continue %}{%- endif -%}{% break %}{%- endfor -%}
{% filter upper %}abc{% endfilter %}{{ raise_exception('no') }}
{{ strftime_now('%Y-%m-%d') }}{{ x | round(2) }}{{ n ** 2 // 3 % 5 }}{{ not n or n in [1, 3] }}
{% call(u) f(1) %}{{ u }}{% endcall %}{# a comment #}{% raw %}{{ }}{% endraw %}
{{ bos_token }}{{ messages[-1].content.strip().replace('a', 'b').title() }}{{ none is none }}{{ '' is string }}"""


def make_templates():
    for i, line in enumerate(SNIPPETS.split("\n")):
        save("template", "snippet_%02d" % i, line)
    for path in sorted(TEMPLATES.glob("*.jinja")):
        if path.stat().st_size < 4096:
            save("template", path.stem, path.read_bytes())


make_gguf()
make_safetensors()
make_apr()
make_json()
make_templates()
