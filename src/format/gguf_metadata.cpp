// The key-value pairs of a GGUF file. Every length and count is held against the bytes that remain before it is used.
#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "apr/core/text.h"
#include "src/format/gguf.h"
#include "src/format/gguf_names.h"

namespace apr::format::gguf {
namespace {

constexpr std::uint64_t kAbsurdKeyBytes = 1 << 20;  // beyond this it is no key: reading stops
constexpr std::size_t kReserveAtMost = 4096;        // more memory comes with the entries, not with the count

class MetadataWalk {
 public:
  explicit MetadataWalk(Parse& parse) : parse_(parse), reader_(parse.reader(kHeaderBytes)) {}

  void run() {
    parse_.metadata.reserve(static_cast<std::size_t>(std::min<std::uint64_t>(parse_.n_entries, kReserveAtMost)));
    for (index_ = 0; index_ < parse_.n_entries; ++index_)
      if (!read_entry()) {
        parse_.stopped_at = entry_offset_;
        return;
      }
    parse_.metadata_whole = true;
    parse_.infos_offset = reader_.offset();
    if (some_upper_case_) find_case_twins();
  }

 private:
  /// False when what follows cannot be told apart any more.
  bool read_entry() {
    entry_offset_ = reader_.offset();
    key_ = {};
    std::uint64_t length;
    if (!reader_.read(length)) return truncated("key.length");
    if (length > reader_.remaining() || length > kAbsurdKeyBytes) {
      const std::uint64_t most = std::min(reader_.remaining(), kMaxKeyBytes);
      error("gguf.metadata.key.length", "the key runs past the end of the file", entry_offset_, "key.length")
          .want(fmt::format("at most {} bytes", most))
          .got(fmt::format("{}", length));
      return false;
    }
    if (!reader_.read_text(length, key_)) return truncated("key");
    check_key();
    const std::uint64_t type_offset = reader_.offset();
    std::uint32_t type;
    if (!reader_.read(type)) return truncated("type");
    if (!is_value_type(type)) {
      error("gguf.metadata.type", "there is no such value type", type_offset, "type")
          .want("0 to 12")
          .got(fmt::format("{}", type));
      return false;
    }
    const std::uint64_t value_offset = reader_.offset();
    Value value;
    if (!read_checked(static_cast<ValueType>(type), "value", value)) return false;
    parse_.metadata.push_back({key_, value, entry_offset_, value_offset, reader_.offset(), parse_.file_index});
    return true;
  }

  void check_key() {
    const std::uint64_t key_offset = entry_offset_ + 8;
    if (key_.empty()) error("gguf.metadata.key.empty", "the key is empty", entry_offset_, "key");
    if (key_.size() > kMaxKeyBytes)
      warning("gguf.metadata.key.too_long", "the key is longer than the format allows", entry_offset_, "key.length")
          .want(fmt::format("at most {} bytes", kMaxKeyBytes))
          .got(fmt::format("{}", key_.size()));
    if (const auto fault = text_fault(key_))
      warning("gguf.metadata.key.text", "the key is not plain text", key_offset + fault->at, "key").got(fault->what);
    else if (const auto odd = std::find_if_not(key_.begin(), key_.end(), is_key_character); odd != key_.end())
      warning("gguf.metadata.key.case", "the key is not lower_snake_case",
              key_offset + static_cast<std::uint64_t>(odd - key_.begin()), "key")
          .want("a to z, 0 to 9, '_', '-' and '.'")
          .got(quoted(key_));
    some_upper_case_ = some_upper_case_ || std::any_of(key_.begin(), key_.end(), is_upper);
    if (const auto [first, is_new] = first_entry_.try_emplace(key_, parse_.metadata.size()); !is_new)
      error("gguf.metadata.key.duplicate", "the key stands here for the second time", entry_offset_, "key")
          .want("unique keys")
          .got(fmt::format("first at offset {}", parse_.metadata[first->second].key_offset));
  }

  bool read_checked(ValueType type, const char* part, Value& value) {
    if (type == ValueType::String) return read_string(part, value);
    if (type == ValueType::Array) return read_array(part, value);
    const std::uint64_t at = reader_.offset();
    if (!read_value(reader_, type, value)) return truncated(part);
    if (type == ValueType::Bool) check_bools(at, 1);
    return true;
  }

  bool read_string(std::string_view part, Value& value) {
    const std::uint64_t at = reader_.offset();
    std::uint64_t length;
    std::string_view text;
    if (!reader_.read(length)) return truncated(part);
    if (!reader_.read_text(length, text)) return bad_string_length(part, at, length);
    value = Value(text);
    return true;
  }

  bool read_array(const char* part, Value& value) {
    ArrayRef array;
    if (!read_array_head(part, 1, array.element, array.count)) return false;
    array.encoding = parse_.order == std::endian::big ? ArrayRef::Encoding::GgufBig : ArrayRef::Encoding::GgufLittle;
    array.offset = reader_.offset();
    if (!walk_elements(part, 1, array.element, array.count)) return false;
    array.bytes = parse_.file.bytes().subspan(static_cast<std::size_t>(array.offset),
                                              static_cast<std::size_t>(reader_.offset() - array.offset));
    value = Value(array);
    return true;
  }

