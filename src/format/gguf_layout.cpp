// Where the tensor data of a GGUF file lies: bounds, order, gaps, overlaps, padding and trailing bytes. Only the header
// has been read so far; nothing here touches a page of data unless something is odd or verify_data asks for it.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "apr/core/checked.h"
#include "apr/format/detect.h"
#include "src/format/gguf.h"

namespace apr::format::gguf {
namespace {

constexpr std::uint64_t kSampleBytes = 64 * 1024;  // of odd bytes, as much as is looked at

/// Shannon entropy in bits per byte.
double entropy(std::span<const std::byte> bytes) {
  std::array<std::uint64_t, 256> counts{};
  for (const std::byte b : bytes) ++counts[std::to_integer<std::size_t>(b)];
  double bits = 0;
  for (const std::uint64_t n : counts)
    if (n != 0) {
      const double p = static_cast<double>(n) / static_cast<double>(bytes.size());
      bits -= p * std::log2(p);
    }
  return bits;
}

std::string first_bytes(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte b : bytes.first(std::min<std::size_t>(bytes.size(), 16)))
    text += fmt::format("{}{:02x}", text.empty() ? "" : " ", std::to_integer<unsigned>(b));
  return text;
}

class Layout {
 public:
  explicit Layout(Parse& parse) : parse_(parse), file_size_(parse.file.size()) {}

  void run() {
    const auto start = checked_align(parse_.infos_end, parse_.alignment);
    parse_.data_offset = start.value_or(std::numeric_limits<std::uint64_t>::max());
    section_bytes_ = parse_.data_offset <= file_size_ ? file_size_ - parse_.data_offset : 0;
    known_size_.reserve(parse_.tensors.size());
    for (const TensorInfo& tensor : parse_.tensors) known_size_.push_back(tensor.readable);
    check_bounds();
    sort_by_offset();
    if (!order_.empty()) check_padding(parse_.infos_end, std::min(parse_.data_offset - parse_.infos_end, kSampleBytes));
    check_order();
    walk();
    check_step();
    make_absolute();
    divide();
  }

 private:
  [[nodiscard]] std::string field(std::size_t index) const { return fmt::format("tensor[{}].offset", index); }
  [[nodiscard]] static std::uint64_t offset_field(const TensorInfo& t) { return t.info_offset + t.info_size - 8; }
  FindingBuilder error(std::string_view rule, std::string_view message, std::size_t index) {
    FindingBuilder finding = parse_.findings.error(rule, message);
    finding.at(offset_field(parse_.tensors[index])).in(field(index)).tensor(parse_.tensors[index].name);
    return finding;
  }
  FindingBuilder warning(std::string_view rule, std::string_view message, std::size_t index) {
    FindingBuilder finding = parse_.findings.warning(rule, message);
    finding.at(offset_field(parse_.tensors[index])).in(field(index)).tensor(parse_.tensors[index].name);
    return finding;
  }
  [[nodiscard]] std::uint64_t aligned(std::uint64_t relative) const {
    return checked_align(relative, parse_.alignment).value_or(std::numeric_limits<std::uint64_t>::max());
  }
  [[nodiscard]] std::span<const std::byte> sample(std::uint64_t offset, std::uint64_t size) const {
    const std::uint64_t n = std::min(size, kSampleBytes);
    return parse_.file.bytes().subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(n));
  }

  void check_bounds() {
    bool some_data = false;
    for (const TensorInfo& tensor : parse_.tensors) some_data = some_data || tensor.size_bytes != 0;
    if (some_data && parse_.data_offset >= file_size_)
      parse_.findings.error("gguf.data.missing", "the tensor data is missing")
          .at(file_size_)
          .in("tensor data")
          .want(fmt::format("data from offset {}", parse_.data_offset))
          .got(fmt::format("a file of {} bytes", file_size_))
          .help("the file was cut off: copy or download it again");
    for (std::size_t i = 0; i < parse_.tensors.size(); ++i) {
      TensorInfo& tensor = parse_.tensors[i];
      if (tensor.offset % parse_.alignment != 0)
        error("gguf.tensor.offset.aligned", "the offset is not aligned", i)
            .want(fmt::format("a multiple of {}", parse_.alignment))
            .got(fmt::format("{}", tensor.offset));
      if (range_fits(tensor.offset, tensor.size_bytes, section_bytes_)) continue;
      if (tensor.size_bytes == 0 && known_size_[i] && tensor.offset <= aligned(section_bytes_))
        continue;  // nothing to miss
      tensor.readable = false;
      error("gguf.tensor.offset.bounds", "the tensor does not lie inside the file", i)
          .want(fmt::format("offset + size at most {}, the bytes of the data section", section_bytes_))
          .got(fmt::format("offset {}, size {}", tensor.offset, tensor.size_bytes))
          .help("the file was cut off, or its header lies");
    }
  }

