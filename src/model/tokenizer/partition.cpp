#include "src/model/tokenizer/partition.h"

#include <fmt/format.h>

#include <algorithm>

namespace apr::model::tok {
namespace {

constexpr std::size_t kMaxSpecialBytes = 1024;

bool is_c_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/// Cuts every occurrence of one token out of one stretch of text.
void cut(std::string_view text, Fragment raw, std::int32_t token, std::string_view wanted, std::uint16_t attr,
         std::vector<Fragment>& out) {
  while (raw.begin < raw.end) {
    const auto found = text.substr(0, raw.end).find(wanted, raw.begin);
    if (found == std::string_view::npos) break;
    auto left_end = found;
    if ((attr & kAttrLstrip) != 0) {
      while (left_end > raw.begin && is_c_space(text[left_end - 1])) --left_end;
    }
    if (left_end > raw.begin) out.push_back({-1, raw.begin, left_end});
    out.push_back({token, found, found + wanted.size()});
    raw.begin = found + wanted.size();
    if ((attr & kAttrRstrip) != 0) {
      while (raw.begin < raw.end && is_c_space(text[raw.begin])) ++raw.begin;
    }
  }
  if (raw.begin < raw.end) out.push_back(raw);
}

}  // namespace

SpecialPartition::SpecialPartition(const Vocab& vocab) : nodes_(1), is_first_byte_(256, false) {
  for (std::int32_t id = 0; id < vocab.size(); ++id) {
    if ((vocab.attr(id) & (kAttrControl | kAttrUserDefined | kAttrUnknown)) == 0 || vocab.text(id).empty()) continue;
    if (vocab.text(id).size() > kMaxSpecialBytes) {
      throw Error(ErrorCode::ModelLoad, "a control or user-defined token is too long")
          .at(vocab.path)
          .in(fmt::format("tokens[{}]", id))
          .want(fmt::format("at most {} bytes", kMaxSpecialBytes))
          .got(std::to_string(vocab.text(id).size()));
    }
    ids_.push_back(id);
  }
  std::stable_sort(ids_.begin(), ids_.end(),
                   [&](std::int32_t a, std::int32_t b) { return vocab.text(a).size() > vocab.text(b).size(); });
  for (std::uint32_t rank = 0; rank < ids_.size(); ++rank) {
    std::uint32_t node = 0;
    for (const char c : vocab.text(ids_[rank])) {
      const auto byte = static_cast<unsigned char>(c);
      if (node == 0) is_first_byte_[byte] = true;
      if (const auto* edge = edges_.find(node, byte)) {
        node = edge->first;
      } else {
        const auto added = static_cast<std::uint32_t>(nodes_.size());
        nodes_.emplace_back();
        edges_.insert(node, byte, added, 0);
        node = added;
      }
    }
    if (nodes_[node].id == TextIndex::kNone) nodes_[node].id = rank;
  }
}

/// Which tokens stand anywhere in the text, by rank. Most do not, so that the search for each of the others is spared.
std::vector<bool> SpecialPartition::occurring(std::string_view text) const {
  std::vector<bool> found(ids_.size(), false);
  for (std::size_t begin = 0; begin < text.size(); ++begin) {
    if (!is_first_byte_[static_cast<unsigned char>(text[begin])]) continue;
    std::uint32_t node = 0;
    for (auto at = begin; at < text.size(); ++at) {
      const auto* edge = edges_.find(node, static_cast<unsigned char>(text[at]));
      if (edge == nullptr) break;
      node = edge->first;
      if (nodes_[node].id != TextIndex::kNone) found[nodes_[node].id] = true;
    }
  }
  return found;
}

std::vector<Fragment> SpecialPartition::split(const Vocab& vocab, std::string_view text, bool parse_special) const {
  std::vector<Fragment> fragments;
  if (!text.empty()) fragments.push_back({-1, 0, text.size()});
  const auto found = occurring(text);
  for (std::size_t rank = 0; rank < ids_.size(); ++rank) {
    const auto id = ids_[rank];
    const auto attr = vocab.attr(id);
    if (!found[rank] || (!parse_special && (attr & (kAttrControl | kAttrUnknown)) != 0)) continue;
    std::vector<Fragment> next;
    next.reserve(fragments.size() + 8);
    for (const auto& fragment : fragments) {
      if (fragment.token >= 0) {
        next.push_back(fragment);
      } else {
        cut(text, fragment, id, vocab.text(id), attr, next);
      }
    }
    fragments.swap(next);
  }
  return fragments;
}

}  // namespace apr::model::tok
