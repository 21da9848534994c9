// Malformed GGUF: G43 to G63, the tensor infos; and shapes beyond the list whose products wrap.
#include <array>

#include "tests/support/gguf_builder.h"
#include "tests/unit/hostile/corpus.h"

namespace apr::test {
namespace {

using namespace std::string_literals;
using Dims = std::vector<std::uint64_t>;

/// Where the report must point: a field of the info under test, and so many bytes behind its start.
struct Place {
  std::uint64_t InfoOffsets::*field;
  std::uint64_t more = 0;
};

struct Info {
  std::string name = "t";
  Dims dims = {8};
  std::uint32_t type = kGgmlF32;
  std::uint64_t data_bytes = 32;
};

/// A sound tensor, the one under test (tensor[1]), and a sound one behind it.
std::string between(const Info& info, InfoOffsets& at) {
  GgufBuilder b;
  b.architecture();
  b.f32("first", 8);
  at = b.tensor(info.name, info.dims, info.type, info.data_bytes);
  b.f32("last", 8);
  return b.bytes();
}

Case row(const char* id, std::string variant, Info info, Outcome outcome, const char* rule, Place place,
         const char* part, std::string found = {}) {
  return {id, std::move(variant), [=](const TempFolder&) {
            InfoOffsets at{};
            Made made = outcome == Outcome::Error ? error(between(info, at), rule, 0, "tensor[1]."s + part, found)
                                                  : warning(between(info, at), rule, 0, "tensor[1]."s + part, found);
            made.offset = at.*place.field + place.more;
            return made;
          }};
}
Case bad(const char* id, std::string variant, Info info, const char* rule, Place place, const char* part,
         std::string found = {}) {
  return row(id, std::move(variant), std::move(info), Outcome::Error, rule, place, part, std::move(found));
}
Case odd(const char* id, std::string variant, Info info, const char* rule, Place place, const char* part,
         std::string found = {}) {
  return row(id, std::move(variant), std::move(info), Outcome::Warning, rule, place, part, std::move(found));
}
Case fine(const char* id, std::string variant, Info info) {
  return {id, std::move(variant), [=](const TempFolder&) {
            InfoOffsets at{};
            return clean(between(info, at));
          }};
}

constexpr Place kStart{&InfoOffsets::start}, kName{&InfoOffsets::start, 8}, kNDims{&InfoOffsets::n_dims},
    kDims{&InfoOffsets::dims}, kType{&InfoOffsets::type};

void add_names(Cases& all) {
  all.push_back(odd("G43", "", {""}, "gguf.tensor.name.empty", kStart, "name"));
  all.push_back(fine("G44", "63_bytes", {std::string(63, 'n')}));
  all.push_back(odd("G44", "64_bytes", {std::string(64, 'n')}, "gguf.tensor.name.length", kStart, "name.length", "64"));
  all.push_back(bad("G44", "65_bytes", {std::string(65, 'n')}, "gguf.tensor.name.length", kStart, "name.length", "65"));
  all.push_back(bad("G45", "", {"a\0x"s}, "gguf.tensor.name.nul", {&InfoOffsets::start, 9}, "name", "NUL in name"));
  all.push_back(odd("G46", "ansi", {"x\x1b[2J"}, "gguf.tensor.name.text", {&InfoOffsets::start, 9}, "name", "0x1b"));
  all.push_back(odd("G46", "utf8", {"xy\xc3("}, "gguf.tensor.name.text", {&InfoOffsets::start, 10}, "name", "UTF-8"));
  all.push_back(odd("G47", "parent", {"../../x"}, "gguf.tensor.name.path", kName, "name"));
  all.push_back(odd("G47", "absolute", {"/etc/passwd"}, "gguf.tensor.name.path", kName, "name"));
  all.push_back(odd("G47", "drive", {"C:\\x"}, "gguf.tensor.name.path", kName, "name"));
  all.push_back(bad("G48", "", {"first"}, "gguf.tensor.name.duplicate", kStart, "name", "first as tensor[0]"));
}

/// n_dims is told, whatever stands behind it.
Case too_many_dims(std::uint32_t n_dims) {
  return {"G50", std::to_string(n_dims), [n_dims](const TempFolder&) {
            GgufBuilder b;
            b.architecture();
            b.f32("first", 8);
            b.body().string("t");
            const std::uint64_t at = b.here();
            b.body().u32(n_dims).text.append(200, '\0');
            b.n_tensors = 2;
            return error(b.bytes(), "gguf.tensor.n_dims", at, "tensor[1].n_dims", std::to_string(n_dims));
          }};
}

void add_shapes(Cases& all) {
  all.push_back(odd("G49", "", {"t", {}, kGgmlF32, 4}, "gguf.tensor.n_dims.zero", kNDims, "n_dims"));
  all.push_back(too_many_dims(5));
  all.push_back(too_many_dims(0xFFFFFFFF));
  for (std::size_t i = 0; i < 4; ++i) {
    Dims negative(4, 2), zero(4, 3);
    negative[i] = ~0ULL;
    zero[i] = 0;
    static const std::array<std::string, 4> kParts = {"dim[0]", "dim[1]", "dim[2]", "dim[3]"};
    const Place place{&InfoOffsets::dims, 8 * i};
    all.push_back(bad("G51", "dim_" + std::to_string(i), {"t", negative, kGgmlF32, 0}, "gguf.tensor.dim", place,
                      kParts[i].c_str(), "-1"));
    all.push_back(odd("G52", "dim_" + std::to_string(i), {"t", zero, kGgmlF32, 0}, "gguf.tensor.dim.zero", place,
                      kParts[i].c_str()));
  }
}

void add_products(Cases& all) {
  constexpr std::uint64_t k32 = 1ULL << 32;
  const auto elements = [&all](const char* id, std::string variant, Dims dims, std::uint32_t type = kGgmlF32) {
    all.push_back(bad(id, std::move(variant), {"t", std::move(dims), type, 0}, "gguf.tensor.elements", kDims, "dims"));
  };
  const auto size = [&all](const char* id, std::string variant, Dims dims, std::uint32_t type) {
    all.push_back(bad(id, std::move(variant), {"t", std::move(dims), type, 0}, "gguf.tensor.size", kDims, "dims"));
  };
  elements("G53", "wraps_to_0", {k32, k32});
  elements("G54", "wraps_to_0", {65536, 65536, 65536, 65536});
  elements("G55", "wraps_to_0", {1ULL << 40, 1ULL << 40}, kGgmlQ4_K);
  all.push_back({"G56", "", [](const TempFolder&) {  // the second tensor shares the offset of the one that wraps
                   GgufBuilder b;
                   b.architecture();
                   const auto at = b.info("wraps", {k32, k32}, kGgmlF32, 0);
                   b.f32("behind", 8);
                   return error(b.bytes(), "gguf.tensor.elements", at.dims, "tensor[0].dims", "4294967296");
                 }});
  elements("G57", "2_63", {k32, k32 / 2});
  elements("G57", "wraps_to_2_32", {k32 + 1, k32});
  elements("G58", "wraps_to_4", {4194305, 4194305, 211106198978564});
  size("G59", "2_64_bytes", {1ULL << 61}, kGgmlI64);
  size("G59", "2_63_bytes", {1ULL << 60}, kGgmlI64);
  all.push_back({"G60", "", [](const TempFolder&) {
                   GgufBuilder b;
                   b.architecture();
                   b.info("x", {0x7FFFFFFFFFFFFFC0ULL}, kGgmlI8, 0);
                   const auto y = b.info("y", {0x7FFFFFFFFFFFFFC0ULL}, kGgmlI8, 0x7FFFFFFFFFFFFFC0ULL);
                   b.data().text.append(64, '\1');
                   return error(b.bytes(), "gguf.tensor.offset.bounds", y.offset, "tensor[1].offset");
                 }});
  // Beyond the list: products that wrap to small numbers in every place and for other types.
  elements("X03", "three_dims_wrap_to_1", {0x5555555555555555ULL, 3, 0x7FFFFFFFFFFFFFFFULL});
  elements("X03", "2_62_times_4", {1ULL << 62, 4});
  elements("X03", "4_times_2_62", {4, 1ULL << 62});
  elements("X03", "ones_and_2_63", {1, 1, 1ULL << 62, 2});
  elements("X03", "wraps_to_32", {(1ULL << 59) + 1, 32});
  elements("X03", "wraps_to_256_for_q4_k", {256, (1ULL << 56) + 1}, kGgmlQ4_K);
  size("X04", "f32_bytes_wrap_to_0", {1ULL << 62}, kGgmlF32);
  size("X04", "f32_bytes_wrap_to_4", {(1ULL << 62) + 1}, kGgmlF32);
  size("X04", "f64_bytes_wrap_to_8", {(1ULL << 61) + 1}, 28);
  size("X04", "q8_0_bytes_over_2_63", {(1ULL << 63) - 32, 1}, 8);
  for (std::size_t i = 0; i < 3; ++i) {  // a zero does not make the other dimensions harmless to print or multiply
    Dims dims = {1ULL << 62, 1ULL << 62, 1ULL << 62};
    dims[i] = 0;
    static const std::array<std::string, 3> kParts = {"dim[0]", "dim[1]", "dim[2]"};
    all.push_back(odd("X05", "zero_at_" + std::to_string(i) + "_among_huge", {"t", dims, kGgmlF32, 0},
                      "gguf.tensor.dim.zero", {&InfoOffsets::dims, 8 * i}, kParts[i].c_str()));
  }
}

void add_types(Cases& all) {
  for (const std::uint32_t type : {4U, 5U, 31U, 32U, 33U, 36U, 37U, 38U})
    all.push_back(bad("G61", std::to_string(type), {"t", {32}, type, 32}, "gguf.tensor.type.removed", kType, "type",
                      std::to_string(type)));
  for (const std::uint32_t type : {43U, 100U, 256U, 0xFFFFFFFFU})
    all.push_back(bad("G62", std::to_string(type), {"t", {32}, type, 32}, "gguf.tensor.type.unknown", kType, "type",
                      std::to_string(type)));
  all.push_back(bad("G63", "q4_k_255", {"t", {255, 256}, kGgmlQ4_K, 144}, "gguf.tensor.row", kDims, "dim[0]", "255"));
  all.push_back(bad("G63", "q4_k_32", {"t", {32, 256}, kGgmlQ4_K, 18}, "gguf.tensor.row", kDims, "dim[0]", "32"));
  all.push_back(bad("X06", "q4_0_no_dims", {"t", {}, kGgmlQ4_0, 18}, "gguf.tensor.row", kDims, "dim[0]", "1"));
  for (const std::uint64_t back : {0ULL, 7ULL, 8ULL, 24ULL})
    all.push_back({"X07", "name_of_2_64_minus_" + std::to_string(back + 1), [back](const TempFolder&) {
                     GgufBuilder b;
                     b.architecture();
                     const std::uint64_t at = b.here();
                     b.body().u64(~0ULL - back).text.append(100, 'n');
                     b.n_tensors = 1;
                     return error(b.header_bytes(), "gguf.tensor.name.length", at, "tensor[0].name.length");
                   }});
}

}  // namespace

Cases gguf_tensor_cases() {
  Cases all;
  add_names(all);
  add_shapes(all);
  add_products(all);
  add_types(all);
  return all;
}
INSTANTIATE_TEST_SUITE_P(Tensor, GgufCorpus, testing::ValuesIn(gguf_tensor_cases()), case_name);

}  // namespace apr::test