  /// Those that take part in the walk: with data, or of unknown size, and starting inside the file.
  void sort_by_offset() {
    for (std::size_t i = 0; i < parse_.tensors.size(); ++i) {
      const TensorInfo& tensor = parse_.tensors[i];
      const bool takes_space = !known_size_[i] || tensor.size_bytes != 0;
      if (takes_space && tensor.offset < section_bytes_) order_.push_back(i);
    }
    std::stable_sort(order_.begin(), order_.end(),
                     [&](std::size_t a, std::size_t b) { return parse_.tensors[a].offset < parse_.tensors[b].offset; });
  }

  void check_order() {
    for (std::size_t i = 1; i < order_.size(); ++i) {
      if (order_[i - 1] < order_[i]) continue;
      warning("gguf.data.order", "the tensors are not stored in the order of their infos", order_[i])
          .want("rising offsets, as ggml demands")
          .got(fmt::format("tensor[{}] before tensor[{}]", order_[i - 1], order_[i]));
      return;
    }
  }

  /// From the lowest offset up: gaps and overlaps. Behind a tensor of unknown size neither can be told.
  void walk() {
    std::size_t holder = 0;  // the tensor that reaches to end_
    for (const std::size_t i : order_) {
      const TensorInfo& tensor = parse_.tensors[i];
      if (tensor.offset < end_)
        error("gguf.tensor.offset.overlap", "two tensors share bytes of the file", i)
            .want(fmt::format("at least {}, the end of tensor[{}] ({})", end_, holder,
                              quoted(parse_.tensors[holder].name)))
            .got(fmt::format("{}", tensor.offset));
      else if (!open_end_)
        check_between(tensor, i);
      open_end_ = !known_size_[i] || !tensor.readable;
      if (open_end_ || tensor.offset + tensor.size_bytes <= end_) continue;
      end_ = tensor.offset + tensor.size_bytes;
      holder = i;
    }
  }

  /// The bytes from end_ to the start of the next tensor: padding, or more than padding.
  void check_between(const TensorInfo& next, std::size_t index) {
    const std::uint64_t padded = aligned(end_);
    if (parse_.verify_data) check_padding(parse_.data_offset + end_, std::min(padded, next.offset) - end_);
    if (next.offset <= padded) return;
    ++n_gaps_;
    const std::uint64_t at = parse_.data_offset + padded, size = next.offset - padded;
    warning("gguf.data.gap", "bytes before this tensor belong to nothing", index)
        .want(fmt::format("{}", padded))
        .got(fmt::format("{}: {} bytes from file offset {}, first {}", next.offset, size, at,
                         first_bytes(sample(at, size))));
  }

