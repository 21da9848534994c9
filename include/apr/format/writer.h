// Writing a model, streamed: declare everything, then give the bytes of each tensor in order.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "apr/core/tensor_type.h"
#include "apr/format/model_file.h"
#include "apr/format/value.h"

namespace apr::format {

/// A metadata value to write. `type` decides the width in GGUF; JSON formats write the plain value.
struct WriteValue {
  ValueType type = ValueType::String;
  std::variant<std::uint64_t, std::int64_t, double, bool, std::string, std::vector<std::string>,
               std::vector<std::int64_t>, std::vector<double>>
      data;
  // Element type when `type` is Array. Integers and booleans of any width stand in the vector of i64; of u64, the 64
  // bits.
  ValueType element = ValueType::String;
  // The string holds JSON text: an object (`type` String), null, or a nested or mixed array (`type` and `element`
  // Array). JSON formats write it verbatim; GGUF writes an object as a string and refuses the others.
  bool is_json = false;

  static WriteValue u8(std::uint8_t v);
  static WriteValue u32(std::uint32_t v);
  static WriteValue u64(std::uint64_t v);
  static WriteValue i32(std::int32_t v);
  static WriteValue f32(float v);
  static WriteValue boolean(bool v);
  static WriteValue string(std::string v);
  static WriteValue strings(std::vector<std::string> v);
  static WriteValue i32s(std::vector<std::int64_t> v);
  static WriteValue f32s(std::vector<double> v);
  static WriteValue json(std::string text);
  /// The same value as one that was read: arrays are decoded, objects and nested or mixed arrays become JSON text.
  static WriteValue copy_of(const Value& value);
};

struct WriteEntry {
  std::string key;
  WriteValue value;
};

struct TensorDecl {
  std::string name;
  TensorType type = TensorType::F32;
  std::vector<std::int64_t> shape;  // outermost first
};

/// One output file. Call order: begin, then for each declared tensor write()* and end_tensor(), then finish().
/// Bytes go to a temporary file that finish() renames into place; without finish() nothing remains.
class ModelWriter {
 public:
  virtual ~ModelWriter() = default;
  /// Throws Usage when the format cannot hold a declaration exactly (type, name length, rank): names the tensor.
  virtual void begin(const std::vector<WriteEntry>& metadata, const std::vector<TensorDecl>& tensors) = 0;
  virtual void write(std::span<const std::byte> bytes) = 0;
  /// Throws Internal when the bytes written differ from the declared size.
  virtual void end_tensor() = 0;
  virtual void finish() = 0;
};

/// Little-endian GGUF v3, SafeTensors or APR v2.
[[nodiscard]] std::unique_ptr<ModelWriter> make_writer(Format format, const std::string& path);

}  // namespace apr::format
