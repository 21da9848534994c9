"""Compares apr's rendering of real chat templates with jinja2 over the matrix of tests/golden/template/matrix.py.

Run: python tests/conformance/templates.py --render BUILD/tests/template_render [FILE.jinja | FOLDER | MODEL.gguf] ...
Needs jinja2, and gguf for model files. Prints a line a template and the counts; exit status 1 when anything differs or
nothing was compared.
"""
import argparse
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "golden" / "template"))
import matrix  # noqa: E402
import oracle  # noqa: E402


def sources(paths):
    for path in map(pathlib.Path, paths):
        if path.is_dir():
            yield from ((f.name, f.read_text(encoding="utf-8")) for f in sorted(path.glob("*.jinja")))
        elif path.suffix == ".gguf":
            from gguf import GGUFReader
            field = GGUFReader(str(path)).fields.get("tokenizer.chat_template")
            if field is None:
                raise SystemExit(f"{path}: no tokenizer.chat_template")
            yield path.name, field.contents()
        else:
            yield path.name, path.read_text(encoding="utf-8")


def agrees(want, got):
    if "text" in want:
        return got.get("text") == want["text"]
    if "raised" in want:
        return got.get("error") == want["raised"]
    return "error" in got


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--render", required=True, help="the program template_render of a build folder")
    parser.add_argument("--show", type=int, default=1, help="differences shown per template")
    parser.add_argument("paths", nargs="+")
    args = parser.parse_args()
    total = {"equal": 0, "raised": 0, "refused": 0, "different": 0}
    whole, n_templates = 0, 0
    for name, source in sources(args.paths):
        cases = list(matrix.contexts())
        lines = "".join(json.dumps({"source": source, "context": c}) + "\n" for _, c in cases)
        out = subprocess.run([args.render], input=lines, capture_output=True, text=True, check=True, encoding="utf-8")
        answers = [json.loads(line) for line in out.stdout.split("\n") if line]
        assert len(answers) == len(cases), (name, len(answers), len(cases))
        counts = dict.fromkeys(total, 0)
        for (case, context), got in zip(cases, answers):
            want = oracle.render(source, context)
            if agrees(want, got):
                counts["equal" if "text" in want else "raised" if "raised" in want else "refused"] += 1
                continue
            counts["different"] += 1
            if counts["different"] <= args.show:
                print(f"  {name} {case}\n    jinja2: {json.dumps(want)[:1500]}\n    apr:    {json.dumps(got)[:1500]}")
        for key, n in counts.items():
            total[key] += n
        n_templates += 1
        whole += counts["different"] == 0
        print(f"{name}: {counts['equal']} equal, {counts['raised']} raised alike, {counts['refused']} refused by both, "
              f"{counts['different']} different")
    print(f"templates {n_templates}, without a difference {whole}; renderings: {total['equal']} byte-equal, "
          f"{total['raised']} raise_exception with the same text, {total['refused']} other errors in both, "
          f"{total['different']} different")
    if n_templates == 0 or total["equal"] == 0 or total["different"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
