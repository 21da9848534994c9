// str.split and its relatives.
#include <algorithm>

#include "methods.h"
#include "text_methods.h"
#include "unicode.h"

namespace apr::model::jinja {

std::size_t rfind_text(Runtime& rt, std::string_view text, std::string_view part) {
  if (part.empty()) return text.size();
  if (part.size() > text.size()) return text.npos;
  for (std::size_t at = text.size() - part.size() + 1; at-- > 0;) {
    if (text[at] == part[0] && text.substr(at, part.size()) == part) return at;
    if (at % 64 == 0) rt.budget.step(1 + part.size() / 64);
  }
  return text.npos;
}

namespace {

using Pieces = std::vector<std::string_view>;

std::size_t skip_spaces(std::string_view text, std::size_t pos) {
  while (pos < text.size()) {
    std::size_t next = pos;
    if (!is_space(decode(text, next))) break;
    pos = next;
  }
  return pos;
}

std::size_t skip_word(std::string_view text, std::size_t pos) {
  while (pos < text.size()) {
    std::size_t next = pos;
    if (is_space(decode(text, next))) break;
    pos = next;
  }
  return pos;
}

Pieces split_words(Runtime& rt, std::string_view text, std::int64_t limit) {
  Pieces pieces;
  for (std::size_t pos = skip_spaces(text, 0); pos < text.size(); pos = skip_spaces(text, pos)) {
    rt.budget.step();
    if (limit-- == 0) {
      pieces.push_back(text.substr(pos));
      break;
    }
    const std::size_t end = skip_word(text, pos);
    pieces.push_back(text.substr(pos, end - pos));
    pos = end;
  }
  return pieces;
}

Pieces rsplit_words(Runtime& rt, std::string_view text, std::int64_t limit) {
  Pieces pieces;
  text = stripped(text, std::nullopt, false, true);
  while (!text.empty()) {
    rt.budget.step();
    if (limit-- == 0) {
      pieces.push_back(text);
      break;
    }
    std::size_t begin = text.size();
    while (begin > 0) {
      const std::size_t start = previous_start(text, begin);
      std::size_t pos = start;
      if (is_space(decode(text, pos))) break;
      begin = start;
    }
    pieces.push_back(text.substr(begin));
    text = stripped(text.substr(0, begin), std::nullopt, false, true);
  }
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

Pieces split_at(Runtime& rt, std::string_view text, std::string_view separator, std::int64_t limit) {
  Pieces pieces;
  std::size_t pos = 0;
  for (; limit != 0; --limit) {
    const std::size_t hit = find_text(text, separator, pos);
    if (hit == text.npos) break;
    rt.budget.step();
    pieces.push_back(text.substr(pos, hit - pos));
    pos = hit + separator.size();
  }
  pieces.push_back(text.substr(pos));
  return pieces;
}

Pieces rsplit_at(Runtime& rt, std::string_view text, std::string_view separator, std::int64_t limit) {
  Pieces pieces;
  for (; limit != 0; --limit) {
    const std::size_t hit = rfind_text(rt, text, separator);
    if (hit == text.npos) break;
    pieces.push_back(text.substr(hit + separator.size()));
    text = text.substr(0, hit);
  }
  pieces.push_back(text);
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

Value to_list(Runtime& rt, const Value& self, const Pieces& pieces) {
  std::vector<Value> items;
  items.reserve(pieces.size());
  for (const std::string_view piece : pieces) items.push_back(rt.text(piece, self.is_markup()));
  return rt.list(std::move(items));
}

std::string_view separator_of(const Bound& b) {
  const std::string_view separator = b.text(0);
  if (separator.empty()) fail("empty separator");
  return separator;
}

Value split_from(Runtime& rt, const Value& self, const Args& args, bool right) {
  const Bound b(right ? "rsplit" : "split", args, {"sep", "maxsplit"});
  const std::int64_t limit = b.integer(1, -1);
  rt.budget.step(self.view().size() / 64);
  if (!b.has(0) || b.at(0).is_none()) {
    return to_list(rt, self, right ? rsplit_words(rt, self.view(), limit) : split_words(rt, self.view(), limit));
  }
  const std::string_view separator = separator_of(b);
  return to_list(rt, self,
                 right ? rsplit_at(rt, self.view(), separator, limit) : split_at(rt, self.view(), separator, limit));
}

Value triple(Runtime& rt, const Value& self, std::string_view a, std::string_view b, std::string_view c) {
  std::vector<Value> items;
  for (const std::string_view part : {a, b, c}) items.push_back(rt.text(part, self.is_markup()));
  return rt.tuple(std::move(items));
}

}  // namespace

Value split(Runtime& rt, const Value& self, const Args& args) { return split_from(rt, self, args, false); }
Value rsplit(Runtime& rt, const Value& self, const Args& args) { return split_from(rt, self, args, true); }

Value partition(Runtime& rt, const Value& self, const Args& args) {
  const Bound b("partition", args, {"sep"}, 1);
  const std::string_view text = self.view(), separator = separator_of(b);
  const std::size_t hit = find_text(text, separator, 0);
  if (hit == text.npos) return triple(rt, self, text, "", "");
  return triple(rt, self, text.substr(0, hit), separator, text.substr(hit + separator.size()));
}

Value rpartition(Runtime& rt, const Value& self, const Args& args) {
  const Bound b("rpartition", args, {"sep"}, 1);
  const std::string_view text = self.view(), separator = separator_of(b);
  const std::size_t hit = rfind_text(rt, text, separator);
  if (hit == text.npos) return triple(rt, self, "", "", text);
  return triple(rt, self, text.substr(0, hit), separator, text.substr(hit + separator.size()));
}

}  // namespace apr::model::jinja
