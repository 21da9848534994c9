// APR v2: the header and its sections. Drawn in docs/formats/apr.md.
#include "src/format/apr.h"

#include <fmt/format.h>

#include <algorithm>

#include "apr/core/bytes.h"
#include "apr/core/checked.h"
#include "apr/core/text.h"

namespace apr::format {
namespace {

std::string hex32(std::uint32_t value) { return fmt::format("0x{:08X}", value); }

void check_header(const MappedFile& file, const AprHeader& header, Findings& findings) {
  const auto bytes = file.bytes().first<kAprHeaderBytes>();
  const std::uint32_t crc = apr_header_crc(bytes);
  if (header.crc != crc)
    findings.error("apr.header.crc", "the checksum of the header is wrong")
        .at(40)
        .in("header_crc")
        .want(hex32(crc))
        .got(hex32(header.crc))
        .help("the header was damaged or edited: fetch the file again");
  if (header.major != 2)
    findings.error("apr.header.version", "not version 2 of the format")
        .at(4)
        .in("version_major")
        .want("2")
        .got(std::to_string(header.major));
  else if (header.minor != 0)
    findings.warning("apr.header.version", "a minor version that apr does not know")
        .at(5)
        .in("version_minor")
        .want("0")
        .got(std::to_string(header.minor));
  const auto reserved = bytes.subspan(44);
  if (std::any_of(reserved.begin(), reserved.end(), [](std::byte b) { return b != std::byte{0}; }))
    findings.warning("apr.header.reserved", "reserved bytes of the header are not zero").at(44).in("reserved");
}

void check_flags(std::uint16_t flags, Findings& findings) {
  const auto add = [&findings](Severity severity, std::string_view rule, std::string_view message) {
    auto finding = severity == Severity::Error     ? findings.error(rule, message)
                   : severity == Severity::Warning ? findings.warning(rule, message)
                                                   : findings.info(rule, message);
    finding.at(6).in("flags");
    return finding;
  };
  std::uint16_t known = 0;
  for (const AprFlagName& row : apr_flag_table()) known = static_cast<std::uint16_t>(known | row.bit);
  if ((flags & ~known) != 0)
    add(Severity::Warning, "apr.flags.unknown", "flag bits that the format does not define")
        .got(fmt::format("0x{:04X}", flags & ~known));
  if ((flags & kAprColumnMajor) != 0)
    add(Severity::Error, "apr.flags.layout", "column-major data, which the format forbids")
        .want("LAYOUT_ROW_MAJOR")
        .got("LAYOUT_COLUMN_MAJOR");
  else if ((flags & kAprRowMajor) == 0)
    add(Severity::Info, "apr.flags.layout", "neither layout bit is set: read as row-major");
  if ((flags & kAprSigned) != 0)
    add(Severity::Info, "apr.flags.signed", "marked as signed; version 2 defines no place for a signature");
}

/// Files with a compression bit come in two kinds: truly compressed, and raw with a bit set by mistake.
bool is_marked_compressed(std::uint16_t flags) { return (flags & (kAprLz4 | kAprZstd)) != 0; }

void refuse_compressed(ModelFile& model, std::uint16_t flags, Findings& findings) {
  model.metadata.clear();
  model.tensors.clear();
  model.regions.clear();
  findings.error("apr.compressed", "the file is compressed; apr reads uncompressed files only")
      .at(6)
      .in("flags")
      .want("neither LZ4_COMPRESSED nor ZSTD_COMPRESSED")
      .got((flags & kAprLz4) != 0 ? "LZ4_COMPRESSED" : "ZSTD_COMPRESSED")
      .help("write the file again without compression");
}

/// A flag that says something else than the tables do.
void check_flags_against_tables(const AprReading& r, Findings& findings) {
  const std::uint16_t flags = r.header.flags;
  const bool has_vocab = std::any_of(r.model.metadata.begin(), r.model.metadata.end(),
                                     [](const MetadataEntry& e) { return e.key == "tokenizer.vocabulary"; });
  if (has_vocab != ((flags & kAprHasVocab) != 0))
    findings.warning("apr.flags.has_vocab", "the flag HAS_VOCAB and the metadata disagree")
        .at(6)
        .in("flags")
        .want(has_vocab ? "HAS_VOCAB, for tokenizer.vocabulary is there"
                        : "no HAS_VOCAB, for there is no tokenizer.vocabulary");
  const bool quantized = std::any_of(r.model.tensors.begin(), r.model.tensors.end(), [](const TensorInfo& t) {
    const TypeInfo* type = find_type(t.type);
    return type != nullptr && (type->block_elements > 1 || t.type == TensorType::AprQ8);
  });
  if (quantized != ((flags & kAprQuantized) != 0))
    findings.info("apr.flags.quantized", "the flag QUANTIZED and the tensors disagree").at(6).in("flags");
  const MetadataEntry* sharding = r.model.find_metadata("sharding");
  const bool has_sharding = sharding != nullptr && sharding->value.type() != ValueType::Null;
  if ((flags & kAprSharded) != 0 || has_sharding) {
    auto finding = findings.warning("apr.sharded", "one shard of a model: its other tensors are in other files");
    finding.at(has_sharding ? sharding->value_offset : 6).in(has_sharding ? "sharding" : "flags");
    if (has_sharding && sharding->value.as_object() != nullptr)
      finding.got(escaped(sharding->value.as_object()->text, 200));
  }
}

}  // namespace

void AprReading::add_region(std::string_view name, std::uint64_t offset, std::uint64_t bytes) {
  const std::uint64_t behind =
      model.regions.empty() ? 0 : model.regions.back().offset + model.regions.back().size_bytes;
  if (bytes == 0 || offset < behind || !range_fits(offset, bytes, size())) return;
  model.regions.push_back({std::string(name), 0, offset, bytes});
}

void check_apr_sections(AprReading& r) {
  const AprHeader& h = r.header;
  struct Section {
    const char* field;
    std::uint64_t at, offset, least, alignment;
    const char* after;
  };
  const std::uint64_t metadata_end =
      checked_add<std::uint64_t>(h.metadata_offset, h.metadata_size).value_or(UINT64_MAX);
  const Section sections[] = {{"metadata_offset", 12, h.metadata_offset, kAprHeaderBytes, 1, "the header"},
                              {"tensor_index_offset", 24, h.index_offset, metadata_end, kAprAlignment, "the metadata"},
                              {"data_offset", 32, h.data_offset, h.index_offset, kAprAlignment, "the tensor index"}};
  for (const Section& s : sections) {
    if (s.offset < s.least)
      r.findings.error("apr.sections.order", "a section begins before the one that it follows ends")
          .at(s.at)
          .in(s.field)
          .want(fmt::format("at least {}, the end of {}", s.least, s.after))
          .got(std::to_string(s.offset));
    if (s.offset % s.alignment != 0)
      r.findings.error("apr.sections.aligned", "a section is not aligned")
          .at(s.at)
          .in(s.field)
          .want(fmt::format("a multiple of {}", s.alignment))
          .got(std::to_string(s.offset));
    if (s.offset > r.size())
      r.findings.error("apr.sections.inside_file", "a section begins behind the end of the file")
          .at(s.at)
          .in(s.field)
          .want(fmt::format("at most {}", r.size()))
          .got(std::to_string(s.offset))
          .help("the file is cut short: fetch it again");
  }
  if (h.metadata_offset > kAprHeaderBytes && h.metadata_offset <= r.size())
    r.findings.warning("apr.padding", "bytes between the header and the metadata")
        .at(kAprHeaderBytes)
        .in("padding")
        .got(fmt::format("{} bytes", h.metadata_offset - kAprHeaderBytes));
}

void check_apr_padding(AprReading& r, std::string_view what, std::uint64_t begin, std::uint64_t end) {
  if (begin >= end || end > r.size()) return;
  const auto padding = r.file.bytes().subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
  if (padding.size() >= kAprAlignment) {
    r.findings.warning("apr.padding", "more padding than alignment needs")
        .at(begin)
        .in(fmt::format("padding after {}", what))
        .want(fmt::format("fewer than {} bytes", kAprAlignment))
        .got(fmt::format("{} bytes", padding.size()));
    return;
  }
  const auto hidden = std::find_if(padding.begin(), padding.end(), [](std::byte b) { return b != std::byte{0}; });
  if (hidden == padding.end()) return;
  r.findings.warning("apr.padding", "padding that is not zero")
      .at(begin + static_cast<std::uint64_t>(hidden - padding.begin()))
      .in(fmt::format("padding after {}", what))
      .want("0x00")
      .got(fmt::format("0x{:02X}", static_cast<unsigned>(*hidden)));
}

ModelFile read_apr(std::unique_ptr<MappedFile> mapped, const std::string& user_path, const OpenOptions& options) {
  if (mapped->size() < kAprHeaderBytes)
    throw Error(ErrorCode::InvalidFormat, "too short for the header of an APR file")
        .at(mapped->path(), mapped->size())
        .in("header")
        .want(fmt::format("{} bytes", kAprHeaderBytes))
        .got(fmt::format("{} bytes", mapped->size()))
        .help("the file is cut short: fetch it again");
  ModelFile model;
  model.format = Format::Apr;
  model.path = user_path;
  model.alignment = kAprAlignment;
  model.files.push_back(std::move(mapped));
  const MappedFile& file = *model.files.front();
  const AprHeader header = decode_apr_header(file.bytes().first<kAprHeaderBytes>());
  model.version = fmt::format("{}.{}", header.major, header.minor);
  model.data_offset = header.data_offset;

  Findings findings(file.path());
  check_header(file, header, findings);
  check_flags(header.flags, findings);
  AprReading reading{model, file, header, Findings(file.path())};
  if ((header.flags & kAprEncrypted) != 0) {
    findings.error("apr.encrypted", "the file is encrypted; apr cannot read it").at(6).in("flags").got("ENCRYPTED");
  } else {
    reading.add_region("header", 0, kAprHeaderBytes);
    check_apr_sections(reading);
    read_apr_metadata(reading);
    read_apr_index(reading);
    check_apr_data(reading, options.verify_data);
    if (!is_marked_compressed(header.flags)) {
      check_flags_against_tables(reading, findings);
    } else if (reading.findings.has_errors()) {
      refuse_compressed(model, header.flags, findings);
      reading.findings = Findings(file.path());
    } else {
      findings.warning("apr.flags.compressed", "marked as compressed, but the bytes are not: read as they are")
          .at(6)
          .in("flags");
    }
  }
  model.findings = findings.take();
  for (Finding& finding : reading.findings.take()) model.findings.push_back(std::move(finding));
  return model;
}

}  // namespace apr::format
