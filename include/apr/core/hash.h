// Checksums: CRC-32 for the APR container, SHA-256 for identity.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace apr {

/// CRC-32/IEEE (reflected 0xEDB88320, as zlib). Pass the previous value to continue; 0 starts.
[[nodiscard]] std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t previous = 0) noexcept;

using Sha256Digest = std::array<std::byte, 32>;

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void update(std::span<const std::byte> bytes);
  /// Lower-case hexadecimal digest; ends the computation.
  [[nodiscard]] std::string finish();
  /// The digest itself; ends the computation.
  [[nodiscard]] Sha256Digest finish_digest();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};
[[nodiscard]] std::string sha256(std::span<const std::byte> bytes);
/// Lower-case hexadecimal.
[[nodiscard]] std::string to_hex(const Sha256Digest& digest);
/// The digest that 64 hexadecimal characters spell, or nothing.
[[nodiscard]] std::optional<Sha256Digest> parse_sha256(std::string_view hex) noexcept;

}  // namespace apr
