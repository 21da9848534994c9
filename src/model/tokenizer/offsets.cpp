// Where the tokens of a text begin in it.
#include <fmt/format.h>

#include "apr/model/tokenizer.h"
#include "src/model/tokenizer/state.h"

namespace apr::model {
namespace {

struct Place {
  std::size_t begin = 0, end = 0;
};

/// Where `piece` stands at `cursor`: as it is, without the space that the tokenizer put before it, or behind white
/// space that the tokenizer dropped.
std::optional<Place> place_of(std::string_view text, std::size_t cursor, std::string_view piece) {
  const auto at = [&](std::size_t begin, std::string_view bytes) -> std::optional<Place> {
    if (!text.substr(begin).starts_with(bytes)) return std::nullopt;
    return Place{begin, begin + bytes.size()};
  };
  if (const auto place = at(cursor, piece)) return place;
  const std::string_view bare = piece.starts_with(' ') ? piece.substr(1) : piece;
  if (const auto place = at(cursor, bare)) return place;
  const std::size_t next = text.find_first_not_of(" \t\r\n", cursor);
  return next == std::string_view::npos ? std::nullopt : at(next, bare);
}

}  // namespace

TokenOffsets Tokenizer::offsets(std::string_view text, std::span<const std::int32_t> ids, EncodeOptions options) const {
  TokenOffsets out;
  out.begin.resize(ids.size());
  const std::size_t n_front = options.add_special ? state_->prefix_ids.size() : 0;
  const std::size_t n_back = options.add_special ? state_->suffix_ids.size() : 0;
  std::size_t cursor = 0;
  for (std::size_t i = n_front; i + n_back < ids.size(); ++i) {
    const auto place = place_of(text, cursor, piece(ids[i]));
    if (!place) {
      out.absent_reason = fmt::format("the tokenizer changes the text at byte {} or behind it", cursor);
      return out;
    }
    out.begin[i] = place->begin;
    cursor = place->end;
  }
  return out;
}

}  // namespace apr::model
