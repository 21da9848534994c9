#!/usr/bin/env python3
"""Holds apr's reading of tokenizer.json against the Python package `tokenizers`.

Usage: tokenizer_json.py PROGRAM VOCAB_DIR [TOKENIZER.json ...]
PROGRAM is tokenizer_json_ids; VOCAB_DIR holds the ggml-vocab-*.gguf files of llama.cpp's models folder, from which documents
are put together in the forms that Llama, Qwen, Gemma, GPT-2, SmolLM, Mistral and SentencePiece models have. Needs `gguf` and
`tokenizers`. Compares ids with and without special tokens on random texts; fails on a difference or when nothing was compared.
"""
import json
import os
import subprocess
import sys
import tempfile
import unicodedata

from gguf import GGUFReader
from tokenizers import Tokenizer

N_TEXTS = 1000
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?"
          r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")


def byte_level(prefix=False, regex=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def sequence(key, *parts):
    return {"type": "Sequence", key: list(parts)}


def template(token, token_id, suffix=None):
    single = [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    special = {token: {"id": token, "ids": [token_id], "tokens": [token]}}
    if suffix:
        single.append({"SpecialToken": {"id": suffix[0], "type_id": 0}})
        special[suffix[0]] = {"id": suffix[0], "ids": [suffix[1]], "tokens": [suffix[0]]}
    return {"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": special}


class Vocab:
    def __init__(self, folder, name):
        fields = GGUFReader(os.path.join(folder, f"ggml-vocab-{name}.gguf")).fields

        def get(key):
            return fields["tokenizer.ggml." + key].contents() if "tokenizer.ggml." + key in fields else None
        self.tokens, self.types, self.scores, self.merges = map(get, ("tokens", "token_type", "scores", "merges"))
        self.added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                       "special": k == 3} for i, (t, k) in enumerate(zip(self.tokens, self.types)) if k in (3, 4)]

    def ids(self):
        return {t: i for i, t in enumerate(self.tokens)}

    def merges_from_scores(self):
        """Every way to put a token together from two, by falling score: what converters do with SentencePiece BPE."""
        known, rows = self.ids(), []
        for token, score, kind in zip(self.tokens, self.scores, self.types):
            if kind != 1:
                continue
            pairs = [(token[:i], token[i:]) for i in range(1, len(token))]
            pairs = [p for p in pairs if p[0] in known and p[1] in known]
            rows += sorted(((a, b, score) for a, b in pairs), key=lambda r: (known[r[0]], known[r[1]]))
        rows.sort(key=lambda r: (r[2], len(r[0]), len(r[1])), reverse=True)
        return [[a, b] for a, b, _ in rows]


def document(vocab, model, normalizer=None, pre=None, post=None, decoder=None):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": vocab.added, "normalizer": normalizer,
            "pre_tokenizer": pre, "post_processor": post, "decoder": decoder, "model": model}


def bpe(vocab, merges, **options):
    return {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocab.ids(), "merges": merges, **options}


