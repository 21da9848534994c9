#include "src/format/gguf_names.h"

#include <fmt/format.h>

#include <bit>

#include "apr/core/text.h"

namespace apr::format::gguf {
namespace {

/// What a well-known key must hold. The names are those of the GGUF specification.
enum class Expected : std::uint8_t { String, Integer, Strings, Floats, Integers };

struct KnownKey {
  std::string_view key;
  Expected expected;
};
constexpr KnownKey kKnownKeys[] = {
    {"general.architecture", Expected::String},
    {"general.name", Expected::String},
    {"general.file_type", Expected::Integer},
    {"general.quantization_version", Expected::Integer},
    {"split.no", Expected::Integer},
    {"split.count", Expected::Integer},
    {"split.tensors.count", Expected::Integer},
    {"tokenizer.ggml.model", Expected::String},
    {"tokenizer.ggml.tokens", Expected::Strings},
    {"tokenizer.ggml.merges", Expected::Strings},
    {"tokenizer.ggml.scores", Expected::Floats},
    {"tokenizer.ggml.token_type", Expected::Integers},
};

std::string_view name(Expected expected) {
  switch (expected) {
    case Expected::String: return "string";
    case Expected::Integer: return "an integer";
    case Expected::Strings: return "array of string";
    case Expected::Floats: return "array of f32";
    case Expected::Integers: return "array of i32 or u32";
  }
  return "";
}

std::string describe(const Value& value) {
  if (const ArrayRef* array = value.as_array())
    return fmt::format("array of {} {}", array->count, format::name(array->element));
  return std::string(format::name(value.type()));
}

bool fits(const Value& value, Expected expected) {
  const ArrayRef* array = value.as_array();
  switch (expected) {
    case Expected::String: return value.as_string().has_value();
    case Expected::Integer: return value.as_u64() || value.as_i64();
    case Expected::Strings: return array != nullptr && array->element == ValueType::String;
    case Expected::Floats: return array != nullptr && array->element == ValueType::F32;
    case Expected::Integers:
      return array != nullptr && (array->element == ValueType::I32 || array->element == ValueType::U32);
  }
  return false;
}

const MetadataEntry* find(const Parse& parse, std::string_view key) {
  for (const MetadataEntry& entry : parse.metadata)
    if (entry.key == key) return &entry;
  return nullptr;
}

/// general.alignment: where the data section starts hangs on it, so nothing is guessed from a bad one.
std::uint64_t checked_alignment(Parse& parse) {
  const MetadataEntry* entry = find(parse, "general.alignment");
  if (entry == nullptr) return kDefaultAlignment;
  const std::string field = "metadata[\"general.alignment\"].value";
  if (entry->value.type() != ValueType::U32) {
    parse.findings.error("gguf.alignment.type", "the alignment has the wrong type")
        .at(entry->value_offset - 4)
        .in("metadata[\"general.alignment\"].type")
        .want("u32")
        .got(describe(entry->value));
    return 0;
  }
  const std::uint64_t alignment = entry->value.as_u64().value_or(0);
  if (!std::has_single_bit(alignment) || alignment > kMaxAlignment) {
    parse.findings.error("gguf.alignment.value", "the data cannot be aligned like this")
        .at(entry->value_offset)
        .in(field)
        .want(fmt::format("a power of two up to {}", kMaxAlignment))
        .got(fmt::format("{}", alignment));
    return 0;
  }
  if (alignment % 8 != 0)
    parse.findings.warning("gguf.alignment.multiple_of_8", "the alignment is smaller than the format allows")
        .at(entry->value_offset)
        .in(field)
        .want("a multiple of 8")
        .got(fmt::format("{}", alignment));
  return alignment;
}

}  // namespace

std::optional<TextFault> text_fault(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == 0) return TextFault{i, "a NUL byte"};
    if (c < 0x20 || c == 0x7F) return TextFault{i, fmt::format("control character 0x{:02x}", c)};
  }
  if (const auto at = invalid_utf8_at(text)) return TextFault{*at, "invalid UTF-8"};
  return std::nullopt;
}

bool looks_like_escaping_path(std::string_view text) noexcept {
  if (text.starts_with('/') || text.starts_with('\\')) return true;
  if (text.size() > 2 && text[1] == ':' && (text[2] == '/' || text[2] == '\\')) return true;  // C:/
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find_first_of("/\\", at), text.size());
    const bool is_the_whole = at == 0 && end == text.size();
    if (text.substr(at, end - at) == ".." && !is_the_whole) return true;
    at = end + 1;
  }
  return text == "..";
}

void check_known_keys(Parse& parse) {
  for (const KnownKey& known : kKnownKeys) {
    const MetadataEntry* entry = find(parse, known.key);
    if (entry == nullptr || fits(entry->value, known.expected)) continue;
    parse.findings.error("gguf.metadata.known_type", "this key has the wrong type")
        .at(entry->value_offset - 4)
        .in(fmt::format("metadata[{}].type", quoted(known.key)))
        .want(std::string(name(known.expected)))
        .got(describe(entry->value));
  }
  parse.alignment = checked_alignment(parse);
  const bool is_later_shard = find(parse, "split.no") != nullptr;  // only the first shard of a model describes it
  if (parse.metadata_whole && !is_later_shard && find(parse, "general.architecture") == nullptr)
    parse.findings.warning("gguf.architecture.missing", "the file does not say which architecture it is for")
        .at(kHeaderBytes)
        .in("metadata[\"general.architecture\"]")
        .want("a string")
        .got("no such key");
}

}  // namespace apr::format::gguf
