"""Writes unicode_tables.inc: the character properties that Python's str methods use, from Python's own str.

Run: python make_unicode_tables.py > unicode_tables.inc (3.11: Unicode 14).
"""
import sys
import unicodedata

POINTS = [c for c in range(0x80, 0x110000) if not 0xD800 <= c <= 0xDFFF]


def strided(points):
    """Sorted code points as (first, last, stride) runs, stride 1 or 2."""
    runs = []
    for c in points:
        if runs:
            first, last, stride = runs[-1]
            if first == last and c - last in (1, 2):
                runs[-1] = (first, c, c - last)
                continue
            if first != last and c - last == stride:
                runs[-1] = (first, c, stride)
                continue
        runs.append((c, c, 1))
    return runs


def rows(name, kind, items, per_line=6):
    print(f"constexpr {kind} {name}[] = {{")
    for i in range(0, len(items), per_line):
        print("    " + " ".join("{" + ", ".join(items_) + "}," for items_ in items[i:i + per_line]))
    print("};")


def property_table(name, test):
    runs = strided([c for c in POINTS if test(chr(c))])
    rows(name, "CharRun", [(hex(a), hex(b), str(s)) for a, b, s in runs], 5)


def mapping(name, function, base=lambda c: c):
    """Single-character mappings that differ from `base`, as runs of one distance."""
    runs = []
    for c in POINTS:
        out = function(chr(c))
        if len(out) != 1 or out == base(chr(c)):
            continue
        delta = ord(out) - c
        if runs and runs[-1][3] == delta:
            first, last, stride, _ = runs[-1]
            if first == last and c - last in (1, 2):
                runs[-1] = (first, c, c - last, delta)
                continue
            if first != last and c - last == stride:
                runs[-1] = (first, c, stride, delta)
                continue
        runs.append((c, c, 1, delta))
    rows(name, "CaseRun", [(hex(a), hex(b), str(s), str(d)) for a, b, s, d in runs], 4)


def special(name, function):
    items = []
    for c in POINTS:
        out = function(chr(c))
        if len(out) > 1:
            to = [hex(ord(x)) for x in out] + ["0"] * (3 - len(out))
            items.append((hex(c), "{" + ", ".join(to) + "}"))
    rows(name, "CaseSpecial", items, 3)


print(f"// Written by make_unicode_tables.py (Unicode {unicodedata.unidata_version}); code points below 0x80 are in the code.")
property_table("kPrintable", str.isprintable)
property_table("kAlpha", str.isalpha)
property_table("kLowerCase", str.islower)
property_table("kUpperCase", str.isupper)
property_table("kDecimal", str.isdecimal)
property_table("kDigit", str.isdigit)
property_table("kNumeric", str.isnumeric)
mapping("kToUpper", str.upper)
mapping("kToLower", str.lower)
mapping("kToTitle", str.title, str.upper)
special("kToUpperSpecial", str.upper)
special("kToTitleSpecial", str.title)
