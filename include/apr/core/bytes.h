// A reader over a span of bytes that cannot leave it.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

namespace apr {

template <class T>
concept Arithmetic = std::is_arithmetic_v<T>;

/// The same value with its bytes reversed.
template <Arithmetic T>
[[nodiscard]] T byte_swapped(T value) noexcept {
  unsigned char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  for (std::size_t i = 0; i < sizeof(T) / 2; ++i) std::swap(bytes[i], bytes[sizeof(T) - 1 - i]);
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

/// Reads a T at `from` (no alignment needed) stored in `order`. The caller guarantees sizeof(T) readable bytes.
template <Arithmetic T>
[[nodiscard]] T load(const std::byte* from, std::endian order = std::endian::little) noexcept {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return order == std::endian::native ? value : byte_swapped(value);
}

/// Sequential reads from a span. A read that does not fit returns false and moves nothing.
/// Offsets are absolute: `base` is the file offset of the span's first byte.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes, std::endian order = std::endian::little,
                      std::uint64_t base = 0) noexcept
      : bytes_(bytes), order_(order), base_(base) {}

  template <Arithmetic T>
  [[nodiscard]] bool read(T& value) noexcept {
    if (remaining() < sizeof(T)) return false;
    value = load<T>(bytes_.data() + pos_, order_);
    pos_ += sizeof(T);
    return true;
  }
  /// The next `count` bytes, without a copy.
  [[nodiscard]] bool read_bytes(std::uint64_t count, std::span<const std::byte>& out) noexcept {
    if (count > remaining()) return false;
    out = bytes_.subspan(pos_, static_cast<std::size_t>(count));
    pos_ += static_cast<std::size_t>(count);
    return true;
  }
  [[nodiscard]] bool read_text(std::uint64_t count, std::string_view& out) noexcept {
    std::span<const std::byte> raw;
    if (!read_bytes(count, raw)) return false;
    out = {reinterpret_cast<const char*>(raw.data()), raw.size()};
    return true;
  }
  [[nodiscard]] bool skip(std::uint64_t count) noexcept {
    std::span<const std::byte> ignored;
    return read_bytes(count, ignored);
  }
  /// Moves to an absolute offset inside the span (its end included).
  [[nodiscard]] bool seek(std::uint64_t absolute) noexcept {
    if (absolute < base_ || absolute - base_ > bytes_.size()) return false;
    pos_ = static_cast<std::size_t>(absolute - base_);
    return true;
  }
  [[nodiscard]] std::uint64_t offset() const noexcept { return base_ + pos_; }
  [[nodiscard]] std::uint64_t remaining() const noexcept { return bytes_.size() - pos_; }
  [[nodiscard]] std::endian order() const noexcept { return order_; }

 private:
  std::span<const std::byte> bytes_;
  std::endian order_;
  std::uint64_t base_;
  std::size_t pos_ = 0;
};

}  // namespace apr
