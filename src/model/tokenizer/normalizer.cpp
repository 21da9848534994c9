#include "src/model/tokenizer/normalizer.h"

namespace apr::model::tok {
namespace {

template <class Map>
std::string mapped(std::string_view text, const Map& map) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) map(next_code_point(text, at), out);
  return out;
}

std::string lowercase(std::string_view text) {
  return mapped(text, [](std::uint32_t c, std::string& out) {
    append_utf8(out, to_lower(c));
    if (c == 0x130) append_utf8(out, 0x307);  // the one capital whose full lower case has two code points
  });
}

std::string without_marks(std::string_view text) {
  return mapped(text, [](std::uint32_t c, std::string& out) {
    if (category(c) != kMark) append_utf8(out, c);
  });
}

}  // namespace

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  out.reserve(text.size());
  std::size_t done = 0;
  for (auto at = text.find(from); at != std::string_view::npos; at = text.find(from, done)) {
    out.append(text.substr(done, at - done)).append(to);
    done = at + from.size();
  }
  return out.append(text.substr(done));
}

std::string Normalizer::apply(std::string_view text, bool is_first) const {
  std::string out(text);
  for (const auto& step : steps_) {
    switch (step.kind) {
      case Kind::Form: out = normalized(out, step.form); break;
      case Kind::Lowercase: out = lowercase(out); break;
      case Kind::StripAccents: out = without_marks(out); break;
      case Kind::Replace: out = replaced(out, step.text, step.to); break;
      case Kind::ReplacePattern: out = step.pattern->replaced(out, step.to); break;
      case Kind::Prepend:
        if (!out.empty()) out.insert(0, step.text);
        break;
      case Kind::PrependUnlessThere:
        if (!out.empty() && !out.starts_with(step.text)) out.insert(0, step.text);
        break;
      case Kind::PrependFirst:
        if (is_first && !out.empty() && !out.starts_with(step.text)) out.insert(0, step.text);
        break;
    }
  }
  return out;
}

}  // namespace apr::model::tok
