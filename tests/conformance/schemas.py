#!/usr/bin/env python3
"""Validates real JSON output of apr against docs/schemas, and that the schemas refuse what is not of their form.

usage: schemas.py APR [ROOT]

Each row of CASES is one command line; its document names its schema ("apr.hex.list/1" -> docs/schemas/hex.list.json). Every mode
of src/cli/hex_modes.def needs a schema and a case. To see that a schema can fail, each of its required members is taken out
of a copy of the document, and each top-level member is replaced by a value of another type: both must be refused.
"""
import copy
import json
import os
import re
import subprocess
import sys
import tempfile

import jsonschema

# Arguments behind `apr hex FILE`, for each of the models that `apr synth` writes. {tensor}: its first matrix; {data}: a byte in it.
MODELS = ["gguf", "apr", "safetensors"]
CASES = [
    [],
    ["--header"],
    ["--header", "--all"],
    ["--list"],
    ["--list", "--sort", "size", "--limit", "3"],
    ["--tensor", "*norm*", "--limit", "4"],
    ["--tensor", "{tensor}", "--slice", "3:9"],
    ["--raw", "--limit", "512"],
    ["--blocks"],
    ["--blocks", "--tensor", "{tensor}", "--row", "1"],
    ["--at", "0"],
    ["--at", "70"],
    ["--at", "{data}"],
    ["--weight", "{tensor}[0,3]"],
    ["--stats"],
    ["--distribution"],
    ["--distribution", "--tensor", "{tensor}"],
    ["--entropy"],
    ["--entropy", "--windows", "--limit", "5"],
    ["--damage"],
    ["--manifest", "--out", "{manifest}"],
    ["--verify-manifest", "{manifest}"],
    ["--verify-manifest", "{manifest}", "--repair-plan"],
    ["--contract"],
    ["--diff", "{other}"],
    ["--html", "{manifest}.html"],
    ["--svg", "{manifest}.svg"],
    ["--header", "--list", "--stats"],
]
VALIDATION_FAILED = 5
# Schemas that are tried with other commands than those above, and why they need no case here.
OTHER = {"combined": "has no members of its own"}


def load_schemas(folder):
    schemas = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".json"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                schemas[name[:-5]] = json.load(file)
    return schemas


def validator(schema, schemas):
    by_id = {s["$id"]: s for s in schemas.values()}
    cls = jsonschema.Draft202012Validator
    cls.check_schema(schema)
    try:
        from referencing import Registry, Resource
        registry = Registry().with_resources((i, Resource.from_contents(s)) for i, s in by_id.items())
        return cls(schema, registry=registry)
    except ImportError:  # jsonschema before 4.18
        return cls(schema, resolver=jsonschema.RefResolver(schema["$id"], schema, store=by_id))


def required_members(schema, schemas):
    names = set(schema.get("required", []))
    for part in schema.get("allOf", []):
        target = part["$ref"].split("#/$defs/")
        names |= set(schemas["common"]["$defs"][target[1]].get("required", []))
    return names


def other_type(value):
    return 7.5 if isinstance(value, (str, bool, list, dict)) or value is None else "text"


class Run:
    def __init__(self, apr, schemas):
        self.apr, self.schemas = apr, schemas
        self.faults, self.n_documents, self.n_refusals, self.seen = [], 0, 0, set()

    def document(self, args, allowed=(0, VALIDATION_FAILED)):  # files that differ have a document, too
        done = subprocess.run([self.apr, *args, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode not in allowed:
            self.faults.append(f"{args}: exit {done.returncode}: {done.stdout.decode()[:400]}")
            return None
        return json.loads(done.stdout)

    def check(self, args, *allowed):
        document = self.document(args, *allowed)
        if document is None:
            return
        name = re.sub(r"^apr\.|/[0-9]+$", "", document["schema"])
        if name not in self.schemas:
            self.faults.append(f"{args}: no docs/schemas/{name}.json")
            return
        self.n_documents += 1
        schema = self.schemas[name]
        check = validator(schema, self.schemas)
        error = jsonschema.exceptions.best_match(check.iter_errors(document))
        if error is not None:
            self.faults.append(f"{args}: {name}: {'/'.join(map(str, error.absolute_path))}: {error.message[:300]}")
        if name not in self.seen:
            self.seen.add(name)
            self.refuses(name, check, document, required_members(schema, self.schemas))

    def refuses(self, name, check, document, required):
        known = set(required) | set(self.schemas[name].get("properties", {}))
        for member in document:
            if member not in known and name != "hex.combined":
                self.faults.append(f"{name}: the document has a member that the schema does not know: {member}")
        for member in sorted(required):
            without = copy.deepcopy(document)
            without.pop(member, None)
            wrong = copy.deepcopy(document)
            wrong[member] = other_type(wrong.get(member))
            for kind, changed in (("without", without), ("with another type of", wrong)):
                self.n_refusals += 1
                if check.is_valid(changed):
                    self.faults.append(f"{name}: the schema takes a document {kind} {member}")


def modes_of(root):
    with open(os.path.join(root, "src/cli/hex_modes.def"), encoding="utf-8") as file:
        return re.findall(r"^APR_HEX_MODE\((\w+),", file.read(), re.M)


def main(apr, root):
    schemas = load_schemas(os.path.join(root, "docs/schemas"))
    run = Run(apr, schemas)
    with tempfile.TemporaryDirectory() as folder:
        other = os.path.join(folder, "m." + MODELS[0])  # what --diff compares with: itself, then the model before
        for kind in MODELS:
            path = os.path.join(folder, "m." + kind)
            options = ["--format", kind] + ([] if kind == "safetensors" else ["--quant", "q4_k_m"])
            subprocess.run([apr, "synth", path, "--preset", "tiny", *options], check=True, stdout=subprocess.DEVNULL)
            tensors = run.document(["hex", path, "--list"])["tensors"]
            wide = next(t for t in tensors if len(t["shape"]) == 2)
            words = {"{tensor}": wide["name"], "{data}": str(wide["offset"] + 20),
                     "{manifest}": path + ".manifest.json", "{other}": other}
            other = path
            for case in CASES:
                args = [re.sub(r"\{\w+\}", lambda m: words[m.group()], word) for word in case]
                run.check(["hex", path, *args])
        run.check(["hex", other, "--no-such-flag"], (2,))
        run.check(["hex", os.path.join(folder, "missing")], (3,))
    for mode in modes_of(root):
        if "hex." + mode not in run.seen and mode not in OTHER:
            run.faults.append(f"mode {mode} of hex_modes.def: no document of schema hex.{mode} was validated: add its schema and a case")
    for fault in run.faults:
        print(fault)
    print(f"schemas: {run.n_documents} documents of {len(run.seen)} schemas, {run.n_refusals} changed ones to be refused, {len(run.faults)} faults")
    if run.n_documents == 0 or run.n_refusals == 0:
        print("schemas: nothing was checked")
        return 1
    return 1 if run.faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "."))
