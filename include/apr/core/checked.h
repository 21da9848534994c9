// Arithmetic that reports overflow instead of wrapping. Every number that came from a file goes through these.
#pragma once
#include <bit>
#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>

namespace apr {

template <std::integral T>
[[nodiscard]] constexpr bool add_overflows(T a, T b, T& sum) noexcept {
  return __builtin_add_overflow(a, b, &sum);
}
template <std::integral T>
[[nodiscard]] constexpr bool mul_overflows(T a, T b, T& product) noexcept {
  return __builtin_mul_overflow(a, b, &product);
}
/// a + b, or nothing when it does not fit.
template <std::integral T>
[[nodiscard]] constexpr std::optional<T> checked_add(T a, T b) noexcept {
  T r{};
  return add_overflows(a, b, r) ? std::nullopt : std::optional<T>(r);
}
/// a * b, or nothing when it does not fit.
template <std::integral T>
[[nodiscard]] constexpr std::optional<T> checked_mul(T a, T b) noexcept {
  T r{};
  return mul_overflows(a, b, r) ? std::nullopt : std::optional<T>(r);
}
/// `value` rounded up to a multiple of `alignment` (a power of two), or nothing when that does not fit.
[[nodiscard]] constexpr std::optional<std::uint64_t> checked_align(std::uint64_t value,
                                                                   std::uint64_t alignment) noexcept {
  if (!std::has_single_bit(alignment)) return std::nullopt;
  const auto up = checked_add(value, alignment - 1);
  return up ? std::optional<std::uint64_t>(*up & ~(alignment - 1)) : std::nullopt;
}
/// Whether [offset, offset+size) lies inside [0, total). Never computes offset+size.
[[nodiscard]] constexpr bool range_fits(std::uint64_t offset, std::uint64_t size, std::uint64_t total) noexcept {
  return offset <= total && size <= total - offset;
}

}  // namespace apr
