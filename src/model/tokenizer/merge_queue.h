// The order in which neighbours merge: smallest priority first, of equal ones the leftmost.
#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

namespace apr::model::tok {

/// One 64-bit key per candidate: a priority and the left symbol. Whether the candidate still stands is the caller's to
/// see: each symbol remembers the priority of the pair that it now forms with its right neighbour.
class MergeQueue {
 public:
  static constexpr std::uint32_t kNever = 0xFFFFFFFF;  // priority of a pair that does not merge

  struct Candidate {
    std::uint32_t priority;
    std::uint32_t left;
  };

  void clear() noexcept { keys_.clear(); }
  [[nodiscard]] bool empty() const noexcept { return keys_.empty(); }
  /// Adds without order; heapify() comes before the first pop().
  void append(Candidate c) { keys_.push_back(key(c)); }
  void heapify() { std::make_heap(keys_.begin(), keys_.end(), std::greater<>()); }
  void push(Candidate c) {
    keys_.push_back(key(c));
    std::push_heap(keys_.begin(), keys_.end(), std::greater<>());
  }
  Candidate pop() {
    std::pop_heap(keys_.begin(), keys_.end(), std::greater<>());
    const auto k = keys_.back();
    keys_.pop_back();
    return {static_cast<std::uint32_t>(k >> 32), static_cast<std::uint32_t>(k)};
  }

 private:
  static std::uint64_t key(Candidate c) noexcept { return (std::uint64_t{c.priority} << 32) | c.left; }
  std::vector<std::uint64_t> keys_;
};

}  // namespace apr::model::tok
