#include "src/engine/ngram.h"

#include <algorithm>

namespace apr::engine {

std::span<const std::int32_t> ngram_draft(std::span<const std::int32_t> text, std::size_t n_most) noexcept {
  constexpr std::size_t kLongest = 4, kShortest = 2;
  for (std::size_t n = kLongest; n >= kShortest && n_most > 0; --n) {
    if (text.size() <= n) continue;
    const auto end = text.last(n);
    for (std::size_t at = text.size() - n; at-- > 0;) {
      if (!std::ranges::equal(text.subspan(at, n), end)) continue;
      const auto behind = text.subspan(at + n);
      return behind.first(std::min(behind.size(), n_most));
    }
  }
  return {};
}

}  // namespace apr::engine
