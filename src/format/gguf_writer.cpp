// Writes little-endian GGUF version 3 in one pass: every offset follows from the declarations.
#include <fmt/format.h>

#include <bit>
#include <limits>
#include <unordered_set>
#include <utility>

#include "apr/core/checked.h"
#include "src/format/gguf.h"

namespace apr::format {
namespace {

using gguf::kDefaultAlignment;

constexpr std::size_t kMaxNameBytesOfGgml = 63;  // GGML_MAX_NAME counts the NUL

/// Bytes of the header under construction.
class Buffer {
 public:
  template <Arithmetic T>
  void put(T value) {
    if constexpr (std::endian::native != std::endian::little) value = byte_swapped(value);
    const auto* bytes = reinterpret_cast<const char*>(&value);
    text_.append(bytes, sizeof(T));
  }
  void put_string(std::string_view text) {
    put<std::uint64_t>(text.size());
    text_ += text;
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

Error refuse(const std::string& path, std::string field, std::string message) {
  return Error(ErrorCode::Usage, std::move(message)).at(path).in(std::move(field));
}

class GgufWriter final : public ModelWriter {
 public:
  explicit GgufWriter(const std::string& path) : out_(path) {}

  void begin(const std::vector<WriteEntry>& metadata, const std::vector<TensorDecl>& tensors) override {
    Buffer head;
    for (const char c : {'G', 'G', 'U', 'F'}) head.put(c);
    head.put<std::uint32_t>(3);
    head.put<std::uint64_t>(tensors.size());
    head.put<std::uint64_t>(metadata.size());
    put_metadata(head, metadata);
    put_infos(head, tensors);
    out_.write(head.text());
    pad();
  }

  void write(std::span<const std::byte> bytes) override {
    APR_CHECK(next_ < sizes_.size());
    written_ += bytes.size();
    if (written_ > sizes_[next_]) throw size_mismatch();
    out_.write(bytes);
  }

  void end_tensor() override {
    APR_CHECK(next_ < sizes_.size());
    if (written_ != sizes_[next_]) throw size_mismatch();
    pad();
    ++next_;
    written_ = 0;
  }

  void finish() override {
    APR_CHECK(next_ == sizes_.size());
    out_.commit();
  }

 private:
  [[nodiscard]] Error size_mismatch() const {
    return Error(ErrorCode::Internal, "the bytes of a tensor differ from its declared size")
        .at(out_.path(), out_.offset())
        .in(fmt::format("tensor[{}]", next_))
        .want(fmt::format("{} bytes", sizes_[next_]))
        .got(fmt::format("{}", written_));
  }

  void pad() { out_.write_zeros((alignment_ - out_.offset() % alignment_) % alignment_); }

  void put_metadata(Buffer& head, const std::vector<WriteEntry>& metadata) {
    std::unordered_set<std::string_view> seen;
    for (const WriteEntry& entry : metadata) {
      const std::string field = fmt::format("metadata[{}]", gguf::quoted(entry.key));
      if (entry.key.empty() || entry.key.size() > gguf::kMaxKeyBytes)
        throw refuse(out_.path(), field, "GGUF keys have 1 to 65535 bytes")
            .got(fmt::format("{} bytes", entry.key.size()));
      if (!seen.insert(entry.key).second) throw refuse(out_.path(), field, "the key is given twice");
      if (entry.key == "general.alignment") take_alignment(entry.value);
      head.put_string(entry.key);
      put_value(head, entry.value, field);
    }
  }

  void take_alignment(const WriteValue& value) {
    const auto* number = std::get_if<std::uint64_t>(&value.data);
    const bool usable = value.type == ValueType::U32 && number != nullptr && std::has_single_bit(*number) &&
                        *number % 8 == 0 && *number <= gguf::kMaxAlignment;
    if (!usable)
      throw refuse(out_.path(), "metadata[\"general.alignment\"]", "the data cannot be aligned like this")
          .want(fmt::format("a u32, a power of two from 8 to {}", gguf::kMaxAlignment));
    alignment_ = *number;
  }

  void put_value(Buffer& head, const WriteValue& value, const std::string& field) {
    if (value.type == ValueType::Null || value.type == ValueType::Object ||
        (value.type == ValueType::Array && (value.is_json || value.element == ValueType::Array)))
      throw refuse(out_.path(), field, "GGUF metadata cannot hold this value")
          .want("a scalar, a string or an array of one plain type")
          .got(value.type == ValueType::Array ? "a nested or mixed array" : std::string(name(value.type)));
    head.put(static_cast<std::uint32_t>(value.type));
    if (value.type != ValueType::Array) return put_scalar(head, value, field);
    head.put(static_cast<std::uint32_t>(value.element));
    std::visit([&](const auto& data) { put_elements(head, data, value.element, field); }, value.data);
  }

  template <class T>
  void put_elements(Buffer& head, const std::vector<T>& elements, ValueType element, const std::string& field) {
    head.put<std::uint64_t>(elements.size());
    for (const T& v : elements) put_element(head, v, element, field);
  }
  template <class T>
  [[noreturn]] void put_elements(Buffer&, const T&, ValueType, const std::string& field) {
    throw refuse(out_.path(), field, "the value is declared an array and is none");
  }

  void put_scalar(Buffer& head, const WriteValue& value, const std::string& field) {
    std::visit(
        [&](const auto& data) {
          using T = std::decay_t<decltype(data)>;
          if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::string>)
            put_element(head, data, value.type, field);
          else
            throw refuse(out_.path(), field, "the value is an array and is declared otherwise");
        },
        value.data);
  }

  void put_element(Buffer& head, const std::string& text, ValueType type, const std::string& field) {
    if (type != ValueType::String) throw wrong_type(field, type);
    head.put_string(text);
  }

  template <Arithmetic T>
  void put_element(Buffer& head, T value, ValueType type, const std::string& field) {
    switch (type) {
      case ValueType::U8: return put_integer<std::uint8_t>(head, value, field);
      case ValueType::I8: return put_integer<std::int8_t>(head, value, field);
      case ValueType::U16: return put_integer<std::uint16_t>(head, value, field);
      case ValueType::I16: return put_integer<std::int16_t>(head, value, field);
      case ValueType::U32: return put_integer<std::uint32_t>(head, value, field);
      case ValueType::I32: return put_integer<std::int32_t>(head, value, field);
      case ValueType::I64: return put_integer<std::int64_t>(head, value, field);
      case ValueType::U64:  // in an array of i64 the 64 bits are taken as they are (WriteValue::copy_of)
        if constexpr (std::is_same_v<T, std::int64_t>) return head.put(static_cast<std::uint64_t>(value));
        return put_integer<std::uint64_t>(head, value, field);
      case ValueType::F32: return head.put(static_cast<float>(value));
      case ValueType::F64: return head.put(static_cast<double>(value));
      case ValueType::Bool: return head.put(static_cast<std::uint8_t>(value != T{} ? 1 : 0));
      default: throw wrong_type(field, type);
    }
  }

  template <class Narrow, class T>
  void put_integer(Buffer& head, T value, const std::string& field) {
    if constexpr (std::is_floating_point_v<T> || std::is_same_v<T, bool>) {
      throw refuse(out_.path(), field, "the value is declared an integer and is none");
    } else {
      if (!std::in_range<Narrow>(value))
        throw refuse(out_.path(), field, "the number does not fit its declared type").got(fmt::format("{}", value));
      head.put(static_cast<Narrow>(value));
    }
  }

  [[nodiscard]] Error wrong_type(const std::string& field, ValueType type) const {
    return refuse(out_.path(), field, fmt::format("the value does not fit its declared type {}", name(type)));
  }

  void put_infos(Buffer& head, const std::vector<TensorDecl>& tensors) {
    std::unordered_set<std::string_view> seen;
    std::uint64_t offset = 0;
    for (const TensorDecl& tensor : tensors) {
      const std::string field = fmt::format("tensor {}", gguf::quoted(tensor.name));
      if (!seen.insert(tensor.name).second) throw refuse(out_.path(), field, "two tensors have this name");
      const std::uint64_t size = checked_size(tensor, field);
      head.put_string(tensor.name);
      head.put(static_cast<std::uint32_t>(tensor.shape.size()));
      for (std::size_t i = tensor.shape.size(); i-- > 0;) head.put(tensor.shape[i]);
      head.put(static_cast<std::uint32_t>(tensor.type));
      head.put(offset);
      sizes_.push_back(size);
      const auto end = checked_add(offset, size);
      const auto next = end ? checked_align(*end, alignment_) : std::nullopt;
      if (!next) throw refuse(out_.path(), field, "the tensors together are too large");
      offset = *next;
    }
  }

  /// Stored bytes of a tensor that GGUF and ggml can hold exactly.
  [[nodiscard]] std::uint64_t checked_size(const TensorDecl& tensor, const std::string& field) const {
    if (tensor.name.empty() || tensor.name.size() > kMaxNameBytesOfGgml)
      throw refuse(out_.path(), field, "ggml takes names of 1 to 63 bytes")
          .got(fmt::format("{} bytes", tensor.name.size()));
    if (tensor.name.find('\0') != std::string::npos) throw refuse(out_.path(), field, "the name holds a NUL byte");
    if (tensor.shape.size() > gguf::kMaxDims)
      throw refuse(out_.path(), field, "GGUF tensors have at most 4 dimensions")
          .got(fmt::format("{}", tensor.shape.size()));
    const TypeInfo* type = find_ggml_type(static_cast<std::uint32_t>(tensor.type));
    if (type == nullptr || type->status != TypeStatus::Live)
      throw refuse(out_.path(), field, "GGUF has no such element type")
          .got(std::string(name(tensor.type)))
          .help("convert the tensor to a type that ggml has");
    std::uint64_t n_elements = 1;
    for (const std::int64_t dim : tensor.shape)
      if (dim < 0 || mul_overflows(n_elements, static_cast<std::uint64_t>(dim), n_elements))
        throw refuse(out_.path(), field, "the shape is negative or too large").got(fmt::format("{}", dim));
    const std::uint64_t row = tensor.shape.empty() ? 1 : static_cast<std::uint64_t>(tensor.shape.back());
    const auto size = stored_bytes(*type, n_elements, row);
    if (!size)
      throw refuse(out_.path(), field, "a row is no whole number of blocks")
          .want(fmt::format("a multiple of {} ({})", type->block_elements, type->name))
          .got(fmt::format("{}", row));
    return *size;
  }

  OutputFile out_;
  std::uint64_t alignment_ = kDefaultAlignment;
  std::vector<std::uint64_t> sizes_;  // by tensor
  std::size_t next_ = 0;              // the tensor being written
  std::uint64_t written_ = 0;         // bytes of it so far
};

}  // namespace

std::unique_ptr<ModelWriter> make_gguf_writer(const std::string& path) { return std::make_unique<GgufWriter>(path); }

}  // namespace apr::format
