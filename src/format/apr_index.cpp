// The tensor index of APR v2: packed entries, sorted by name.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>

#include "apr/core/bytes.h"
#include "apr/core/checked.h"
#include "apr/core/text.h"
#include "src/format/apr.h"

namespace apr::format {
namespace {

constexpr std::uint64_t kMaxTensors = 1'000'000;  // bounds the table: an entry in memory is larger than in the file

class IndexReader {
 public:
  IndexReader(AprReading& reading, std::span<const std::byte> bytes)
      : r_(reading), in_(bytes, std::endian::little, reading.header.index_offset) {}
  void read();

 private:
  struct Entry {
    std::uint8_t dtype = 0, ndim = 0;
    std::uint64_t dtype_at = 0, dims_at = 0, offset_at = 0, relative = 0;
  };
  bool read_entry(TensorInfo& tensor, Entry& entry);
  void check_name(const TensorInfo& tensor);
  void check_dtype(TensorInfo& tensor, const Entry& entry);
  void check_shape(TensorInfo& tensor, const Entry& entry);
  void check_size(TensorInfo& tensor, const Entry& entry);
  void check_range(TensorInfo& tensor, const Entry& entry);
  void report_ambiguous();
  void check_rest(bool complete);
  [[nodiscard]] std::string field(std::string_view part) const { return fmt::format("tensor[{}].{}", number_, part); }

