// The parts of the SafeTensors reader and writer that share a table.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "apr/core/file.h"
#include "apr/core/tensor_type.h"
#include "apr/format/model_file.h"
#include "src/format/readers.h"

namespace apr::format {

/// The limit of the safetensors crate on the JSON header.
inline constexpr std::uint64_t kMaxSafeTensorsHeader = 100'000'000;

/// A dtype string of the safetensors crate. Spelled exactly so: "f32" is none.
struct SafeTensorsType {
  std::string_view name;
  TensorType type;
  std::uint32_t bits;  // of one element
};
[[nodiscard]] std::span<const SafeTensorsType> safetensors_types() noexcept;

/// Appends one file (a whole model, or a shard of it) to `model`.
void append_safetensors(ModelFile& model, std::unique_ptr<MappedFile> file, Findings& findings);

/// Paths of config.json, tokenizer.json, ... that stand in the folder of `path`.
void add_companions(ModelFile& model, const std::string& folder);

/// The tensors of one file, from model.tensors[first] on: unique names, data without hole, overlap or rest.
/// `placed`: indices of those whose range lies in the file.
struct SafeTensorsExtent {
  std::uint64_t data_begin = 0, data_end = 0;
};
void check_safetensors_layout(ModelFile& model, std::size_t first, std::vector<std::uint32_t> placed,
                              const SafeTensorsExtent& extent, Findings& findings);

}  // namespace apr::format
