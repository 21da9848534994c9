// One small model with known values, in each format: what the command line tests look at.
#pragma once
#include <cstring>
#include <string>
#include <vector>

#include "apr/format/writer.h"

namespace apr::test {

/// 2 tensors in GGUF and APR, and in SafeTensors without the quantised one:
///   output_norm.weight  F32 [2, 4]: 0.5, 1.5, ... 7.5
///   blk.0.attn_q.weight Q4_K [1, 256]: d = 0.5, dmin = 0.25, scales 0x01 .. 0x0c, quants 0x00 .. 0x7f
inline void write_small_model(format::Format format, const std::string& path) {
  std::vector<format::TensorDecl> decls = {{"output_norm.weight", TensorType::F32, {2, 4}}};
  if (format != format::Format::SafeTensors) decls.push_back({"blk.0.attn_q.weight", TensorType::Q4_K, {1, 256}});
  std::vector<format::WriteEntry> metadata;
  if (format == format::Format::Gguf) {
    metadata = {{"general.architecture", format::WriteValue::string("llama")},
                {"general.name", format::WriteValue::string("small")},
                {"llama.block_count", format::WriteValue::u32(1)},
                {"llama.rope.freq_base", format::WriteValue::f32(10000.F)},
                {"tokenizer.ggml.tokens", format::WriteValue::strings({"a", "b", "c", "d", "e", "f"})}};
  } else if (format == format::Format::Apr) {
    metadata = {{"architecture", format::WriteValue::string("llama")}, {"num_layers", format::WriteValue::u32(1)}};
  } else {
    metadata = {{"format", format::WriteValue::string("pt")}};
  }
  float norm[8];
  for (int i = 0; i < 8; ++i) norm[i] = static_cast<float>(i) + 0.5F;
  unsigned char block[144] = {0x00, 0x38, 0x00, 0x34};  // f16 0.5 and 0.25
  for (int i = 0; i < 12; ++i) block[4 + i] = static_cast<unsigned char>(i + 1);
  for (int i = 0; i < 128; ++i) block[16 + i] = static_cast<unsigned char>(i);

  const auto writer = format::make_writer(format, path);
  writer->begin(metadata, decls);
  writer->write(std::as_bytes(std::span(norm)));
  writer->end_tensor();
  if (decls.size() > 1) {
    writer->write(std::as_bytes(std::span(block)));
    writer->end_tensor();
  }
  writer->finish();
}

}  // namespace apr::test
