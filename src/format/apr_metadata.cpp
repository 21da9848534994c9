// The metadata of APR v2: one JSON object.
#include <fmt/format.h>

#include <algorithm>

#include "apr/core/checked.h"
#include "apr/core/text.h"
#include "src/format/apr.h"
#include "src/format/json.h"

namespace apr::format {
namespace {

constexpr std::uint64_t kUsualMetadataBytes =
    16 * 1024 * 1024;  // MAX_METADATA_SIZE of aprender, which does not enforce it

constexpr std::size_t kMaxEntries = 1'000'000;  // bounds the table: an entry in memory is larger than in the file

class MetadataReader {
 public:
  MetadataReader(AprReading& reading, std::string_view text)
      : r_(reading), text_(text), cursor_(text, reading.header.metadata_offset) {}
  /// False when the text is no JSON object.
  bool read();
  [[nodiscard]] const JsonCursor& cursor() const { return cursor_; }

 private:
  AprReading& r_;
  std::string_view text_;
  JsonCursor cursor_;
};

bool MetadataReader::read() {
  if (cursor_.next() == JsonToken::Fault) return false;
  if (cursor_.token() != JsonToken::ObjectBegin) {
    r_.findings.error("apr.metadata.object", "the metadata are no JSON object")
        .at(cursor_.offset())
        .in("metadata")
        .want("'{'");
    return true;
  }
  const auto keep = [this](std::string text) { return r_.model.keep(std::move(text)); };
  r_.model.metadata.reserve(std::min(json_count_members(cursor_), kMaxEntries));
  while (cursor_.next() == JsonToken::Key) {
    if (r_.model.metadata.size() == kMaxEntries) {
      r_.findings.error("apr.metadata.count", "more metadata entries than apr reads; the rest is not listed")
          .at(cursor_.offset())
          .in("metadata")
          .want(fmt::format("at most {}", kMaxEntries));
      return true;
    }
    MetadataEntry entry;
    entry.key_offset = cursor_.offset();
    entry.key = cursor_.has_escapes() ? keep(cursor_.text()) : cursor_.raw();
    cursor_.next();
    entry.value_offset = cursor_.offset();
    entry.value = json_value(cursor_, text_, r_.header.metadata_offset, keep);
    if (cursor_.token() == JsonToken::Fault) return false;
    entry.end_offset = cursor_.end_offset();
    r_.model.metadata.push_back(entry);
  }
  return cursor_.token() == JsonToken::ObjectEnd && cursor_.next() == JsonToken::End;
}

/// Of equal keys the last one wins, as in aprender. Two spellings of one field make realizar drop all metadata.
void check_keys(AprReading& r) {
  auto& entries = r.model.metadata;
  std::vector<std::uint32_t> order(entries.size());
  std::vector<std::string_view> canonical(entries.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    order[i] = static_cast<std::uint32_t>(i);
    canonical[i] = apr_canonical_key(entries[i].key);
  }
  std::sort(order.begin(), order.end(), [&canonical](std::uint32_t a, std::uint32_t b) {
    return canonical[a] != canonical[b] ? canonical[a] < canonical[b] : a < b;
  });
  std::vector<bool> shadowed(entries.size());
  for (std::size_t k = 1; k < order.size(); ++k) {
    const MetadataEntry &before = entries[order[k - 1]], &entry = entries[order[k]];
    if (canonical[order[k - 1]] != canonical[order[k]]) continue;
    const bool same = before.key == entry.key;
    if (same) shadowed[order[k - 1]] = true;
    r.findings
        .warning(same ? "apr.metadata.duplicate" : "apr.metadata.alias",
                 same ? "the same key twice: the last one counts" : "two spellings of one field")
        .at(entry.key_offset)
        .in(fmt::format("metadata[\"{}\"]", escaped(entry.key, 120)))
        .got(fmt::format("also \"{}\" at offset {}", escaped(before.key, 120), before.key_offset));
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < entries.size(); ++i)
    if (!shadowed[i]) entries[kept++] = entries[i];
  entries.resize(kept);
}

}  // namespace

void read_apr_metadata(AprReading& r) {
  const AprHeader& h = r.header;
  if (h.metadata_offset < kAprHeaderBytes || h.metadata_offset > r.size()) return;  // check_apr_sections has said so
  const bool fits = range_fits(h.metadata_offset, h.metadata_size, r.body_end());
  if (!fits)
    r.findings.error("apr.metadata.inside_file", "the metadata run past the end of the file")
        .at(20)
        .in("metadata_size")
        .want(fmt::format("at most {}", r.body_end() - std::min(r.body_end(), h.metadata_offset)))
        .got(std::to_string(h.metadata_size))
        .help("the file is cut short: fetch it again");
  if (h.metadata_size > kUsualMetadataBytes)
    r.findings.warning("apr.metadata.size", "metadata larger than the limit that the format declares")
        .at(20)
        .in("metadata_size")
        .want(fmt::format("at most {}", kUsualMetadataBytes))
        .got(std::to_string(h.metadata_size));
  const std::uint64_t bytes = std::min<std::uint64_t>(h.metadata_size, r.size() - h.metadata_offset);
  const auto span =
      r.file.bytes().subspan(static_cast<std::size_t>(h.metadata_offset), static_cast<std::size_t>(bytes));
  MetadataReader reader(r, {reinterpret_cast<const char*>(span.data()), span.size()});
  if (!reader.read() && fits)
    r.findings.error("apr.metadata.json", "the metadata are no valid JSON; what stands behind this place is not listed")
        .at(reader.cursor().fault().offset)
        .in("metadata")
        .want(reader.cursor().fault().expected)
        .got(reader.cursor().fault().found);
  check_keys(r);
  r.add_region("metadata", h.metadata_offset, bytes);
  const std::uint64_t end = h.metadata_offset + bytes;
  if (!fits || h.index_offset < end) return;
  check_apr_padding(r, "metadata", end, h.index_offset);
  r.add_region("padding", end, h.index_offset - end);
}

}  // namespace apr::format
