// The steps of the APR v2 reader. Each adds to the model and to the findings; none throws.
#pragma once
#include <cstdint>
#include <vector>

#include "apr/core/file.h"
#include "apr/format/apr_header.h"
#include "apr/format/model_file.h"
#include "src/format/readers.h"

namespace apr::format {

struct AprReading {
  ModelFile& model;
  const MappedFile& file;
  AprHeader header;
  Findings findings;
  std::vector<std::uint32_t> placed{};  // tensors whose data lie inside the file

  [[nodiscard]] std::uint64_t size() const noexcept { return file.size(); }
  /// Where the footer begins at the latest, and so the data end.
  [[nodiscard]] std::uint64_t body_end() const noexcept {
    return size() > kAprHeaderBytes + kAprFooterBytes ? size() - kAprFooterBytes : kAprHeaderBytes;
  }
  /// Adds a region unless it is empty, leaves the file or begins before the last one ends.
  void add_region(std::string_view name, std::uint64_t offset, std::uint64_t bytes);
};

/// Bounds, order and alignment of the sections.
void check_apr_sections(AprReading& reading);
/// The bytes between two sections are zero and fewer than 64.
void check_apr_padding(AprReading& reading, std::string_view what, std::uint64_t begin, std::uint64_t end);
void read_apr_metadata(AprReading& reading);
void read_apr_index(AprReading& reading);
/// Overlaps, gaps, the end of the data and the footer. `verify`: also its checksum and the padding between tensors.
void check_apr_data(AprReading& reading, bool verify);

}  // namespace apr::format
