#include "src/model/tokenizer/text_index.h"

#include <algorithm>
#include <bit>
#include <random>

namespace apr::model::tok {
namespace {

constexpr std::uint64_t kPrime = (std::uint64_t{1} << 61) - 1;
__extension__ using Wide = unsigned __int128;

std::uint64_t reduce(std::uint64_t value) noexcept {
  value = (value & kPrime) + (value >> 61);
  return value >= kPrime ? value - kPrime : value;
}

std::uint64_t multiply(std::uint64_t a, std::uint64_t b) noexcept {
  const Wide product = Wide{a} * b;
  return reduce((static_cast<std::uint64_t>(product) & kPrime) + static_cast<std::uint64_t>(product >> 61));
}

std::uint64_t draw() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

std::uint64_t base() {
  static const std::uint64_t value = draw() % (kPrime - 65536) + 32768;
  return value;
}

std::uint64_t odd_multiplier() {
  static const std::uint64_t value = draw() | 1;
  return value;
}

std::uint64_t extend(std::uint64_t hash, char byte, std::uint64_t b) noexcept {
  return reduce(multiply(hash, b) + static_cast<unsigned char>(byte) + 1);
}

std::size_t first_slot(std::uint64_t hash, std::size_t n_slots) {
  const auto mixed = hash * odd_multiplier();
  return static_cast<std::size_t>(mixed >> (64 - std::countr_zero(n_slots)));
}

}  // namespace

std::uint64_t hash_of(std::string_view text) noexcept {
  const auto b = base();
  std::uint64_t hash = 0;
  for (const char c : text) hash = extend(hash, c, b);
  return hash;
}

PrefixHashes::PrefixHashes(std::string_view text, std::size_t max_length) : prefix_(text.size() + 1) {
  const auto b = base();
  for (std::size_t i = 0; i < text.size(); ++i) prefix_[i + 1] = extend(prefix_[i], text[i], b);
  power_.resize(std::min(max_length, text.size()) + 1, 1);
  for (std::size_t i = 1; i < power_.size(); ++i) power_[i] = multiply(power_[i - 1], b);
}

std::uint64_t PrefixHashes::of(std::size_t begin, std::size_t end) const noexcept {
  return reduce(prefix_[end] + kPrime - multiply(prefix_[begin], power_[end - begin]));
}

void TextIndex::reserve(std::size_t n_texts) {
  ends_.reserve(n_texts);
  grow(std::bit_ceil(std::max<std::size_t>(16, 2 * n_texts + 2)));
}

void TextIndex::grow(std::size_t n_slots) {
  if (n_slots <= slots_.size()) return;
  slots_.assign(n_slots, Slot{});
  for (std::uint32_t i = 0; i < ends_.size(); ++i) {
    const auto hash = hash_of(text(i));
    slots_[slot_of(text(i), hash)] = {static_cast<std::uint32_t>(hash), i};
  }
}

std::string_view TextIndex::text(std::uint32_t number) const noexcept {
  const std::uint64_t begin = number == 0 ? 0 : ends_[number - 1];
  return std::string_view(bytes_).substr(begin, ends_[number] - begin);
}

std::size_t TextIndex::slot_of(std::string_view wanted, std::uint64_t hash) const noexcept {
  const auto tag = static_cast<std::uint32_t>(hash);
  std::size_t i = first_slot(hash, slots_.size());
  while (slots_[i].number != kNone && (slots_[i].tag != tag || text(slots_[i].number) != wanted)) {
    i = (i + 1) & (slots_.size() - 1);
  }
  return i;
}

std::uint32_t TextIndex::insert(std::string_view added) {
  if (2 * (ends_.size() + 1) > slots_.size()) grow(std::bit_ceil(std::max<std::size_t>(16, 4 * (ends_.size() + 1))));
  const auto hash = hash_of(added);
  const auto i = slot_of(added, hash);
  if (slots_[i].number != kNone) return slots_[i].number;
  const auto number = static_cast<std::uint32_t>(ends_.size());
  bytes_.append(added);
  ends_.push_back(bytes_.size());
  slots_[i] = {static_cast<std::uint32_t>(hash), number};
  return number;
}

std::uint32_t TextIndex::find(std::string_view wanted, std::uint64_t hash) const noexcept {
  return slots_.empty() ? kNone : slots_[slot_of(wanted, hash)].number;
}

void PairMap::reserve(std::size_t n_pairs) {
  slots_.assign(std::bit_ceil(std::max<std::size_t>(16, 2 * n_pairs + 2)), Entry{});
  size_ = 0;
}

std::size_t PairMap::slot_of(std::uint64_t key) const noexcept {
  const std::uint64_t mixed = (key ^ (key >> 32)) * odd_multiplier();
  std::size_t i = first_slot(mixed ^ (mixed >> 29), slots_.size());
  while (slots_[i].key != kEmpty && slots_[i].key != key) i = (i + 1) & (slots_.size() - 1);
  return i;
}

bool PairMap::insert(std::uint32_t left, std::uint32_t right, std::uint32_t first, std::uint32_t second) {
  if (2 * (size_ + 1) > slots_.size()) {
    std::vector<Entry> old(std::bit_ceil(std::max<std::size_t>(16, 4 * (size_ + 1))));
    old.swap(slots_);
    for (const auto& entry : old) {
      if (entry.key != kEmpty) slots_[slot_of(entry.key)] = entry;
    }
  }
  const std::uint64_t key = (std::uint64_t{left} << 32) | right;
  auto& slot = slots_[slot_of(key)];
  if (slot.key == key) return false;
  slot = {key, first, second};
  ++size_;
  return true;
}

const PairMap::Entry* PairMap::find(std::uint32_t left, std::uint32_t right) const noexcept {
  if (slots_.empty()) return nullptr;
  const auto& slot = slots_[slot_of((std::uint64_t{left} << 32) | right)];
  return slot.key == kEmpty ? nullptr : &slot;
}

}  // namespace apr::model::tok