  void check_padding(std::uint64_t offset, std::uint64_t size) {
    const auto bytes = parse_.file.bytes().subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(size));
    const auto odd = std::find_if(bytes.begin(), bytes.end(), [](std::byte b) { return b != std::byte{0}; });
    if (odd == bytes.end()) return;
    const std::uint64_t at = offset + static_cast<std::uint64_t>(odd - bytes.begin());
    parse_.findings.warning("gguf.padding.nonzero", "padding is not zero")
        .at(at)
        .in("padding")
        .want("0")
        .got(first_bytes(bytes.subspan(static_cast<std::size_t>(at - offset))));
  }

  /// Gaps that a larger alignment than the declared one explains: then the declaration is wrong, and the data may
  /// start elsewhere. Believed when two gaps agree, or when the length of the file does.
  void check_step() {
    if (n_gaps_ == 0 || open_end_) return;
    for (std::uint64_t step = parse_.alignment * 2; step <= kMaxAlignment; step *= 2) {
      std::uint64_t expected = 0;
      const bool explains = std::all_of(order_.begin(), order_.end(), [&](std::size_t i) {
        if (parse_.tensors[i].offset != expected) return false;
        expected = checked_align(expected + parse_.tensors[i].size_bytes, step).value_or(0);
        return true;
      });
      if (!explains) continue;
      const std::uint64_t start = checked_align(parse_.infos_end, step).value_or(0);
      const bool length_agrees =
          start != parse_.data_offset && (file_size_ == start + end_ || file_size_ == start + expected);
      if (n_gaps_ < 2 && !length_agrees) continue;
      parse_.findings.error("gguf.alignment.inconsistent", "the tensors are aligned otherwise than the file says")
          .at(offset_field(parse_.tensors[order_.front()]))
          .in("metadata[\"general.alignment\"]")
          .want(fmt::format("{}, by the offsets of {} tensors", step, order_.size()))
          .got(fmt::format("{}", parse_.alignment));
      return;
    }
  }

  void make_absolute() {
    for (TensorInfo& tensor : parse_.tensors)
      tensor.offset =
          checked_add(parse_.data_offset, tensor.offset).value_or(std::numeric_limits<std::uint64_t>::max());
  }

  /// The regions behind the tensor infos; and what stands behind the last tensor.
  void divide() {
    if (order_.empty()) {  // no data, so no need for a data section
      const std::uint64_t padding = std::min(parse_.data_offset, file_size_);
      return divide_rest(parse_.infos_end, padding);
    }
    add_region("padding", parse_.infos_end, parse_.data_offset);
    const std::uint64_t data_end = open_end_ ? file_size_ : parse_.data_offset + end_;
    add_region("tensor data", parse_.data_offset, data_end);
    divide_rest(data_end, std::min(file_size_, parse_.data_offset + aligned(data_end - parse_.data_offset)));
  }

  void divide_rest(std::uint64_t from, std::uint64_t padded) {
    add_region("padding", from, padded);
    if (padded > from && (parse_.verify_data || order_.empty())) check_padding(from, padded - from);
    if (padded == file_size_) return;
    add_region("trailing bytes", padded, file_size_);
    const auto bytes = sample(padded, file_size_ - padded);
    const Detected detected = detect(bytes, file_size_ - padded);
    parse_.findings.warning("gguf.trailing", "bytes behind the last tensor belong to nothing")
        .at(padded)
        .in("trailing bytes")
        .want("the end of the file")
        .got(fmt::format("{} bytes, {:.1f} bits of entropy per byte, first {}; looks like {}", file_size_ - padded,
                         entropy(bytes), first_bytes(bytes), detected.what));
  }

  void add_region(const char* name, std::uint64_t from, std::uint64_t to) {
    if (to > from) parse_.regions.push_back({name, parse_.file_index, from, to - from});
  }

  Parse& parse_;
  std::uint64_t file_size_;
  std::uint64_t section_bytes_ = 0;
  std::vector<bool> known_size_;    // by tensor: its infos are sound, whether or not its bytes are there
  std::vector<std::size_t> order_;  // tensors that take space, by rising offset
  std::uint64_t end_ = 0;           // of the data so far, relative
  bool open_end_ = false;           // the last tensor of the walk has an unknown end
  std::size_t n_gaps_ = 0;
};

}  // namespace

void lay_out(Parse& parse) {
  if (parse.infos_whole && parse.tensors.empty())
    parse.findings.warning("gguf.tensors.none", "the file holds no tensors").at(8).in("header.tensor_count").got("0");
  if (parse.infos_whole && parse.alignment != 0) return Layout(parse).run();
  // The data section cannot be found: its start follows from the end of the infos and the alignment.
  for (TensorInfo& tensor : parse.tensors) {
    tensor.offset = 0;
    tensor.readable = false;
  }
  const std::uint64_t from = parse.infos_whole ? parse.infos_end : parse.stopped_at;
  if (from < parse.file.size()) parse.regions.push_back({"unread", parse.file_index, from, parse.file.size() - from});
}

}  // namespace apr::format::gguf