  AprReading& r_;
  ByteReader in_;
  std::uint32_t number_ = 0;
  struct Ambiguous {
    std::uint64_t n = 0, offset = 0;
    std::string_view tensor;
  };
  std::map<std::uint8_t, Ambiguous> ambiguous_;
};

bool IndexReader::read_entry(TensorInfo& tensor, Entry& entry) {
  tensor.info_offset = in_.offset();
  std::uint16_t name_bytes = 0;
  if (!in_.read(name_bytes) || !in_.read_text(name_bytes, tensor.name)) return false;
  entry.dtype_at = in_.offset();
  if (!in_.read(entry.dtype) || !in_.read(entry.ndim)) return false;
  entry.dims_at = in_.offset();
  if (in_.remaining() < 8ULL * entry.ndim + 16) return false;
  tensor.shape.reserve(entry.ndim);
  for (std::uint32_t i = 0; i < entry.ndim; ++i) {
    std::uint64_t dim = 0;
    if (!in_.read(dim)) return false;
    tensor.shape.push_back(static_cast<std::int64_t>(dim));  // above 2^63 it turns negative; check_shape refuses it
  }
  entry.offset_at = in_.offset();
  if (!in_.read(entry.relative) || !in_.read(tensor.size_bytes)) return false;
  tensor.info_size = in_.offset() - tensor.info_offset;
  return true;
}

void IndexReader::check_name(const TensorInfo& tensor) {
  const std::uint64_t at = tensor.info_offset;
  if (invalid_utf8_at(tensor.name))
    r_.findings.error("apr.tensor.name_utf8", "a tensor name is no UTF-8").at(at).in(field("name")).tensor(tensor.name);
  else if (tensor.name.empty())
    r_.findings.warning("apr.tensor.name", "a tensor without a name").at(at).in(field("name"));
  else if (escaped(tensor.name, tensor.name.size() + 1) != tensor.name)
    r_.findings.warning("apr.tensor.name", "a tensor name has characters that do not print")
        .at(at)
        .in(field("name"))
        .tensor(tensor.name);
  if (tensor.name.size() > kAprMaxNameBytes)
    r_.findings.warning("apr.tensor.name_length", "a name longer than the format allows")
        .at(at)
        .in(field("name_len"))
        .tensor(tensor.name)
        .want(fmt::format("at most {}", kAprMaxNameBytes))
        .got(std::to_string(tensor.name.size()));
  if (number_ == 0) return;
  const TensorInfo& before = r_.model.tensors.back();
  if (tensor.name == before.name)
    r_.findings.error("apr.index.unique", "two tensors have the same name")
        .at(at)
        .in(field("name"))
        .tensor(tensor.name);
  else if (tensor.name < before.name)
    r_.findings.error("apr.index.sorted", "the tensor index is not sorted by name")
        .at(at)
        .in(field("name"))
        .tensor(tensor.name)
        .want(fmt::format("a name after \"{}\"", escaped(before.name, 80)))
        .got(escaped(tensor.name, 80));
}

void IndexReader::check_dtype(TensorInfo& tensor, const Entry& entry) {
  tensor.raw_type = entry.dtype;
  const AprDtype* row = find_apr_dtype(entry.dtype);
  if (row != nullptr) tensor.type = row->type;
  if (row != nullptr && !row->other.empty() && row->type != TensorType::Unknown) {
    Ambiguous& seen = ambiguous_[entry.dtype];
    if (seen.n++ == 0) seen = {1, entry.dtype_at, tensor.name};
  }
  if (tensor.type != TensorType::Unknown) return;
  tensor.readable = false;
  auto finding = r_.findings.error(
      "apr.tensor.dtype", row != nullptr ? "a dtype byte on which the readers of APR disagree" : "unknown dtype byte");
  finding.at(entry.dtype_at).in(field("dtype")).tensor(tensor.name);
  finding.want("0 f32, 1 f16, 12 q4_k, 14 q6_k, 30 bf16, 128 q4 or 129 q8").got(std::to_string(entry.dtype));
  if (row != nullptr)
    finding.help(fmt::format("aprender refuses this byte; realizar takes it for {}. Convert the source model again",
                             row->other));
}

void IndexReader::report_ambiguous() {
  for (const auto& [id, seen] : ambiguous_) {
    const AprDtype& row = *find_apr_dtype(id);
    r_.findings.warning("apr.tensor.dtype_ambiguous", "two readers disagree about a dtype byte; read as aprender does")
        .at(seen.offset)
        .in("dtype")
        .tensor(seen.tensor)
        .want(fmt::format("a byte with one meaning; {} is {} to aprender", id, row.name))
        .got(fmt::format("{} tensors with byte {}, which realizar takes for {}", seen.n, id, row.other));
  }
}

void IndexReader::check_shape(TensorInfo& tensor, const Entry& entry) {
  if (entry.ndim > kAprMaxDims)
    r_.findings.error("apr.tensor.ndim", "too many dimensions")
        .at(entry.dtype_at + 1)
        .in(field("ndim"))
        .tensor(tensor.name)
        .want(fmt::format("at most {}", kAprMaxDims))
        .got(std::to_string(entry.ndim));
  std::optional<std::uint64_t> product = 1;
  bool fits = true, empty = false;
  for (const std::int64_t dim : tensor.shape) {
    fits = fits && dim >= 0;
    empty = empty || dim == 0;
    if (product && dim > 0) product = checked_mul(*product, static_cast<std::uint64_t>(dim));
  }
  if (!fits || !product) {
    r_.findings.error("apr.tensor.shape_overflow", "the product of the dimensions does not fit in 64 bits")
        .at(entry.dims_at)
        .in(field("dims"))
        .tensor(tensor.name);
    tensor.readable = false;
    return;
  }
  if (entry.ndim > kAprMaxDims) tensor.readable = false;
  tensor.n_elements = empty ? 0 : *product;
  if (empty)
    r_.findings.warning("apr.tensor.empty", "a tensor without elements")
        .at(entry.dims_at)
        .in(field("dims"))
        .tensor(tensor.name);
  check_size(tensor, entry);
}

void IndexReader::check_size(TensorInfo& tensor, const Entry& entry) {
  if (tensor.type == TensorType::Unknown) return;
  const auto expected = apr_stored_bytes(tensor.type, tensor.shape);
  if (expected == tensor.size_bytes) return;
  tensor.readable = false;
  auto finding = r_.findings.error("apr.tensor.size", "the size is not that of the shape and dtype");
  finding.at(entry.offset_at + 8).in(field("size")).tensor(tensor.name);
  finding.want(expected ? fmt::format("{} bytes", *expected) : "a size below 2^64")
      .got(fmt::format("{} bytes", tensor.size_bytes));
  const AprDtype* row = find_apr_dtype(entry.dtype);
  if (row != nullptr && !row->other.empty())
    finding.help(fmt::format("byte {} is {} to aprender, {} to realizar", entry.dtype, row->name, row->other));
}

void IndexReader::check_range(TensorInfo& tensor, const Entry& entry) {
  if (entry.relative % kAprAlignment != 0)
    r_.findings.error("apr.tensor.aligned", "the data of a tensor are not aligned")
        .at(entry.offset_at)
        .in(field("offset"))
        .tensor(tensor.name)
        .want(fmt::format("a multiple of {}", kAprAlignment))
        .got(std::to_string(entry.relative));
  const auto absolute = checked_add(r_.header.data_offset, entry.relative);
  tensor.offset = absolute.value_or(std::numeric_limits<std::uint64_t>::max());
  if (absolute && range_fits(*absolute, tensor.size_bytes, r_.body_end())) {
    r_.placed.push_back(number_);
    return;
  }
  tensor.readable = false;
  r_.findings.error("apr.tensor.inside_file", "the data of a tensor run past the end of the file")
      .at(entry.offset_at)
      .in(field("offset"))
      .tensor(tensor.name)
      .want(fmt::format("data that end at {} at the latest, before the checksum", r_.body_end()))
      .got(absolute ? fmt::format("{} bytes at {}", tensor.size_bytes, *absolute) : "an offset beyond 64 bits");
}

void IndexReader::read() {
  const std::uint32_t count = r_.header.tensor_count;
  const std::uint64_t room = std::min(in_.remaining() / kAprMinEntryBytes, kMaxTensors);
  const bool plausible = count <= room;
  if (!plausible)
    r_.findings.error("apr.index.count", "more tensors than the index has room for, or than apr reads")
        .at(8)
        .in("tensor_count")
        .want(fmt::format("at most {}", room))
        .got(std::to_string(count));
  r_.model.tensors.reserve(static_cast<std::size_t>(std::min<std::uint64_t>(count, room)));
  bool complete = true;
  for (number_ = 0; number_ < std::min<std::uint64_t>(count, kMaxTensors) && complete; ++number_) {
    TensorInfo tensor;
    Entry entry;
    complete = read_entry(tensor, entry);
    if (!complete) {
      if (plausible)
        r_.findings.error("apr.index.truncated", "an entry of the tensor index runs past its end")
            .at(tensor.info_offset)
            .in(fmt::format("tensor[{}]", number_));
      break;
    }
    check_name(tensor);
    check_dtype(tensor, entry);
    check_shape(tensor, entry);
    check_range(tensor, entry);
    r_.model.tensors.push_back(std::move(tensor));
  }
  report_ambiguous();
  check_rest(complete && plausible);
}

/// What stands between the last entry and the data: zeros, and fewer than alignment can ask for.
void IndexReader::check_rest(bool complete) {
  const std::uint64_t at = in_.offset(), rest = in_.remaining();
  r_.add_region("tensor index", r_.header.index_offset, at - r_.header.index_offset);
  r_.add_region("padding", at, rest);
  if (!complete) return;
  const auto padding = r_.file.bytes().subspan(static_cast<std::size_t>(at),
                                               static_cast<std::size_t>(std::min<std::uint64_t>(rest, kAprAlignment)));
  const bool zero = std::all_of(padding.begin(), padding.end(), [](std::byte b) { return b == std::byte{0}; });
  if (rest < kAprAlignment && zero) return;
  r_.findings.error("apr.index.extra", "bytes behind the last entry of the tensor index")
      .at(at)
      .in("tensor_count")
      .want("zero padding up to the data, fewer than 64 bytes")
      .got(fmt::format("{} bytes{}", rest, zero ? "" : ", not zero"))
      .help("the file may hide tensors that tensor_count does not count");
}

}  // namespace

void read_apr_index(AprReading& r) {
  const AprHeader& h = r.header;
  const std::uint64_t end = std::min(h.data_offset, r.size());
  if (h.index_offset < kAprHeaderBytes || h.index_offset > end) {  // check_apr_sections has said so
    if (h.tensor_count == 0 && h.index_offset <= r.size()) return;
    r.findings.error("apr.index.unreadable", "the tensor index cannot be read").at(24).in("tensor_index_offset");
    return;
  }
  IndexReader(r, r.file.bytes().subspan(static_cast<std::size_t>(h.index_offset),
                                        static_cast<std::size_t>(end - h.index_offset)))
      .read();
  if (h.tensor_count == 0) r.findings.warning("apr.tensors.none", "the file has no tensors").at(8).in("tensor_count");
}

}  // namespace apr::format
