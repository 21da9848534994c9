// APR v2 in the form that both known readers take: docs/formats/apr.md, "What apr writes".
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <optional>

#include "apr/core/checked.h"
#include "apr/core/error.h"
#include "apr/core/file.h"
#include "apr/core/hash.h"
#include "apr/core/text.h"
#include "apr/format/apr_header.h"
#include "src/format/json_write.h"
#include "src/format/readers.h"

namespace apr::format {
namespace {

/// The only dtype bytes on which the readers agree.
std::optional<std::uint8_t> dtype_byte(TensorType type) {
  switch (type) {
    case TensorType::F32: return 0;
    case TensorType::F16: return 1;
    case TensorType::Q4_K: return 12;
    case TensorType::Q6_K: return 14;
    case TensorType::AprQ4: return 128;
    case TensorType::AprQ8: return 129;
    default: return std::nullopt;
  }
}

/// The nearest type that APR holds.
const char* instead_of(TensorType type) {
  switch (type) {
    case TensorType::Q4_0:
    case TensorType::Q4_1:
    case TensorType::IQ4_NL:
    case TensorType::IQ4_XS:
    case TensorType::MXFP4:
    case TensorType::NVFP4:
    case TensorType::Q2_K:
    case TensorType::Q3_K: return "q4_k";
    case TensorType::Q5_0:
    case TensorType::Q5_1:
    case TensorType::Q5_K:
    case TensorType::Q8_0:
    case TensorType::Q8_1:
    case TensorType::Q8_K: return "q6_k";
    case TensorType::BF16: return "f32 (exact) or f16";
    default: {
      const TypeInfo* info = find_type(type);
      return info != nullptr && info->block_elements > 1 ? "q4_k" : "f32 or f16";
    }
  }
}

[[noreturn]] void refuse(const TensorDecl& tensor, std::string rule, std::string expected, std::string found,
                         std::string hint = {}) {
  throw Error(ErrorCode::Usage, std::move(rule))
      .in(fmt::format("tensor \"{}\"", escaped(tensor.name, 200)))
      .want(std::move(expected))
      .got(std::move(found))
      .help(std::move(hint));
}

std::uint64_t aligned(std::uint64_t value) {
  const auto up = checked_align(value, kAprAlignment);
  if (!up) throw Error(ErrorCode::Usage, "the file would be larger than 64 bits can count");
  return *up;
}

template <class T>
void append_le(std::string& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) out.push_back(static_cast<char>((value >> (8 * i)) & 0xFF));
}

class AprWriter final : public ModelWriter {
 public:
  explicit AprWriter(const std::string& path) : out_(path) {}
  void begin(const std::vector<WriteEntry>& metadata, const std::vector<TensorDecl>& tensors) override;
  void write(std::span<const std::byte> bytes) override;
  void end_tensor() override;
  void finish() override;

 private:
  struct Planned {
    const TensorDecl* tensor = nullptr;
    std::uint8_t dtype = 0;
    std::uint64_t offset = 0, size = 0;
  };
  static std::string metadata_json(const std::vector<WriteEntry>& metadata);
  static std::vector<Planned> plan(const std::vector<TensorDecl>& tensors);
  static std::string index_bytes(std::vector<Planned> planned);
  void put(std::string_view bytes);
  void pad();

