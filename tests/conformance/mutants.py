#!/usr/bin/env python3
"""Breaks the reader on purpose, one line at a time, and demands that the named test turns red.

    tests/conformance/mutants.py [--area WORD] [--scratch FOLDER] [--markdown]
    tests/conformance/mutants.py --fit

Works on a copy of the tree (files that git knows, as they stand), never on the tree. Each row of MUTANTS is applied alone, its one test
program is built and its filter run. Exit 0: the unbroken copy is green and every mutant is red. Exit 1: a mutant survived, does
not build, or its line is no longer there once. --fit checks the last alone and builds nothing.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAYOUT, HEADER, FOREIGN = "src/inspect/block_layout.cpp", "src/inspect/header.cpp", "src/inspect/damage_foreign.cpp"
TENSORS, METADATA, GGUF_LAYOUT = "src/format/gguf_tensors.cpp", "src/format/gguf_metadata.cpp", "src/format/gguf_layout.cpp"
ENTRY, ST_LAYOUT = "src/format/safetensors_entry.cpp", "src/format/safetensors_layout.cpp"

# area, file, line (a part that stands there once), what it becomes, test program, filter
MUTANTS = [
    # F-HEX-001: header fields
    ("F-HEX-001", HEADER, 'walk.number<std::uint32_t>("version",', 'walk.number<std::uint64_t>("version",', "unit_inspect", "F_HEX_001*"),
    ("F-HEX-001", HEADER, "if (depth == 1 && at_key)\n        members.emplace_back(i,", "if (depth == 1 && at_key)\n        members.emplace_back(i + 1,", "unit_inspect", "F_HEX_001*"),
    ("F-HEX-001", HEADER, 'walk.number<std::uint64_t>("tensor_count", "tensors in this file");', 'walk.number<std::uint32_t>("tensor_count", "tensors in this file");', "unit_inspect", "F_HEX_001*"),
    # F-HEX-002: packed scales of Q4_K
    ("F-HEX-002", LAYOUT, ".nibble(kScales + 4 + s, 0).bits(kScales + s - 4, 6, 2, 4)", ".nibble(kScales + 4 + s, 0).bits(kScales + s, 6, 2, 4)", "unit_inspect", "F_HEX_002*"),
    ("F-HEX-002", LAYOUT, ".nibble(kScales + 4 + s, 0).bits(kScales + s - 4, 6, 2, 4)", ".nibble(kScales + 4 + s, 1).bits(kScales + s - 4, 6, 2, 4)", "unit_inspect", "F_HEX_002*"),
    # F-HEX-003: values from the fields alone
    ("F-HEX-003", LAYOUT, ".bits(16 + j, s, 1, 4)", ".bits(16 + (j + 1) % 32, s, 1, 4)", "unit_inspect", "F_HEX_003*"),
    ("F-HEX-003", LAYOUT, "b.part(SubScale).nibble(96 + s % 8, s / 8).bits(104 + s % 4, 2 * (s / 4), 2, 4);", "b.part(SubScale).nibble(96 + s % 8, s / 8);", "unit_inspect", "F_HEX_003*"),
    ("F-HEX-003", LAYOUT, "bits.runs[0].width == 7 ? __builtin_parityll(stored) != 0", "bits.runs[0].width == 7 ? false", "unit_inspect", "F_HEX_003*"),
    ("F-HEX-003", LAYOUT, "case TensorType::Q6_K: return as_signed(stored, 8);", "case TensorType::Q6_K: return n;", "unit_inspect", "F_HEX_003*"),
    # F-HEX-004: entropy
    ("F-HEX-004", "src/inspect/entropy.cpp", "row_bytes > 0 ? kScreened | kDiverges | kScalesOff | kNotFinite", "row_bytes > 0 ? kScalesOff | 0U", "unit_inspect", "*F_HEX_004*"),
    ("F-HEX-004", "src/inspect/scan_window.cpp", "  return entropy_of(all);", "  return entropy_of(all) + 0.01;", "unit_inspect", "*F_HEX_004*"),
    ("F-HEX-004", "src/inspect/scan_pass.cpp", "tensor.windows[w] = judge(counts,", "if (w % 2 == 0) tensor.windows[w] = judge(counts,", "unit_inspect", "*F_HEX_004*"),
    # F-HEX-005: contract
    ("F-HEX-005", "src/inspect/contract.cpp", "row.permuted = names_->permutes_query_and_key() && is_query_or_key(shape.role);", "row.permuted = row.tied_when_absent && is_query_or_key(shape.role);", "unit_cli", "*F_HEX_005*"),
    ("F-HEX-005", "src/inspect/contract.cpp", "row.critical = is_critical(row.names);", "row.critical = is_critical(row.names) && !row.tied_when_absent;", "unit_cli", "*F_HEX_005*"),
    ("F-HEX-005", "src/inspect/contract.cpp", "if (row.required) add_missing(", "if (false) add_missing(", "unit_inspect", "Contract.*"),
    ("F-HEX-005", "src/inspect/contract.cpp", "if (shape != row.dims && row.dims.find('?') == std::string::npos)", "if (shape.size() != row.dims.size())", "unit_inspect", "Contract.*"),
    ("F-HEX-005", "src/inspect/contract.cpp", "row.hf_plus = names_->is_gemma() && is_norm(shape.role) ? 1 : 0;", "row.hf_plus = names_->is_gemma() && is_norm(shape.role) ? 0 : 0;", "unit_inspect", "Contract.*"),
    # F-HEX-006: distributions
    ("F-HEX-006", "src/inspect/distribution.cpp", "(variance * variance) - 3;", "(variance * variance);", "unit_inspect", "F_HEX_006*"),
    ("F-HEX-006", "src/inspect/distribution.cpp", "chunks.n = (grid->n_blocks + chunks.blocks_per_chunk - 1) / chunks.blocks_per_chunk;", "chunks.n = grid->n_blocks / chunks.blocks_per_chunk;", "unit_inspect", "F_HEX_006*"),
    ("F-HEX-006", "src/inspect/distribution.cpp", "        ++counts[stripe][std::min", "        if (at < bins) ++counts[stripe][std::min", "unit_inspect", "F_HEX_006*"),
    ("F-HEX-006", "src/diag/moments.cpp", "if (std::isfinite(v))\n          finite.push_back(v);", "if (!std::isnan(v)) finite.push_back(v);", "unit_inspect", "F_HEX_006*"),
    ("F-HEX-006", "kernels/cpu/ops/scan_moments.inl", "rest3[i % 16] += d2 * d;", "rest3[i % 16] += d2;", "unit_kernels", "ScanKernels.Moments*"),
    # --at and --weight are inverse
    ("inverse", LAYOUT, "byte - within + (width - 1 - within)", "byte - within + within", "unit_inspect", "Address.*"),
    ("inverse", "include/apr/inspect/address.h", "element / row_elements * stored_row_elements + element % row_elements", "element / row_elements * row_elements + element % row_elements", "unit_inspect", "Address.*"),
    ("inverse", LAYOUT, "nibble(4 + 8 * (e / 16) + e % 8, e % 16 / 8)", "nibble(4 + 8 * (e / 16) + e % 8, e % 16 / 9)", "unit_inspect", "Address.*"),
    # counting
    ("counting", "src/inspect/code_counter.cpp", "slot.to2 = static_cast<std::uint8_t>(pieces[1].to);", "slot.to2 = 0;", "unit_inspect", "CodeCounter.*"),
    ("counting", "src/inspect/code_counter.cpp", "nibbles = nibbles && s.mask == 15 && s.shift % 4 == 0 && s.mask2 == 0;", "nibbles = nibbles && s.mask == 15 && s.shift % 4 == 0;", "unit_inspect", "CodeCounter.*"),
    ("counting", "kernels/cpu/ops/scan.inl", "all_have = last_of[k] < all_have ? last_of[k] : all_have;", "all_have = last;", "unit_kernels", "ScanKernels.*"),
    ("counting", "kernels/cpu/ops/scan_lookup.inl", "(64 * n - n_bytes) / period", "(64 * n - n_bytes) / period + 1", "unit_kernels", "ScanKernels.*"),
    ("counting", "kernels/cpu/ops/scan_parity.inl", "{{1, 3}, {1, 5}, {1, 9},", "{{1, 3}, {1, 7}, {1, 9},", "unit_kernels", "ScanKernels.*"),
    # diff, manifest, damage
    ("diff", "src/inspect/diff_values.cpp", "if (a[k] == b[k]) continue;", "if ((a[k] & std::byte{0xFE}) == (b[k] & std::byte{0xFE})) continue;", "unit_inspect", "Diff.*"),
    ("diff", "src/inspect/diff_values.cpp", "const bool same = a == b || (std::isnan(a) && std::isnan(b));", "const bool same = !(a < b) && !(a > b);", "unit_inspect", "Diff.*"),
    ("diff", "src/inspect/diff_values.cpp", "if (view_.permuted_heads == 0) return row;", "if (view_.permuted_heads != 1) return row;", "unit_inspect", "Diff.*"),
    ("damage", "src/inspect/scan_pass.cpp", "w.screen.no_high_bit > 0 || w.screen.equal[0] > 0", "w.screen.equal[0] > 4096", "unit_inspect", "Damage.*"),
    ("damage", "src/inspect/scan_pass.cpp", "if (worst.times > 1) flags |= kDiverges;", "if (worst.times > 100) flags |= kDiverges;", "unit_inspect", "Damage.*"),
    ("damage", "src/inspect/damage_runs.cpp", "while (last < data.size() && byte_at(data, last) == value) ++last;", "while (last < data.size() && byte_at(data, last) <= value) ++last;", "unit_inspect", "Damage.*"),
    ("damage", "src/inspect/damage_values.cpp", "if (magnitude <= limit) return;", "if (magnitude <= limit + 12 * kOctavesAbove) return;", "unit_inspect", "Damage.*"),
    ("damage", "src/inspect/damage.cpp", "std::stable_sort(report.ranges.begin(), report.ranges.end(), is_before);", "std::stable_sort(report.ranges.rbegin(), report.ranges.rend(), is_before);", "unit_inspect", "Damage.*"),
    ("damage", FOREIGN, "tensor_.windows[w].n_units < kFewUnits) continue;", "tensor_.windows[w].n_units < 1) continue;", "unit_inspect", "Damage.AFewBlocks*"),
    ("damage", FOREIGN, "constexpr double kForeignCodes = 3;", "constexpr double kForeignCodes = 1;", "unit_inspect", "Damage.RowsWithAnOutlier*"),
    ("damage", FOREIGN, "constexpr double kSingleWindow = 1.5;", "constexpr double kSingleWindow = 1;", "unit_inspect", "Damage.OneWindow*"),
    ("damage", FOREIGN, "layout_.streams[s].width * 4 <= widest()", "layout_.streams[s].width * 99 <= widest()", "unit_inspect", "Damage.ScalesOfSubBlocks*"),
    ("damage", "src/inspect/scan_pass.h", "window.peak >> (8 * scale) & 0xFFU", "window.peak >> (0 * scale + 8) & 0xFFU", "unit_inspect", "Damage.AScaleIsCompared*"),
    ("damage", "src/inspect/scan_pass.cpp", "constexpr std::uint64_t kAnchorSpan = 8192;", "constexpr std::uint64_t kAnchorSpan = 65536;", "unit_inspect", "Damage.ACopyIsFound*"),
    ("damage", "src/inspect/damage_copies.cpp", "shared_.at({copy.a, copy.b}) * 2 >= least", "least > 0", "unit_inspect", "Damage.APartOfTheEmbedding*"),
    ("damage", "kernels/cpu/ops/scan.inl", "if (last >= 0) look(last);", "if (last == 0) look(last);", "unit_inspect", "Damage.TheShortestRuns*"),
    # hostile files: GGUF
    ("G02", "src/format/gguf_header.cpp", "if (size < kHeaderBytes)", "if (size < 8)", "unit_hostile", "*GgufCorpus*G02*"),
    ("G09", "src/format/gguf_header.cpp", "if (count <= remaining / min_bytes) return;", "if (count * min_bytes <= remaining) return;", "unit_hostile", "*GgufCorpus*G09*:*GgufCorpus*G10*"),
    ("G17", METADATA, "if (length > reader_.remaining() || length > kAbsurdKeyBytes) {", "if (length > kAbsurdKeyBytes) {", "unit_hostile", "*GgufCorpus*G17*"),
    ("G21", METADATA, "parse_.metadata.size()); !is_new)", "parse_.metadata.size()); false && !is_new)", "unit_hostile", "*GgufCorpus*G21*"),
    ("G26", METADATA, "if (count <= most) return true;", "if (count * min_element_bytes(element) <= reader_.remaining()) return true;", "unit_hostile", "*GgufCorpus*"),
    ("G30", METADATA, "element == ValueType::Array && depth >= kMaxArrayDepth", "element == ValueType::Array && depth >= kMaxArrayDepth + 1", "unit_hostile", "*GgufCorpus*G30*"),
    ("G33", "src/format/gguf_names.cpp", "if (!std::has_single_bit(alignment) || alignment > kMaxAlignment) {", "if (alignment == 0 || alignment > kMaxAlignment) {", "unit_hostile", "*GgufCorpus*G33*"),
    ("G45", TENSORS, "if (name_.find('\\0') != std::string_view::npos)", "if (false)", "unit_hostile", "*GgufCorpus*G45*"),
    ("G51", TENSORS, "if (dims[i] > kMax) {", "if (false) {", "unit_hostile", "*GgufCorpus*G51*"),
    ("G53", TENSORS, "if (overflows) {", "if (overflows && n_elements != 0) {", "unit_hostile", "*GgufCorpus*G53*:*GgufCorpus*G54*"),
    ("G61", TENSORS, "if (type != nullptr && type->status == TypeStatus::Live) return true;", "if (type != nullptr) return true;", "unit_hostile", "*GgufCorpus*G61*"),
    ("G63", TENSORS, "if (tensor.n_elements != 0 && row % type->block_elements != 0) {", "if (tensor.n_elements % type->block_elements != 0) {", "unit_hostile", "*GgufCorpus*G63*"),
    ("G66", GGUF_LAYOUT, "if (range_fits(tensor.offset, tensor.size_bytes, section_bytes_)) continue;", "if (tensor.offset + tensor.size_bytes <= section_bytes_) continue;", "unit_hostile", "*GgufCorpus*G66*:*GgufCorpus*X08*"),
    ("G69", GGUF_LAYOUT, "      if (tensor.offset < end_)", "      if (tensor.offset + 1 < end_ - tensor.size_bytes)", "unit_hostile", "*GgufCorpus*G69*"),
    ("G71", GGUF_LAYOUT, "if (range_fits(tensor.offset, tensor.size_bytes, section_bytes_)) continue;", "if (range_fits(tensor.offset, tensor.size_bytes, section_bytes_ + 32)) continue;", "unit_hostile", "*GgufCorpus*G71*"),
    ("G87", "src/core/file.cpp", "if (now < size_ || cut)", "if (now > size_ && cut)", "unit_hostile", "*GgufCorpus*G87*"),
    # hostile files: SafeTensors
    ("S04", "src/format/safetensors.cpp", "if (length > kMaxSafeTensorsHeader)", "if (false)", "unit_hostile", "*SafeTensorsCorpus*S04*"),
    ("S11", ST_LAYOUT, "if (one.name != two.name) continue;", "continue;", "unit_hostile", "*SafeTensorsCorpus*S11*"),
    ("S16", ENTRY, "if (product) product = checked_mul(*product, n);", "if (product) product = *product * n;", "unit_hostile", "*SafeTensorsCorpus*S16*"),
    ("S17", ENTRY, "if (entry.begin > entry.end) {", "if (false) {", "unit_hostile", "*SafeTensorsCorpus*S17*"),
    ("S18", ST_LAYOUT, "if (tensors[i].offset != expected) report_gap(", "if (tensors[i].offset < expected) report_gap(", "unit_hostile", "*SafeTensorsCorpus*S18*"),
    ("S20", ST_LAYOUT, "if (expected == extent.data_end) return;", "if (expected <= extent.data_end) return;", "unit_hostile", "*SafeTensorsCorpus*S20*"),
    ("S23", ENTRY, "if (*bits % 8 == 0) return;", "return;", "unit_hostile", "*SafeTensorsCorpus*S23*"),
    ("S30", ENTRY, "tensor.n_elements == 0 || tensor.offset % element == 0) return;", "true) return;", "unit_hostile", "*SafeTensorsCorpus*S30*"),
    # hostile files: APR
    ("A03", "src/format/apr.cpp", "if (header.crc != crc)", "if (header.crc > crc && header.crc - crc > 0xF0000000)", "unit_hostile", "*AprCorpus*A03*"),
    ("A04", "src/format/apr.cpp", "if (header.major != 2)", "if (header.major > 2)", "unit_hostile", "*AprCorpus*A04*"),
    ("A05", "src/format/apr_index.cpp", "else if (tensor.name < before.name)", "else if (false)", "unit_hostile", "*AprCorpus*A05*"),
    ("A05", "src/format/apr_index.cpp", "if (absolute && range_fits(*absolute, tensor.size_bytes, r_.body_end())) {", "if (absolute && *absolute <= r_.body_end()) {", "unit_hostile", "*AprCorpus*A05*:*AprCorpus*X14*"),
]


def run(command, cwd, log):
    result = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    log.write(f"$ {' '.join(map(str, command))}\n{result.stdout}\n")
    log.flush()
    return result


def copy_tree(to):
    names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True,
                           stdout=subprocess.PIPE).stdout.decode().split("\0")
    for name in filter(None, names):
        source, target = ROOT / name, to / name
        if not source.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or source.read_bytes() != target.read_bytes():
            shutil.copyfile(source, target)
            shutil.copymode(source, target)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--area", help="only mutants whose area holds this")
    parser.add_argument("--scratch", type=pathlib.Path, help="folder of the copy; kept, and used again")
    parser.add_argument("--markdown", action="store_true", help="end with a table")
    parser.add_argument("--fit", action="store_true", help="only check that every mutant's line stands in its file once")
    options = parser.parse_args()
    if options.fit:
        loose = [(name, n, old) for _, name, old, *_ in MUTANTS if (n := (ROOT / name).read_text().count(old)) != 1]
        for name, n, old in loose:
            print(f"{name}: stands there {n} times, once is needed: {old}")
        print(f"mutants: {len(MUTANTS)}, that fit: {len(MUTANTS) - len(loose)}")
        sys.exit(1 if loose or not MUTANTS else 0)
    mutants = [m for m in MUTANTS if not options.area or options.area in m[0]]
    scratch = options.scratch or pathlib.Path(tempfile.mkdtemp(prefix="apr_mutants_"))
    scratch.mkdir(parents=True, exist_ok=True)
    copy_tree(scratch)
    os.environ["CCACHE_BASEDIR"], os.environ["CCACHE_NOHASHDIR"] = str(scratch), "1"
    outcomes = []
    with open(scratch / "mutants.log", "w") as log:
        build = ["cmake", "--build", "build/release", "--target"]
        targets = sorted({m[4] for m in mutants})
        if run(["cmake", "--preset", "release"], scratch, log).returncode or run(build + targets, scratch, log).returncode:
            sys.exit(f"mutants: the unbroken copy does not build; see {scratch}/mutants.log")
        for target in targets:
            filters = sorted({m[5] for m in mutants if m[4] == target})
            for wanted in filters:
                result = run([f"build/release/tests/{target}", f"--gtest_filter={wanted}"], scratch, log)
                if result.returncode or not re.search(r"\[  PASSED  \] [1-9]", result.stdout):
                    sys.exit(f"mutants: {target} {wanted} is not green, or empty, before anything was broken")
        for area, name, old, new, target, wanted in mutants:
            path = scratch / name
            text = path.read_text()
            if text.count(old) != 1:
                outcome = f"NOT APPLIED: its line stands there {text.count(old)} times"
            else:
                path.write_text(text.replace(old, new))
                if run(build + [target], scratch, log).returncode:
                    outcome = "DOES NOT BUILD"
                else:
                    result = run([f"build/release/tests/{target}", f"--gtest_filter={wanted}"], scratch, log)
                    failed = re.search(r"(\d+) FAILED TEST", result.stdout)
                    outcome = ("red" if failed else "red (died)") if result.returncode else "SURVIVED"
                path.write_text(text)
            outcomes.append(outcome)
            print(f"{outcome:10}  {area:10} {target:13} {name}: {' '.join(new.split())[:80] or '(line left out)'}", flush=True)
    n_red = sum(o.startswith("red") for o in outcomes)
    if options.markdown:
        areas = sorted({m[0] for m in mutants}, key=[m[0] for m in mutants].index)
        print("\n| Area | Mutants | Red |\n|---|---:|---:|")
        for area in areas:
            of = [o for m, o in zip(mutants, outcomes) if m[0] == area]
            print(f"| {area} | {len(of)} | {sum(o.startswith('red') for o in of)} |")
    print(f"mutants: {len(mutants)}, red: {n_red}, others: {len(mutants) - n_red}")
    if not options.scratch:
        shutil.rmtree(scratch)
    sys.exit(0 if mutants and n_red == len(mutants) else 1)


if __name__ == "__main__":
    main()
