#include "tests/fuzz/gguf_mutator.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

namespace apr::fuzz {
namespace {

constexpr std::size_t kHeaderBytes = 24;

struct Number {
  std::size_t at, bytes;
};
struct Piece {  // an entry or a tensor info
  std::size_t begin, end;
  bool is_info;
};
struct Text {
  std::size_t length_at, begin, end;
};

/// The parts of a little-endian file as far as they can be told apart. It shares no code with the reader under test.
class Outline {
 public:
  explicit Outline(const std::string& file) : file_(file) {
    if (file.size() < kHeaderBytes) return;
    numbers = {{4, 4}, {8, 8}, {16, 8}};
    const std::uint64_t n_infos = get<std::uint64_t>(8), n_entries = get<std::uint64_t>(16);
    at_ = kHeaderBytes;
    for (std::uint64_t i = 0; i < n_entries && i < 4096; ++i) {
      const std::size_t begin = at_;
      if (!text() || !value(take_u32(), 0)) return;
      pieces.push_back({begin, at_, false});
    }
    for (std::uint64_t i = 0; i < n_infos && i < 4096; ++i) {
      const std::size_t begin = at_;
      if (!info()) return;
      pieces.push_back({begin, at_, true});
    }
  }
  std::vector<Number> numbers;
  std::vector<Piece> pieces;
  std::vector<Text> texts;

 private:
  template <class T>
  [[nodiscard]] T get(std::size_t at) const {
    T value{};
    if (at <= file_.size() && file_.size() - at >= sizeof(T)) std::memcpy(&value, file_.data() + at, sizeof(T));
    return value;
  }
  [[nodiscard]] bool has(std::uint64_t bytes) const { return bytes <= file_.size() - std::min(at_, file_.size()); }
  std::uint32_t take_u32() {
    if (!has(4)) return 255;
    numbers.push_back({at_, 4});
    at_ += 4;
    return get<std::uint32_t>(at_ - 4);
  }
  bool text() {
    if (!has(8)) return false;
    const auto length = get<std::uint64_t>(at_);
    numbers.push_back({at_, 8});
    at_ += 8;
    if (!has(length)) return false;
    texts.push_back({at_ - 8, at_, at_ + static_cast<std::size_t>(length)});
    at_ += static_cast<std::size_t>(length);
    return true;
  }
  bool value(std::uint32_t type, int depth) {
    static constexpr std::size_t kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (type > 12 || depth > 8) return false;
    if (type == 8) return text();
    if (type != 9) {
      if (!has(kBytes[type])) return false;
      numbers.push_back({at_, kBytes[type]});
      at_ += kBytes[type];
      return true;
    }
    const std::uint32_t element = take_u32();
    if (!has(8)) return false;
    const auto count = get<std::uint64_t>(at_);
    numbers.push_back({at_, 8});
    at_ += 8;
    for (std::uint64_t i = 0; i < count && i < 4096; ++i)
      if (!value(element, depth + 1)) return false;
    return count <= 4096;
  }
  bool info() {
    if (!text()) return false;
    const std::uint32_t n_dims = take_u32();
    if (n_dims > 4 || !has(8 * n_dims + 12)) return false;
    for (std::uint32_t i = 0; i < n_dims; ++i, at_ += 8) numbers.push_back({at_, 8});
    (void)take_u32();
    numbers.push_back({at_, 8});
    at_ += 8;
    return true;
  }
  const std::string& file_;
  std::size_t at_ = 0;
};

class Mutation {
 public:
  Mutation(const std::string& file, std::uint32_t seed) : file_(file), outline_(file), random_(seed) {}

  std::string run(std::size_t (*default_mutate)(std::uint8_t*, std::size_t, std::size_t)) {
    switch (below(8)) {
      case 0:
      case 1:
      case 2:
        if (!outline_.numbers.empty()) return change_number();
        break;
      case 3:
        if (!outline_.pieces.empty()) return repeat_piece();
        break;
      case 4:
        if (!outline_.pieces.empty()) return drop_piece();
        break;
      case 5:
        if (!outline_.texts.empty()) return change_text(default_mutate);
        break;
      case 6: return file_.substr(0, below(file_.size() + 1)) + std::string(below(40), '\0');
      default: break;
    }
    std::string out = file_ + std::string(64, '\0');
    out.resize(default_mutate(reinterpret_cast<std::uint8_t*>(out.data()), file_.size(), out.size()));
    return out;
  }

