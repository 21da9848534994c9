#!/usr/bin/env python3
"""Checks the objects compiled with -m flags: each must define exactly one external symbol, its kernel table.

Any other external symbol, a weak one above all (an inline function or a template instance with external linkage), could be
the copy that the linker keeps for the whole program, and run instructions that the machine lacks.

Usage: isa_objects.py OBJECT...      exit 0 clean, 1 breach, 2 nothing to check
"""
import pathlib
import re
import subprocess
import sys


def symbols(path):
    """(name, kind letter of nm) of every external symbol, undefined ones included."""
    text = subprocess.run(["nm", "--format=posix", "--extern-only", path], check=True, capture_output=True, text=True).stdout
    return [tuple(line.split()[:2]) for line in text.splitlines() if line.strip()]


def breaches(path):
    isa = re.match(r"isa_(\w+)\.", pathlib.Path(path).name)
    if isa is None:
        return [f"{path}: not named isa_NAME.*"]
    table = f"_ZN3apr7kernels{len('table_' + isa[1])}table_{isa[1]}E"
    defined = [(name, kind) for name, kind in symbols(path) if kind != "U"]
    found = []
    for name, kind in defined:
        if kind in "WwVvui":
            found.append(f"{path}: weak or unique symbol {name} ({kind})")
        elif name != table:
            found.append(f"{path}: external symbol {name} ({kind}) beside the table")
    if table not in [name for name, _ in defined]:
        found.append(f"{path}: does not define {table}")
    # What it calls elsewhere must be the C library: a call of project code would leave the object's flags behind.
    for name, kind in symbols(path):
        if kind == "U" and name.startswith("_Z"):
            found.append(f"{path}: needs the C++ symbol {name}")
    return found


def main():
    if len(sys.argv) < 2:
        print("isa_objects: no object was given: nothing was checked")
        return 2
    found = [breach for path in sys.argv[1:] for breach in breaches(path)]
    print("\n".join(found + [f"isa_objects: {len(sys.argv) - 1} objects, {len(found)} breaches"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