  OutputFile out_;
  std::uint32_t crc_ = 0;  // of every byte so far: the footer
  std::vector<std::uint64_t> sizes_;
  std::size_t current_ = 0;
  std::uint64_t written_ = 0;  // of the current tensor
};

/// Each field once and under its canonical name: a reader that fills a struct takes both spellings for a duplicate and
/// then drops all metadata.
std::string AprWriter::metadata_json(const std::vector<WriteEntry>& metadata) {
  std::map<std::string_view, std::string_view> seen;  // canonical -> as given
  std::string json = "{";
  for (const WriteEntry& entry : metadata) {
    const std::string_view key = apr_canonical_key(entry.key);
    const auto [first, is_new] = seen.emplace(key, entry.key);
    if (!is_new)
      throw Error(ErrorCode::Usage, "two metadata entries are the same field")
          .in(escaped(key, 200))
          .got(fmt::format("\"{}\" and \"{}\"", escaped(first->second, 100), escaped(entry.key, 100)));
    if (json.size() > 1) json.push_back(',');
    append_json_string(json, key);
    json.push_back(':');
    append_json(json, entry.value, entry.key);
  }
  json.push_back('}');
  if (json.size() > std::numeric_limits<std::uint32_t>::max())
    throw Error(ErrorCode::Usage, "the metadata are larger than APR can hold")
        .want(fmt::format("at most {} bytes", std::numeric_limits<std::uint32_t>::max()))
        .got(std::to_string(json.size()));
  return json;
}

std::vector<AprWriter::Planned> AprWriter::plan(const std::vector<TensorDecl>& tensors) {
  std::vector<Planned> planned;
  std::uint64_t offset = 0;
  for (const TensorDecl& tensor : tensors) {
    const auto dtype = dtype_byte(tensor.type);
    if (!dtype)
      refuse(tensor, "APR cannot represent exactly the type " + std::string(name(tensor.type)),
             "F32, F16, Q4_K, Q6_K, APR_Q4 or APR_Q8", std::string(name(tensor.type)),
             std::string("convert the tensor to ") + instead_of(tensor.type) + ", or keep GGUF or SafeTensors");
    if (tensor.name.size() > kAprMaxNameBytes)
      refuse(tensor, "the name is too long for APR", fmt::format("at most {} bytes", kAprMaxNameBytes),
             std::to_string(tensor.name.size()));
    if (invalid_utf8_at(tensor.name))
      refuse(tensor, "a name in APR is UTF-8", "well-formed UTF-8", escaped(tensor.name, 80));
    if (tensor.shape.size() > kAprMaxDims)
      refuse(tensor, "too many dimensions for APR", fmt::format("at most {}", kAprMaxDims),
             std::to_string(tensor.shape.size()));
    for (const std::int64_t dim : tensor.shape)
      if (dim < 0) refuse(tensor, "a dimension is negative", "0 or more", std::to_string(dim));
    const auto size = apr_stored_bytes(tensor.type, tensor.shape);
    const auto end = size ? checked_add(offset, *size) : std::nullopt;
    if (!end) refuse(tensor, "the size of a tensor does not fit in 64 bits", "fewer elements", "an overflow");
    planned.push_back({&tensor, *dtype, offset, *size});
    offset = aligned(*end);
  }
  return planned;
}

std::string AprWriter::index_bytes(std::vector<Planned> planned) {
  std::sort(planned.begin(), planned.end(),
            [](const Planned& a, const Planned& b) { return a.tensor->name < b.tensor->name; });
  std::string index;
  for (std::size_t i = 0; i < planned.size(); ++i) {
    const TensorDecl& tensor = *planned[i].tensor;
    if (i > 0 && planned[i - 1].tensor->name == tensor.name)
      refuse(tensor, "two tensors have the same name", "unique names", escaped(tensor.name, 200));
    append_le(index, static_cast<std::uint16_t>(tensor.name.size()));
    index += tensor.name;
    append_le(index, planned[i].dtype);
    append_le(index, static_cast<std::uint8_t>(tensor.shape.size()));
    for (const std::int64_t dim : tensor.shape) append_le(index, static_cast<std::uint64_t>(dim));
    append_le(index, planned[i].offset);
    append_le(index, planned[i].size);
  }
  return index;
}

void AprWriter::put(std::string_view bytes) {
  crc_ = crc32(std::as_bytes(std::span(bytes.data(), bytes.size())), crc_);
  out_.write(bytes);
}

void AprWriter::pad() {
  const std::string zeros(aligned(out_.offset()) - out_.offset(), '\0');
  put(zeros);
}

void AprWriter::begin(const std::vector<WriteEntry>& metadata, const std::vector<TensorDecl>& tensors) {
  const std::string json = metadata_json(metadata);
  const std::vector<Planned> planned = plan(tensors);
  const std::string index = index_bytes(planned);
  if (planned.size() > std::numeric_limits<std::uint32_t>::max())
    throw Error(ErrorCode::Usage, "more tensors than APR can count").got(std::to_string(planned.size()));
  AprHeader header;
  header.flags = kAprRowMajor;
  for (const Planned& entry : planned) {
    const TypeInfo* info = find_type(entry.tensor->type);
    if (info->block_elements > 1 || entry.tensor->type == TensorType::AprQ8) header.flags |= kAprQuantized;
    sizes_.push_back(entry.size);
  }
  for (const WriteEntry& entry : metadata)
    if (entry.key == "tokenizer.vocabulary") header.flags |= kAprHasVocab;
  header.tensor_count = static_cast<std::uint32_t>(planned.size());
  header.metadata_offset = kAprHeaderBytes;
  header.metadata_size = static_cast<std::uint32_t>(json.size());
  header.index_offset = aligned(kAprHeaderBytes + json.size());
  header.data_offset = aligned(header.index_offset + index.size());
  if (!planned.empty() && !checked_add(header.data_offset, planned.back().offset + planned.back().size))
    throw Error(ErrorCode::Usage, "the file would be larger than 64 bits can count");
  const auto bytes = encode_apr_header(header);
  put({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  put(json);
  pad();
  put(index);
  pad();
}

void AprWriter::write(std::span<const std::byte> bytes) {
  written_ += bytes.size();
  crc_ = crc32(bytes, crc_);
  out_.write(bytes);
}

void AprWriter::end_tensor() {
  if (current_ >= sizes_.size() || written_ != sizes_[current_])
    throw Error(ErrorCode::Internal, "the bytes written differ from the declared size")
        .at(out_.path(), out_.offset())
        .in(fmt::format("tensor[{}]", current_))
        .want(current_ < sizes_.size() ? std::to_string(sizes_[current_]) : "no further tensor")
        .got(std::to_string(written_));
  ++current_;
  written_ = 0;
  pad();
}

void AprWriter::finish() {
  if (current_ != sizes_.size() || written_ != 0)
    throw Error(ErrorCode::Internal, "finish() before every tensor was written")
        .at(out_.path(), out_.offset())
        .want(fmt::format("{} tensors", sizes_.size()))
        .got(fmt::format("{} tensors and {} bytes", current_, written_));
  std::string footer;
  append_le(footer, crc_);
  out_.write(footer);
  out_.commit();
}

}  // namespace

std::unique_ptr<ModelWriter> make_apr_writer(const std::string& path) { return std::make_unique<AprWriter>(path); }

}  // namespace apr::format