 private:
  std::uint64_t below(std::uint64_t n) { return n == 0 ? 0 : random_() % n; }
  template <class T>
  const T& pick(const std::vector<T>& list) {
    return list[static_cast<std::size_t>(below(list.size()))];
  }
  static void put(std::string& file, const Number& number, std::uint64_t value) {
    std::memcpy(file.data() + number.at, &value, number.bytes);
  }
  std::uint64_t awkward(std::uint64_t now) {
    const std::uint64_t one = 1ULL << below(64);
    switch (below(9)) {
      case 0: return below(14);
      case 1: return one;
      case 2: return one - 1;
      case 3: return 0 - one;
      case 4: return now + 1 + below(3);
      case 5: return now - 1 - below(3);
      case 6: return ~0ULL / (1 + below(64)) + below(3);  // times that it wraps to almost nothing
      case 7: return file_.size() - below(64);
      default: return now ^ one;
    }
  }
  std::string change_number() {
    std::string out = file_;
    const Number& number = pick(outline_.numbers);
    std::uint64_t now = 0;
    std::memcpy(&now, file_.data() + number.at, number.bytes);
    // Half of the time another number of the file: an offset where a size stands, a type where a count does.
    if (below(4) == 0) {
      const Number& other = pick(outline_.numbers);
      std::memcpy(&now, file_.data() + other.at, std::min(number.bytes, other.bytes));
      put(out, number, now);
    } else {
      put(out, number, awkward(now));
    }
    return out;
  }
  void add_to_count(std::string& out, bool is_info, std::uint64_t difference) {
    if (below(8) == 0) return;  // a count that is not the truth
    const Number count{is_info ? 8U : 16U, 8};
    std::uint64_t now = 0;
    std::memcpy(&now, out.data() + count.at, 8);
    put(out, count, now + difference);
  }
  std::string repeat_piece() {
    const Piece& piece = pick(outline_.pieces);
    const std::uint64_t n = 1 + (below(4) == 0 ? below(20) : 0);
    std::string out = file_.substr(0, piece.end);
    for (std::uint64_t i = 0; i < n; ++i) {
      std::string copy = file_.substr(piece.begin, piece.end - piece.begin);
      if (copy.size() > 9 && below(4) != 0) copy[8] = static_cast<char>('a' + below(26));  // mostly another name
      out += copy;
    }
    out += file_.substr(piece.end);
    add_to_count(out, piece.is_info, n);
    return out;
  }
  std::string drop_piece() {
    const Piece& piece = pick(outline_.pieces);
    std::string out = file_.substr(0, piece.begin) + file_.substr(piece.end);
    add_to_count(out, piece.is_info, ~0ULL);
    return out;
  }
  std::string change_text(std::size_t (*default_mutate)(std::uint8_t*, std::size_t, std::size_t)) {
    const Text& text = pick(outline_.texts);
    std::string inner = file_.substr(text.begin, text.end - text.begin);
    const std::size_t size = inner.size();
    inner.resize(size + 32);
    inner.resize(default_mutate(reinterpret_cast<std::uint8_t*>(inner.data()), size, inner.size()));
    std::string out = file_.substr(0, text.begin) + inner + file_.substr(text.end);
    put(out, {text.length_at, 8}, inner.size());
    return out;
  }

  const std::string& file_;
  Outline outline_;
  std::mt19937_64 random_;
};

}  // namespace

std::string mutate_gguf(const std::string& file, std::uint32_t seed,
                        std::size_t (*default_mutate)(std::uint8_t*, std::size_t, std::size_t)) {
  return Mutation(file, seed).run(default_mutate);
}

}  // namespace apr::fuzz

// What libFuzzer calls: every target that is linked with this file mutates so.
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  const std::string out =
      apr::fuzz::mutate_gguf(std::string(reinterpret_cast<char*>(data), size), seed, LLVMFuzzerMutate);
  const std::size_t n = std::min(out.size(), max_size);
  std::memcpy(data, out.data(), n);
  return n;
}
