// Byte strings to small numbers, with a hash that gives the value of any substring in constant time.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace apr::model::tok {

/// Polynomial hash modulo 2^61-1 with a base drawn once per process, so that no file can be made to collide.
std::uint64_t hash_of(std::string_view text) noexcept;

/// Hashes of all prefixes of a text: any substring of up to `max_length` bytes then costs one multiplication.
class PrefixHashes {
 public:
  PrefixHashes(std::string_view text, std::size_t max_length);
  [[nodiscard]] std::uint64_t of(std::size_t begin, std::size_t end) const noexcept;

 private:
  std::vector<std::uint64_t> prefix_;
  std::vector<std::uint64_t> power_;
};

/// Distinct byte strings, numbered in the order of their first insertion. Keeps copies.
class TextIndex {
 public:
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;
  void reserve(std::size_t n_texts);
  /// The number of `text`, new or known.
  std::uint32_t insert(std::string_view text);
  [[nodiscard]] std::uint32_t find(std::string_view text) const noexcept { return find(text, hash_of(text)); }
  [[nodiscard]] std::uint32_t find(std::string_view text, std::uint64_t hash) const noexcept;
  [[nodiscard]] std::string_view text(std::uint32_t number) const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return ends_.size(); }

 private:
  struct Slot {
    std::uint32_t tag = 0;
    std::uint32_t number = kNone;
  };
  [[nodiscard]] std::size_t slot_of(std::string_view text, std::uint64_t hash) const noexcept;
  void grow(std::size_t n_slots);

  std::string bytes_;
  std::vector<std::uint64_t> ends_;  // text i is bytes_[ends_[i-1], ends_[i])
  std::vector<Slot> slots_;          // a power of two, at most half full
};

/// Pairs of numbers to a value; open addressing with a multiplier drawn once per process.
class PairMap {
 public:
  struct Entry {
    std::uint64_t key = kEmpty;
    std::uint32_t first = 0, second = 0;
  };
  void reserve(std::size_t n_pairs);
  /// Keeps the entry that was there first. Whether the pair was new.
  bool insert(std::uint32_t left, std::uint32_t right, std::uint32_t first, std::uint32_t second);
  [[nodiscard]] const Entry* find(std::uint32_t left, std::uint32_t right) const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  [[nodiscard]] std::size_t slot_of(std::uint64_t key) const noexcept;
  std::vector<Entry> slots_;
  std::size_t size_ = 0;
};

}  // namespace apr::model::tok
