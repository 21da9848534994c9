// A GGUF with near-Gaussian weights in real quant types: sound data to damage on purpose.
#pragma once
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "apr/format/writer.h"
#include "apr/kernels/dispatch.h"
#include "tests/support/json_builder.h"

namespace apr::test {

/// Irwin-Hall of four, scaled to a deviation of about 0.02. A pure function of the seed.
inline std::vector<float> near_gaussian(std::size_t n, std::uint64_t seed) {
  std::vector<float> x(n);
  std::uint64_t state = seed * 2654435761U + 1;
  for (float& v : x) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    std::uint64_t z = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z ^= z >> 27;
    std::int32_t sum = -2 * 65535;
    for (int k = 0; k < 4; ++k) sum += static_cast<std::int32_t>((z >> (16 * k)) & 0xFFFF);
    v = std::ldexp(static_cast<float>(sum), -21);
  }
  return x;
}

inline constexpr std::int64_t kWeightRows = 192, kWeightColumns = 1024;

/// Four layers of blk.N.ffn_up.weight [192, 1024] of `type`, and of blk.N.attn_norm.weight [1024] in F32.
inline void write_weights(const std::string& path, TensorType type) {
  std::vector<format::TensorDecl> decls;
  for (int layer = 0; layer < 4; ++layer) {
    decls.push_back({"blk." + std::to_string(layer) + ".attn_norm.weight", TensorType::F32, {kWeightColumns}});
    decls.push_back({"blk." + std::to_string(layer) + ".ffn_up.weight", type, {kWeightRows, kWeightColumns}});
  }
  const auto writer = format::make_writer(format::Format::Gguf, path);
  writer->begin({{"general.architecture", format::WriteValue::string("llama")}}, decls);
  const TypeInfo& info = *find_type(type);
  for (std::size_t t = 0; t < decls.size(); ++t) {
    if (t % 2 == 0) {
      std::vector<float> norm = near_gaussian(kWeightColumns, 100 + t);
      for (float& v : norm) v = 1 + 5 * v;
      writer->write(std::as_bytes(std::span(norm)));
    } else {
      const auto values = near_gaussian(kWeightRows * kWeightColumns, t);
      std::vector<std::byte> blocks(values.size() / info.block_elements * info.block_bytes);
      kernels::quantizer(type)(values.data(), blocks.data(),
                               static_cast<std::int64_t>(values.size() / info.block_elements));
      writer->write(blocks);
    }
    writer->end_tensor();
  }
  writer->finish();
}

}  // namespace apr::test
