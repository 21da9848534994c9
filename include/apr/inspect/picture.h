// A model file as a picture: what lies where, to scale; how its bytes and values are spread. One pass over the file.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "apr/format/model_file.h"

namespace apr::inspect {

inline constexpr std::size_t kHistogramBins = 48;

/// One column of the strip: an equal part of a file.
struct StripColumn {
  double entropy = 0;     // Shannon, of the column's bytes: 0 to 8 bits a byte
  double zero_share = 0;  // bytes that are 0
};

struct PictureFile {
  std::string path;
  std::uint64_t size_bytes = 0;
  std::vector<StripColumn> strip;  // column i covers [i * size / n, (i + 1) * size / n); empty for an empty file
};

/// A part of a file that can be pointed at: a tensor, or a region without tensors (header, metadata, padding, ...).
struct PicturePart {
  std::string name, type, shape;  // type and shape: "" for regions
  bool is_tensor = false, readable = true;
  std::uint32_t file_index = 0;
  std::uint64_t offset = 0, size_bytes = 0;
  std::vector<std::byte> first_bytes;  // at most PictureOptions::n_bytes
  // Of a tensor whose values have a form in f32:
  std::string no_values_reason;                      // why there is no histogram
  std::array<std::uint64_t, kHistogramBins> bins{};  // finite values, equal widths from min to max
  double min = 0, max = 0, mean = 0, std = 0;
  std::uint64_t n_values = 0, n_not_finite = 0;
};

struct Picture {
  std::string title, format;
  std::vector<PictureFile> files;
  std::vector<PicturePart> parts;  // by file, then offset; never overlapping in a sound file
};

struct PictureOptions {
  unsigned n_threads = 1;
  std::size_t n_columns = 1024;
  std::size_t n_bytes = 256;
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;  // bytes
};
/// Reads the file twice: bytes, then values. Polls check_interrupted().
[[nodiscard]] Picture make_picture(const format::ModelFile& model, const PictureOptions& options);

}  // namespace apr::inspect
