// The tensor infos of a GGUF file: name, shape, type and relative offset of each tensor.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <unordered_map>

#include "apr/core/checked.h"
#include "src/format/gguf.h"
#include "src/format/gguf_names.h"

namespace apr::format::gguf {
namespace {

constexpr std::uint64_t kAbsurdNameBytes = 65'535;  // beyond this it is no name: reading stops
constexpr std::size_t kMaxBrokenInfos = 100;        // after so many the rest is taken for garbage
constexpr std::size_t kReserveAtMost = 4096;

class InfoWalk {
 public:
  explicit InfoWalk(Parse& parse) : parse_(parse), reader_(parse.reader(parse.infos_offset)) {}

  void run() {
    const bool count_is_possible = parse_.n_tensors <= reader_.remaining() / kMinInfoBytes;
    const std::size_t most_broken = count_is_possible ? kMaxBrokenInfos : 1;
    parse_.tensors.reserve(static_cast<std::size_t>(std::min<std::uint64_t>(parse_.n_tensors, kReserveAtMost)));
    for (index_ = 0; index_ < parse_.n_tensors; ++index_) {
      info_offset_ = reader_.offset();
      if (!read_info()) {
        parse_.stopped_at = info_offset_;
        return;
      }
      if (n_broken_ >= most_broken && index_ + 1 < parse_.n_tensors) return give_up();
    }
    parse_.infos_whole = true;
    parse_.infos_end = reader_.offset();
  }

 private:
  void give_up() {
    parse_.stopped_at = reader_.offset();
    parse_.findings.error("gguf.tensor.given_up", "too many broken tensor infos: the others are not read")
        .at(reader_.offset())
        .in(fmt::format("tensor[{}]", index_ + 1))
        .want(fmt::format("{} tensors", parse_.n_tensors))
        .got(fmt::format("{} faults in {} infos", n_broken_, index_ + 1));
  }

  /// False when what follows cannot be told apart any more.
  bool read_info() {
    TensorInfo tensor;
    tensor.file_index = parse_.file_index;
    tensor.info_offset = info_offset_;
    name_ = {};
    std::uint64_t length;
    if (!reader_.read(length)) return truncated("name.length");
    if (length > reader_.remaining() || length > kAbsurdNameBytes) {
      error("gguf.tensor.name.length", "the name runs past the end of the file", info_offset_, "name.length")
          .want(fmt::format("at most {} bytes", std::min(reader_.remaining(), kMaxNameBytes)))
          .got(fmt::format("{}", length));
      return false;
    }
    if (!reader_.read_text(length, name_)) return truncated("name");
    tensor.name = name_;
    const std::uint64_t dims_offset = reader_.offset();
    std::uint32_t n_dims;
    if (!reader_.read(n_dims)) return truncated("n_dims");
    if (n_dims > kMaxDims) {
      error("gguf.tensor.n_dims", "a tensor has at most 4 dimensions", dims_offset, "n_dims")
          .want("0 to 4")
          .got(fmt::format("{}", n_dims));
      return false;
    }
    std::uint64_t dims[kMaxDims] = {};
    for (std::uint32_t i = 0; i < n_dims; ++i)
      if (!reader_.read(dims[i])) return truncated(fmt::format("dim[{}]", i));
    const std::uint64_t type_offset = reader_.offset();
    if (!reader_.read(tensor.raw_type)) return truncated("type");
    if (!reader_.read(tensor.offset)) return truncated("offset");
    tensor.info_size = reader_.offset() - info_offset_;
    for (std::uint32_t i = n_dims; i-- > 0;) tensor.shape.push_back(static_cast<std::int64_t>(dims[i]));

    check_name();
    if (!check_shape(tensor, {dims, n_dims}, dims_offset)) tensor.readable = false;
    if (!check_type(tensor, type_offset)) tensor.readable = false;
    if (tensor.readable && !check_size(tensor, n_dims == 0 ? 1 : dims[0], dims_offset)) tensor.readable = false;
    parse_.tensors.push_back(std::move(tensor));
    return true;
  }

  void check_name() {
    const std::uint64_t name_offset = info_offset_ + 8;
    if (name_.empty()) warning("gguf.tensor.name.empty", "the tensor has no name", info_offset_, "name");
    if (name_.size() > kMaxNameBytes)
      broken("gguf.tensor.name.length", "the name is longer than the format allows", info_offset_, "name.length")
          .want(fmt::format("at most {} bytes", kMaxNameBytes))
          .got(fmt::format("{}", name_.size()));
    else if (name_.size() == kMaxNameBytes)
      warning("gguf.tensor.name.length", "ggml does not take a name of this length", info_offset_, "name.length")
          .want("at most 63 bytes")
          .got(fmt::format("{}", name_.size()));
    if (const auto fault = text_fault(name_)) {
      if (name_.find('\0') != std::string_view::npos)  // a C reader would see another, perhaps equal, name
        broken("gguf.tensor.name.nul", "the name holds a NUL byte", name_offset + name_.find('\0'), "name")
            .got("NUL in name");
      else
        warning("gguf.tensor.name.text", "the name is not plain text", name_offset + fault->at, "name")
            .got(fault->what);
    }
    if (looks_like_escaping_path(name_))
      warning("gguf.tensor.name.path", "the name looks like a path out of its folder", name_offset, "name");
    if (const auto [first, is_new] = first_info_.try_emplace(name_, index_); !is_new)
      broken("gguf.tensor.name.duplicate", "the name stands here for the second time", info_offset_, "name")
          .want("unique names")
          .got(fmt::format("first as tensor[{}] at offset {}", first->second,
                           parse_.tensors[static_cast<std::size_t>(first->second)].info_offset));
  }