  bool read_array_head(const char* part, unsigned depth, ValueType& element, std::uint64_t& count) {
    const std::uint64_t at = reader_.offset();
    std::uint32_t type;
    if (!reader_.read(type) || !reader_.read(count)) return truncated(part);
    if (!is_value_type(type)) {
      error("gguf.metadata.array.type", "there is no such element type", at, fmt::format("{}.element_type", part))
          .want("0 to 12")
          .got(fmt::format("{}", type));
      return false;
    }
    element = static_cast<ValueType>(type);
    if (element == ValueType::Array && depth >= kMaxArrayDepth) {
      error("gguf.metadata.array.depth", "arrays are nested too deep", at, fmt::format("{}.element_type", part))
          .want(fmt::format("at most {} levels", kMaxArrayDepth))
          .got("a deeper one");
      return false;
    }
    const std::uint64_t most = reader_.remaining() / min_element_bytes(element);
    if (count <= most) return true;
    error("gguf.metadata.array.count", "the array runs past the end of the file", at + 4, fmt::format("{}.count", part))
        .want(fmt::format("at most {} ({} bytes remain)", most, reader_.remaining()))
        .got(fmt::format("{} elements of type {}", count, name(element)));
    return false;
  }

  /// Recursion is bounded by kMaxArrayDepth.
  bool walk_elements(const char* part, unsigned depth, ValueType element, std::uint64_t count) {
    if (const std::uint64_t size = scalar_bytes(element); size != 0) {
      const std::uint64_t at = reader_.offset();
      if (!reader_.skip(count * size)) return truncated(part);  // the product fits: count was bounded by the bytes
      if (element == ValueType::Bool) check_bools(at, count);
      return true;
    }
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t at = reader_.offset();
      if (element == ValueType::String) {
        std::uint64_t length;
        if (!reader_.read(length)) return truncated(fmt::format("{}[{}]", part, i));
        if (!reader_.skip(length)) return bad_string_length(fmt::format("{}[{}]", part, i), at, length);
        continue;
      }
      ValueType inner;
      std::uint64_t inner_count;
      if (!read_array_head(part, depth + 1, inner, inner_count)) return false;
      if (!walk_elements(part, depth + 1, inner, inner_count)) return false;
    }
    return true;
  }

  void check_bools(std::uint64_t at, std::uint64_t count) {
    const auto bytes = parse_.file.bytes().subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(count));
    const auto odd = std::find_if(bytes.begin(), bytes.end(), [](std::byte b) { return b > std::byte{1}; });
    if (odd == bytes.end()) return;
    warning("gguf.metadata.bool", "a boolean is neither 0 nor 1", at + static_cast<std::uint64_t>(odd - bytes.begin()),
            "value")
        .want("0 or 1")
        .got(fmt::format("{}", std::to_integer<unsigned>(*odd)));
  }

  void find_case_twins() {
    std::unordered_map<std::string, const MetadataEntry*> seen;
    for (const MetadataEntry& entry : parse_.metadata) {
      std::string lower(entry.key);
      for (char& c : lower)
        if (is_upper(c)) c = static_cast<char>(c - 'A' + 'a');
      const auto [first, is_new] = seen.try_emplace(std::move(lower), &entry);
      if (is_new || first->second->key == entry.key) continue;
      key_ = entry.key;
      warning("gguf.metadata.key.case_twin", "two keys differ in upper and lower case only", entry.key_offset, "key")
          .got(fmt::format("{} at offset {}", quoted(first->second->key), first->second->key_offset));
    }
  }

  bool truncated(std::string_view part) {
    error("gguf.metadata.truncated", "the file ends inside the metadata", reader_.offset(), part)
        .want(fmt::format("{} key-value pairs", parse_.n_entries))
        .got(fmt::format("{} whole ones; {} bytes remain", parse_.metadata.size(), reader_.remaining()));
    return false;
  }
  bool bad_string_length(std::string_view part, std::uint64_t at, std::uint64_t length) {
    error("gguf.metadata.string.length", "the string runs past the end of the file", at, fmt::format("{}.length", part))
        .want(fmt::format("at most {} bytes", parse_.file.size() - at - 8))
        .got(fmt::format("{}", length));
    return false;
  }
  [[nodiscard]] std::string field(std::string_view part) const {
    return key_.empty() ? fmt::format("metadata[{}].{}", index_, part)
                        : fmt::format("metadata[{}].{}", quoted(key_), part);
  }
  FindingBuilder error(std::string_view rule, std::string_view message, std::uint64_t at, std::string_view part) {
    FindingBuilder finding = parse_.findings.error(rule, message);
    finding.at(at).in(field(part));
    return finding;
  }
  FindingBuilder warning(std::string_view rule, std::string_view message, std::uint64_t at, std::string_view part) {
    FindingBuilder finding = parse_.findings.warning(rule, message);
    finding.at(at).in(field(part));
    return finding;
  }

  Parse& parse_;
  ByteReader reader_;
  std::uint64_t index_ = 0, entry_offset_ = 0;
  std::string_view key_;
  std::unordered_map<std::string_view, std::size_t> first_entry_;  // a later duplicate points at its first
  bool some_upper_case_ = false;
};

}  // namespace

void read_metadata(Parse& parse) {
  if (parse.n_entries > (parse.file.size() - kHeaderBytes) / kMinEntryBytes) {
    parse.stopped_at = kHeaderBytes;
    return;
  }
  MetadataWalk(parse).run();
  const std::uint64_t end = parse.metadata_whole ? parse.infos_offset : parse.stopped_at;
  if (end > kHeaderBytes) parse.regions.push_back({"metadata", parse.file_index, kHeaderBytes, end - kHeaderBytes});
  check_known_keys(parse);
}

}  // namespace apr::format::gguf
