#include "src/model/tokenizer/metadata_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace apr::model::tok {

using format::ArrayRef;
using format::MetadataEntry;
using format::Value;
using format::ValueType;

const MetadataEntry* MetadataKeys::find(KeyNames names) const {
  for (const auto name : names) {
    const auto* entry = model_.find_metadata(name);
    if (entry != nullptr && entry->value.type() != ValueType::Null) return entry;
  }
  return nullptr;
}

Error MetadataKeys::refusal(const MetadataEntry& entry, std::string rule) const {
  const auto& path = entry.file_index < model_.files.size() ? model_.files[entry.file_index]->path() : model_.path;
  return Error(ErrorCode::ModelLoad, std::move(rule)).at(path, entry.value_offset).in(std::string(entry.key));
}

std::optional<std::string_view> MetadataKeys::text(KeyNames names) const {
  const auto* entry = find(names);
  if (entry == nullptr) return std::nullopt;
  const auto value = entry->value.as_string();
  if (!value) throw refusal(*entry, "must be a text").want("string").got(std::string(name(entry->value.type())));
  return value;
}

std::optional<bool> MetadataKeys::flag(KeyNames names) const {
  const auto* entry = find(names);
  if (entry == nullptr) return std::nullopt;
  const auto value = entry->value.as_bool();
  if (!value) throw refusal(*entry, "must be a flag").want("bool").got(std::string(name(entry->value.type())));
  return value;
}

std::optional<std::int32_t> MetadataKeys::token_id(KeyNames names, std::size_t n_tokens) const {
  const auto* entry = find(names);
  if (entry == nullptr) return std::nullopt;
  const auto value = entry->value.as_i64();
  if (!value && !entry->value.as_u64()) {
    throw refusal(*entry, "must be a token id").want("integer").got(std::string(name(entry->value.type())));
  }
  if (!value || *value < 0 || static_cast<std::uint64_t>(*value) >= n_tokens) {
    throw refusal(*entry, "is no token of the vocabulary")
        .want(fmt::format("an id from 0 to {}", n_tokens - 1))
        .got(value ? std::to_string(*value) : std::to_string(*entry->value.as_u64()));
  }
  return static_cast<std::int32_t>(*value);
}

const ArrayRef& MetadataKeys::array(const MetadataEntry& entry, std::initializer_list<ValueType> allowed) const {
  std::string wanted;
  for (const auto type : allowed) wanted += (wanted.empty() ? "array of " : " or ") + std::string(name(type));
  const auto* found = entry.value.as_array();
  if (found == nullptr)
    throw refusal(entry, "must be an array").want(wanted).got(std::string(name(entry.value.type())));
  const bool typed = found->encoding != ArrayRef::Encoding::Json;
  if (typed && std::find(allowed.begin(), allowed.end(), found->element) == allowed.end()) {
    throw refusal(entry, "has elements of the wrong type")
        .want(wanted)
        .got("array of " + std::string(name(found->element)));
  }
  return *found;
}

void MetadataKeys::check_count(const MetadataEntry& entry, std::uint64_t count, std::size_t n_tokens) const {
  if (count >= n_tokens) return;
  throw refusal(entry, "has fewer elements than there are tokens")
      .want(fmt::format("{} elements", n_tokens))
      .got(fmt::format("{} elements", count));
}

std::optional<std::vector<std::string>> MetadataKeys::texts(KeyNames names) const {
  const auto* entry = find(names);
  if (entry == nullptr) return std::nullopt;
  const auto& list = array(*entry, {ValueType::String});
  std::vector<std::string> out;
  out.reserve(static_cast<std::size_t>(list.count));
  list.for_each([&](std::uint64_t i, const Value& value) {
    const auto text = value.as_string();
    if (!text) {
      throw refusal(*entry, "has an element that is no text")
          .want("string")
          .got(fmt::format("{} at index {}", name(value.type()), i));
    }
    out.emplace_back(*text);
    return true;
  });
  return out;
}

std::optional<std::vector<float>> MetadataKeys::scores(KeyNames names, std::size_t n_tokens) const {
  const auto* entry = find(names);
  if (entry == nullptr) return std::nullopt;
  const auto& list = array(*entry, {ValueType::F32, ValueType::I32});
  check_count(*entry, list.count, n_tokens);
  std::vector<float> out;
  out.reserve(n_tokens);
  list.for_each([&](std::uint64_t i, const Value& value) {
    const auto number = value.as_f64();
    if (!number || std::isnan(*number)) {
      throw refusal(*entry, "has an element that is no number")
          .want("a number")
          .got(fmt::format("{} at index {}", number ? "NaN" : name(value.type()), i));
    }
    out.push_back(static_cast<float>(*number));
    return out.size() < n_tokens;
  });
  return out;
}

std::optional<std::vector<std::int64_t>> MetadataKeys::integers(KeyNames names, std::size_t n_tokens) const {
  const auto* entry = find(names);
  if (entry == nullptr) return std::nullopt;
  const auto& list = array(*entry, {ValueType::I32});
  check_count(*entry, list.count, n_tokens);
  std::vector<std::int64_t> out;
  out.reserve(n_tokens);
  list.for_each([&](std::uint64_t i, const Value& value) {
    const auto number = value.as_i64();
    if (!number) {
      throw refusal(*entry, "has an element that is no integer")
          .want("integer")
          .got(fmt::format("{} at index {}", name(value.type()), i));
    }
    out.push_back(*number);
    return out.size() < n_tokens;
  });
  return out;
}

}  // namespace apr::model::tok