  bool check_shape(TensorInfo& tensor, std::span<const std::uint64_t> dims, std::uint64_t dims_offset) {
    constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    std::uint64_t n_elements = 1;
    bool has_zero = false, overflows = false;
    for (std::size_t i = 0; i < dims.size(); ++i) {
      const std::uint64_t at = dims_offset + 4 + 8 * i;
      if (dims[i] > kMax) {
        broken("gguf.tensor.dim", "a dimension is negative", at, fmt::format("dim[{}]", i))
            .want("0 to 9223372036854775807")
            .got(fmt::format("{}", static_cast<std::int64_t>(dims[i])));
        return false;
      }
      if (dims[i] == 0) {
        if (!has_zero)
          warning("gguf.tensor.dim.zero", "a dimension is zero: the tensor has no data", at, fmt::format("dim[{}]", i));
        has_zero = true;
      } else {
        overflows = overflows || mul_overflows(n_elements, dims[i], n_elements) || n_elements > kMax;
      }
    }
    if (has_zero) {
      tensor.n_elements = 0;
      return true;
    }
    if (overflows) {
      broken("gguf.tensor.elements", "the number of elements does not fit in 63 bits", dims_offset + 4, "dims")
          .want("at most 9223372036854775807 elements")
          .got(shape_text(dims));
      return false;
    }
    if (dims.empty())
      warning("gguf.tensor.n_dims.zero", "the tensor has no dimension: one element", dims_offset, "n_dims");
    tensor.n_elements = n_elements;
    return true;
  }

  bool check_type(TensorInfo& tensor, std::uint64_t type_offset) {
    const TypeInfo* type = find_ggml_type(tensor.raw_type);
    if (type != nullptr) tensor.type = type->type;
    if (type != nullptr && type->status == TypeStatus::Live) return true;
    if (type == nullptr)
      error("gguf.tensor.type.unknown", fmt::format("unknown type {}", tensor.raw_type), type_offset, "type")
          .want("a type of ggml.h")
          .got(fmt::format("{}", tensor.raw_type))
          .help("the file is newer than this program, or damaged");
    else
      error("gguf.tensor.type.removed", fmt::format("type {} ({}) was removed from ggml", tensor.raw_type, type->name),
            type_offset, "type")
          .want("a type that is in use")
          .got(fmt::format("{} ({})", tensor.raw_type, type->name))
          .help("quantise the source model again");
    return false;
  }

  bool check_size(TensorInfo& tensor, std::uint64_t row, std::uint64_t dims_offset) {
    const TypeInfo* type = find_type(tensor.type);
    if (tensor.n_elements != 0 && row % type->block_elements != 0) {
      broken("gguf.tensor.row", "a row is no whole number of blocks", dims_offset + 4, "dim[0]")
          .want(fmt::format("a multiple of {} ({})", type->block_elements, type->name))
          .got(fmt::format("{}", row));
      return false;
    }
    if (tensor.n_elements == 0) return true;
    const auto bytes = stored_bytes(*type, tensor.n_elements, row);
    if (!bytes || *bytes > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      broken("gguf.tensor.size", "the number of bytes does not fit in 63 bits", dims_offset + 4, "dims")
          .want("at most 9223372036854775807 bytes")
          .got(fmt::format("{} elements of {} bytes", tensor.n_elements, type->block_bytes));
      return false;
    }
    tensor.size_bytes = *bytes;
    return true;
  }

  static std::string shape_text(std::span<const std::uint64_t> dims) {
    return fmt::format("[{}]", fmt::join(dims, ", "));
  }
  bool truncated(std::string_view part) {
    error("gguf.tensor.truncated", "the file ends inside the tensor infos", reader_.offset(), part)
        .want(fmt::format("{} tensors", parse_.n_tensors))
        .got(fmt::format("{} whole infos; {} bytes remain", parse_.tensors.size(), reader_.remaining()));
    return false;
  }
  [[nodiscard]] std::string field(std::string_view part) const { return fmt::format("tensor[{}].{}", index_, part); }
  FindingBuilder error(std::string_view rule, std::string_view message, std::uint64_t at, std::string_view part) {
    FindingBuilder finding = parse_.findings.error(rule, message);
    finding.at(at).in(field(part)).tensor(name_);
    return finding;
  }
  /// An error that counts towards giving up. An unknown type does not: a file may be full of a new one.
  FindingBuilder broken(std::string_view rule, std::string_view message, std::uint64_t at, std::string_view part) {
    ++n_broken_;
    return error(rule, message, at, part);
  }
  FindingBuilder warning(std::string_view rule, std::string_view message, std::uint64_t at, std::string_view part) {
    FindingBuilder finding = parse_.findings.warning(rule, message);
    finding.at(at).in(field(part)).tensor(name_);
    return finding;
  }

  Parse& parse_;
  ByteReader reader_;
  std::uint64_t index_ = 0, info_offset_ = 0;
  std::size_t n_broken_ = 0;
  std::string_view name_;
  std::unordered_map<std::string_view, std::uint64_t> first_info_;
};

}  // namespace

void read_tensor_infos(Parse& parse) {
  InfoWalk(parse).run();
  const std::uint64_t end = parse.infos_whole ? parse.infos_end : parse.stopped_at;
  if (end > parse.infos_offset)
    parse.regions.push_back({"tensor index", parse.file_index, parse.infos_offset, end - parse.infos_offset});
}

}  // namespace apr::format::gguf