def documents(folder):
    llama3, qwen2, gpt2, spm = (Vocab(folder, n) for n in ("llama-bpe", "qwen2", "gpt-2", "llama-spm"))
    dec = byte_level()
    post = sequence("processors", byte_level(), template("<|begin_of_text|>", 128000))
    pre = sequence("pretokenizers", split({"Regex": LLAMA3}), byte_level())
    yield "Llama 3", document(llama3, bpe(llama3, llama3.merges, ignore_merges=True), None, pre, post, dec)
    pre = sequence("pretokenizers", split({"Regex": QWEN2}), byte_level())
    pairs = [m.split(" ", 1) for m in qwen2.merges]
    yield "Qwen 2", document(qwen2, bpe(qwen2, pairs), {"type": "NFC"}, pre, None, dec)
    yield "GPT-2", document(gpt2, bpe(gpt2, gpt2.merges), None, byte_level(regex=True), None, dec)
    yield "GPT-2, space in front", document(gpt2, bpe(gpt2, gpt2.merges), None, byte_level(True, True), None, dec)
    pre = sequence("pretokenizers", {"type": "Digits", "individual_digits": True}, byte_level(regex=True))
    yield "SmolLM", document(gpt2, bpe(gpt2, gpt2.merges), None, pre, None, dec)
    pre = sequence("pretokenizers", split({"Regex": TEKKEN}), byte_level())
    yield "Mistral Nemo", document(llama3, bpe(llama3, llama3.merges, ignore_merges=True), None, pre, None, dec)
    pre = sequence("pretokenizers", {"type": "Punctuation", "behavior": "Isolated"}, split({"Regex": r"\s+"}, "Removed"),
                   split({"Regex": r"\p{L}+"}, "Removed", True), byte_level())
    yield "removed parts", document(gpt2, bpe(gpt2, gpt2.merges), None, pre, None, dec)

    raw = dict(unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    merges = spm.merges_from_scores()
    norm = sequence("normalizers", {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"})
    dec = sequence("decoders", {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
                   {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0})
    yield "Llama 2", document(spm, bpe(spm, merges, **raw), norm, None, template("<s>", 1, ("</s>", 2)), dec)
    for scheme in ("first", "always", "never"):
        meta = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": scheme == "always"}
        yield f"Llama 2, Metaspace {scheme}", document(spm, bpe(spm, merges, **raw), None, meta, template("<s>", 1), dec)
    norm = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    yield "Gemma", document(spm, bpe(spm, merges, **raw), norm, split({"String": " "}, "MergedWithPrevious"), template("<s>", 1), dec)
    scores = [[t, s if k == 1 else 0.0] for t, s, k in zip(spm.tokens, spm.scores, spm.types)]
    meta = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    for fallback in (True, False):
        unigram = {"type": "Unigram", "unk_id": 0, "vocab": scores, "byte_fallback": fallback}
        yield f"Unigram, byte fallback {fallback}", document(spm, unigram, {"type": "NFKC"}, meta, None, sequence(
            "decoders", {"type": "ByteFallback"}, meta))


def is_common(c):
    """Whether all Unicode tables at work here know the character: the libraries carry versions from 8 to 17."""
    new_compatibility_letters = ord(c) == 0xAB69 or 0xA7F2 <= ord(c) <= 0xA7F4 or 0x10780 <= ord(c) <= 0x107BA
    return unicodedata.category(c) != "Cn" and not new_compatibility_letters and not 0x1E900 <= ord(c) <= 0x1E95F


def compare(program, label, path, texts_path, texts):
    theirs = Tokenizer.from_file(path)
    theirs.no_padding()
    theirs.no_truncation()
    done = subprocess.run([program, "ids", path, texts_path], stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        print(f"{label}: {program} ended with {done.returncode}")
        return 0, 0
    ours = json.loads(done.stdout)
    n_equal = n_shown = n_text = 0
    for text, row in zip(texts, ours):
        want = (theirs.encode(text, add_special_tokens=False).ids, theirs.encode(text, add_special_tokens=True).ids)
        if want == (row["ids"], row["special"]):
            n_equal += 1
        elif n_shown < 3:
            n_shown += 1
            print(f"  DIFFERS {label}: {text!r}\n    expected {want[0]}\n    got      {row['ids']}")
        decoded = theirs.decode(want[0], skip_special_tokens=True)
        if decoded != row["text"] and want[0] == row["ids"] and n_shown < 4:
            n_shown += 1
            print(f"  DECODED {label}: {text!r}\n    expected {decoded!r}\n    got      {row['text']!r}")
        n_text += theirs.decode(want[0], skip_special_tokens=True) == row["text"]
    print(f"{label:32} {len(texts)} texts, {n_equal} equal; decoded alike {n_text}")
    return len(texts), n_equal


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    program, folder = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as work:
        texts_path = os.path.join(work, "texts.json")
        with open(texts_path, "wb") as out:
            out.write(subprocess.run([program, "texts", str(N_TEXTS)], stdout=subprocess.PIPE, check=True).stdout)
        with open(texts_path, encoding="utf-8") as file:
            texts = json.load(file)
        texts = ["".join(c for c in text if is_common(c)) for text in texts]
        with open(texts_path, "w", encoding="utf-8") as file:
            json.dump(texts, file)
        files = [(path, path) for path in sys.argv[3:]]
        for i, (label, content) in enumerate(documents(folder)):
            os.mkdir(os.path.join(work, str(i)))
            path = os.path.join(work, str(i), "tokenizer.json")
            with open(path, "w", encoding="utf-8") as file:
                json.dump(content, file)
            files.append((label, path))
        results = [compare(program, label, path, texts_path, texts) for label, path in files]
    n_all, n_equal = (sum(column) for column in zip(*results))
    print(f"{len(results)} documents, {n_all} texts, {n_equal} equal")
    if n_all == 0 or n_equal != n_all or any(n == 0 for n, _ in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
