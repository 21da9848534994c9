"""Writes snippets.json and families.json: what jinja2 renders from snippets.txt and families/*.jinja.

Run: python make_goldens.py (needs jinja2; nothing of it is needed to run the tests).
"""
import hashlib
import json
import pathlib

import jinja2

import matrix
import oracle

HERE = pathlib.Path(__file__).resolve().parent
SNIPPET_CONTEXT = {
    "messages": [{"role": "user", "content": "Hi \"there\"\n"}, {"role": "assistant", "content": "Hello é"}],
    "bos_token": "<s>", "eos_token": "</s>", "local_time": 1735740245}


def write(name, document):
    (HERE / name).write_text(json.dumps(document, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    print(name, len(document["cases"]))


def snippets():
    cases = []
    for line in (HERE / "snippets.txt").read_text(encoding="utf-8").split("\n"):
        if line and not line.startswith("# "):
            source = line.replace("⏎", "\n")
            cases.append({"source": source, **oracle.render(source, SNIPPET_CONTEXT)})
    write("snippets.json", {"jinja2": jinja2.__version__, "context": SNIPPET_CONTEXT, "cases": cases})


def families():
    """Long texts are kept as their SHA-256, short ones as they are."""
    cases = []
    for path in sorted((HERE / "families").glob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        for name, context in matrix.contexts(full=False):
            want = oracle.render(source, context)
            cases.append({"template": path.name, "name": name, "context": context, **want})
    write("families.json", {"jinja2": jinja2.__version__, "cases": cases})


if __name__ == "__main__":
    snippets()
    families()
