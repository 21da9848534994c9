// The members of a SafeTensors header and its __metadata__.
#include "src/format/safetensors_header.h"

#include <fmt/format.h>

#include <algorithm>

#include "apr/core/text.h"

namespace apr::format {
namespace {

constexpr std::size_t kMaxMetadataEntries =
    1'000'000;  // bounds the table: an entry in memory is larger than in the file

}  // namespace

void SafeTensorsHeaderReader::report_fault() {
  const JsonFault& fault = cursor_.fault();
  findings_.error("safetensors.header.json", "the header is no valid JSON; what stands behind this place is not listed")
      .at(fault.offset)
      .in("header")
      .want(fault.expected)
      .got(fault.found);
}

void SafeTensorsHeaderReader::read() {
  const std::size_t first_tensor = model_.tensors.size(), first_entry = model_.metadata.size();
  if (text_.front() != '{')
    findings_.warning("safetensors.header.begins_with_brace", "white space before the header's opening brace")
        .at(8)
        .in("header")
        .want("'{'")
        .got(fmt::format("byte 0x{:02X}", static_cast<unsigned char>(text_.front())));
  if (!read_members()) report_fault();
  model_.regions.push_back({"header", file_index_, 8, header_end_ - 8});
  if (header_end_ < 8 + text_.size())
    model_.regions.push_back({"header padding", file_index_, header_end_, 8 + text_.size() - header_end_});
  check_metadata_names(first_entry);
  finish(first_tensor);
}

bool SafeTensorsHeaderReader::read_members() {
  cursor_.next();  // '{', as append_safetensors has seen
  while (cursor_.next() == JsonToken::Key) {
    const std::uint64_t at = cursor_.offset();
    const std::string_view name = keep_text();
    cursor_.next();
    if (!(name == "__metadata__" ? read_metadata(at) : read_tensor(name, at))) return false;
  }
  if (cursor_.token() == JsonToken::Fault) return false;
  header_end_ = cursor_.end_offset();
  return cursor_.next() == JsonToken::End;
}

bool SafeTensorsHeaderReader::read_metadata(std::uint64_t key_at) {
  if (has_metadata_)
    findings_.error("safetensors.metadata.once", "the header has __metadata__ twice").at(key_at).in("__metadata__");
  has_metadata_ = true;
  if (cursor_.token() != JsonToken::ObjectBegin) {
    auto finding = cursor_.token() == JsonToken::Null
                       ? findings_.warning("safetensors.metadata.object", "__metadata__ is null")
                       : findings_.error("safetensors.metadata.object", "__metadata__ is no object");
    finding.at(cursor_.offset()).in("__metadata__").want("an object of strings");
    return cursor_.skip_value();
  }
  const auto keep = [this](std::string text) { return model_.keep(std::move(text)); };
  model_.metadata.reserve(std::min(model_.metadata.size() + json_count_members(cursor_), kMaxMetadataEntries));
  while (cursor_.next() == JsonToken::Key) {
    if (model_.metadata.size() == kMaxMetadataEntries) {
      findings_.error("safetensors.metadata.count", "more entries in __metadata__ than apr reads")
          .at(cursor_.offset())
          .in("__metadata__")
          .want(fmt::format("at most {}", kMaxMetadataEntries));
      while (cursor_.depth() > 1)
        if (cursor_.next() == JsonToken::Fault) return false;
      return true;
    }
    MetadataEntry entry;
    entry.key_offset = cursor_.offset();
    entry.key = keep_text();
    entry.file_index = file_index_;
    cursor_.next();
    entry.value_offset = cursor_.offset();
    entry.value = json_value(cursor_, text_, 8, keep);
    if (cursor_.token() == JsonToken::Fault) return false;
    entry.end_offset = cursor_.end_offset();
    if (entry.value.type() != ValueType::String)
      findings_.error("safetensors.metadata.string", "a value of __metadata__ is no string")
          .at(entry.value_offset)
          .in(fmt::format("__metadata__[\"{}\"]", escaped(entry.key, 120)))
          .want("a string")
          .got(std::string(name(entry.value.type())));
    model_.metadata.push_back(entry);
  }
  return cursor_.token() == JsonToken::ObjectEnd;
}

void SafeTensorsHeaderReader::check_metadata_names(std::size_t first) {
  std::vector<std::uint32_t> order;
  for (std::size_t i = first; i < model_.metadata.size(); ++i) order.push_back(static_cast<std::uint32_t>(i));
  const auto& entries = model_.metadata;
  std::sort(order.begin(), order.end(), [&entries](std::uint32_t a, std::uint32_t b) {
    return entries[a].key != entries[b].key ? entries[a].key < entries[b].key : a < b;
  });
  for (std::size_t i = 1; i < order.size(); ++i)
    if (entries[order[i]].key == entries[order[i - 1]].key)
      findings_.error("safetensors.metadata.unique", "the same key twice in __metadata__")
          .at(entries[order[i]].key_offset)
          .in(fmt::format("__metadata__[\"{}\"]", escaped(entries[order[i]].key, 120)))
          .got(fmt::format("first at offset {}", entries[order[i - 1]].key_offset));
}

void SafeTensorsHeaderReader::finish(std::size_t first_tensor) {
  if (n_unaligned_ != 0)
    findings_.warning("safetensors.tensor.aligned", "data that does not start at a multiple of its element size")
        .at(first_unaligned_at_)
        .tensor(first_unaligned_)
        .got(fmt::format("{} such tensors", n_unaligned_));
  if (model_.tensors.size() == first_tensor && !findings_.has_errors())
    findings_.warning("safetensors.tensors.none", "the file has no tensors").at(8).in("header");
  if (!truncated_)
    check_safetensors_layout(model_, first_tensor, std::move(placed_), {data_begin_, data_begin_ + data_size_},
                             findings_);
}

}  // namespace apr::format
