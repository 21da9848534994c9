"""Writes snippets.json and families.json: what jinja2 renders from snippets.txt and families/*.jinja.

Run: python make_goldens.py (needs jinja2; nothing of it is needed to run the tests).
"""
import json
import pathlib
import re

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


def templates():
    """families/*.jinja, and the fallback templates out of their C++ table."""
    for path in sorted((HERE / "families").glob("*.jinja")):
        yield path.name, path.read_text(encoding="utf-8")
    code = (HERE.parents[2] / "src/model/template/fallbacks.cpp").read_text(encoding="utf-8")
    sources = dict(re.findall(r'string_view (k\w+) = R"\((.*?)\)";', code, re.S))
    rows = re.findall(r'\{"(\w+)", "[^"]*", (k\w+)\}', code)
    assert len(rows) == len(sources) > 0, (rows, sources.keys())
    for name, constant in rows:
        yield "fallback:" + name, sources[constant]


def families():
    contexts = dict(matrix.contexts(full=False))
    cases = []
    for name, source in templates():
        wants = {case: oracle.render(source, context) for case, context in contexts.items()}
        assert sum("text" in want for want in wants.values()) >= 10, name
        cases.append({"template": name, "wants": wants})
    write("families.json", {"jinja2": jinja2.__version__, "contexts": contexts, "cases": cases})


if __name__ == "__main__":
    snippets()
    families()
