// GGUF files byte by byte, hostile ones included. It shares no code with the reader or the writer under test.
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace apr::test {

/// Numbers of the value types, written out here so that a wrong number in the library shows.
enum GgufType : std::uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};
inline constexpr std::uint32_t kGgmlF32 = 0, kGgmlQ4_0 = 2, kGgmlQ4_K = 12, kGgmlI8 = 24, kGgmlI64 = 27;

/// Appends numbers in one byte order.
class Bytes {
 public:
  explicit Bytes(std::endian byte_order = std::endian::little) : order(byte_order) {}
  template <class T>
  Bytes& put(T value) {
    char raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof(T));
    if (order != std::endian::native) std::reverse(raw, raw + sizeof(T));
    text.append(raw, sizeof(T));
    return *this;
  }
  Bytes& u32(std::uint32_t v) { return put(v); }
  Bytes& u64(std::uint64_t v) { return put(v); }
  Bytes& string(std::string_view v) {
    u64(v.size());
    text += v;
    return *this;
  }
  std::endian order;
  std::string text;
};

/// Where the fields of one tensor info stand in the file.
struct InfoOffsets {
  std::uint64_t start, n_dims, dims, type, offset;
};

class GgufBuilder {
 public:
  explicit GgufBuilder(std::endian order = std::endian::little, std::uint32_t version = 3)
      : order_(order), version_(version), body_(order), data_(order) {}

  static constexpr std::uint64_t kHeader = 24;
  std::optional<std::uint64_t> n_tensors, n_kv;  // what the header says, when it is not the truth
  std::uint64_t alignment = 32;                  // real steps of the data; nothing is declared by it
  char padding_byte = 0;

  /// Offset where the next byte of metadata or tensor infos will stand.
  [[nodiscard]] std::uint64_t here() const { return kHeader + body_.text.size(); }
  [[nodiscard]] Bytes& body() { return body_; }

  /// Begins an entry: key and type. The caller appends the value to body(). Returns the entry's offset.
  std::uint64_t key(std::string_view name, std::uint32_t type) {
    const std::uint64_t at = here();
    body_.string(name).u32(type);
    ++kv_count_;
    return at;
  }
  template <class T>
  std::uint64_t kv(std::string_view name, std::uint32_t type, T value) {
    const std::uint64_t at = key(name, type);
    body_.put(value);
    return at;
  }
  std::uint64_t kv_u32(std::string_view name, std::uint32_t value) { return kv(name, kU32, value); }
  std::uint64_t kv_string(std::string_view name, std::string_view value) {
    const std::uint64_t at = key(name, kString);
    body_.string(value);
    return at;
  }
  std::uint64_t architecture(std::string_view value = "llama") { return kv_string("general.architecture", value); }
  std::uint64_t declared_alignment(std::uint32_t value) {
    alignment = value;
    return kv_u32("general.alignment", value);
  }

  /// A tensor info as told, right or wrong. Metadata must be complete.
  InfoOffsets info(std::string_view name, const std::vector<std::uint64_t>& dims, std::uint32_t type,
                   std::uint64_t offset) {
    InfoOffsets at{};
    at.start = here();
    body_.string(name);
    at.n_dims = here();
    body_.u32(static_cast<std::uint32_t>(dims.size()));
    at.dims = here();
    for (const std::uint64_t dim : dims) body_.u64(dim);
    at.type = here();
    body_.u32(type);
    at.offset = here();
    body_.u64(offset);
    ++tensor_count_;
    return at;
  }
  /// A sound tensor: its info at the next offset, and `size` bytes of data with padding behind them.
  InfoOffsets tensor(std::string_view name, const std::vector<std::uint64_t>& dims, std::uint32_t type,
                     std::uint64_t size) {
    const InfoOffsets at = info(name, dims, type, data_.text.size());
    data_.text.append(size, static_cast<char>(tensor_count_));
    pad(data_.text);
    return at;
  }
  InfoOffsets f32(std::string_view name, std::uint64_t n = 8) { return tensor(name, {n}, kGgmlF32, n * 4); }
  Bytes& data() { return data_; }
  [[nodiscard]] std::uint64_t data_offset() const { return (here() + alignment - 1) / alignment * alignment; }

  /// Header, metadata and infos; then padding and data.
  [[nodiscard]] std::string header_bytes() const {
    Bytes head(order_);
    head.text = "GGUF";
    head.u32(version_).u64(n_tensors.value_or(tensor_count_)).u64(n_kv.value_or(kv_count_));
    return head.text + body_.text;
  }
  [[nodiscard]] std::string bytes() const {
    std::string all = header_bytes();
    pad(all);
    return all + data_.text;
  }

 private:
  void pad(std::string& text) const { text.append((alignment - text.size() % alignment) % alignment, padding_byte); }

  std::endian order_;
  std::uint32_t version_;
  Bytes body_, data_;
  std::uint64_t kv_count_ = 0, tensor_count_ = 0;
};

/// Three keys and two tensors, sound.
inline GgufBuilder small_gguf(std::endian order = std::endian::little, std::uint32_t version = 3) {
  GgufBuilder b(order, version);
  b.architecture();
  b.kv_u32("llama.block_count", 1);
  b.key("list", kArray);
  b.body().u32(kI32).u64(3).put<std::int32_t>(-1).put<std::int32_t>(0).put<std::int32_t>(1);
  b.f32("a", 8);
  b.tensor("b", {32, 2}, kGgmlQ4_0, 36);
  return b;
}

}  // namespace apr::test
