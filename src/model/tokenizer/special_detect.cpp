#include <algorithm>
#include <array>
#include <set>

#include "src/model/tokenizer/vocab.h"

namespace apr::model::tok {
namespace {

struct KnownName {
  std::optional<std::int32_t> SpecialTokens::*field;
  std::string_view text;
};
constexpr KnownName kKnownNames[] = {
#define APR_SPECIAL_TOKEN(field, text) {&SpecialTokens::field, text},
#define APR_END_OF_GENERATION(text)
#include "src/model/tokenizer/special_names.def"
#undef APR_SPECIAL_TOKEN
#undef APR_END_OF_GENERATION
};
constexpr std::string_view kEndNames[] = {
#define APR_SPECIAL_TOKEN(field, text)
#define APR_END_OF_GENERATION(text) text,
#include "src/model/tokenizer/special_names.def"
#undef APR_SPECIAL_TOKEN
#undef APR_END_OF_GENERATION
};
/// Harmony's message markers are part of what the model says: they are printed.
constexpr std::string_view kPrintedMarkers[] = {"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"};

void mark_control(Vocab& vocab, std::int32_t id) {
  auto& attr = vocab.attrs[static_cast<std::size_t>(id)];
  if ((attr & kAttrControl) != 0) return;
  attr |= kAttrControl;
  vocab.warn("tokenizer.token_type.control",
             "a token that ends a turn or marks a gap is not of type control; taken as control",
             "tokenizer.ggml.token_type[" + std::to_string(id) + "]", std::string(vocab.text(id)));
}

/// The token of that text if it counts, or -1.
std::int32_t find_marker(const Vocab& vocab, std::string_view text, bool any_kind) {
  const auto id = vocab.find(text);
  return id >= 0 && (any_kind || (vocab.attr(id) & (kAttrControl | kAttrUserDefined)) != 0) ? id : -1;
}

/// Families that reuse the text of an end token for something else.
void drop_false_ends(Vocab& vocab, std::set<std::int32_t>& ends) {
  const auto has = [&](std::string_view text) {
    const auto id = vocab.find(text);
    return id >= 0 && ends.count(id) > 0;
  };
  const bool harmony = has("<|return|>") && (has("<|call|>") || has("<|calls|>"));
  const bool solar = has("<|flush|>") && (has("<|call|>") || has("<|calls|>"));
  if ((harmony || solar) && has("<|end|>")) {  // ends a message there, not the answer
    const auto id = vocab.find("<|end|>");
    ends.erase(id);
    vocab.attrs[static_cast<std::size_t>(id)] = kAttrUserDefined;
  }
  if ((has("<|tool_response>") || has("<|plamo:eos|>")) && has("</s>")) {  // an HTML tag there
    const auto id = vocab.find("</s>");
    ends.erase(id);
    vocab.attrs[static_cast<std::size_t>(id)] = kAttrNormal;
  }
}

}  // namespace

void detect_special_tokens(Vocab& vocab, bool any_kind) {
  for (const auto& known : kKnownNames) {
    auto& field = vocab.special.*known.field;
    const auto id = field ? -1 : find_marker(vocab, known.text, any_kind);
    if (id < 0) continue;
    field = id;
    if (any_kind) mark_control(vocab, id);
  }
  for (auto& attr : vocab.attrs) {
    const auto id = static_cast<std::int32_t>(&attr - vocab.attrs.data());
    if ((attr & kAttrControl) != 0 && vocab.text(id).find("unused") != std::string_view::npos) attr |= kAttrUnused;
  }
  std::set<std::int32_t> ends;
  for (const auto& id : {vocab.special.fim_pad, vocab.special.fim_repo, vocab.special.fim_file}) {
    if (id) ends.insert(*id);
  }
  for (const auto text : kEndNames) {
    const auto id = find_marker(vocab, text, any_kind);
    if (id < 0) continue;
    ends.insert(id);
    if (any_kind) mark_control(vocab, id);
  }
  for (const auto text : kPrintedMarkers) {
    if (const auto id = vocab.find(text); id >= 0) vocab.attrs[static_cast<std::size_t>(id)] = kAttrUserDefined;
  }
  for (const auto& id : {vocab.special.eos, vocab.special.eot, vocab.special.eom}) {
    if (id) ends.insert(*id);
  }
  drop_false_ends(vocab, ends);
  vocab.eog.assign(ends.begin(), ends.end());
}

}  // namespace apr::model::tok
