// SafeTensors, written front to back: all sizes are known before the first byte of data.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "apr/core/checked.h"
#include "apr/core/error.h"
#include "apr/core/file.h"
#include "apr/core/text.h"
#include "src/format/json_write.h"
#include "src/format/safetensors.h"

namespace apr::format {
namespace {

[[noreturn]] void refuse(const TensorDecl& tensor, std::string rule, std::string expected, std::string found) {
  throw Error(ErrorCode::Usage, std::move(rule))
      .in(fmt::format("tensor \"{}\"", escaped(tensor.name, 200)))
      .want(std::move(expected))
      .got(std::move(found));
}

const SafeTensorsType& dtype_of(const TensorDecl& tensor) {
  for (const SafeTensorsType& row : safetensors_types())
    if (row.type == tensor.type) return row;
  throw Error(ErrorCode::Usage, "SafeTensors cannot represent this type exactly")
      .in(fmt::format("tensor \"{}\"", escaped(tensor.name, 200)))
      .want("a plain type (F32, F16, BF16, ...)")
      .got(std::string(name(tensor.type)))
      .help("dequantise to f16, bf16 or f32 first, or write GGUF");
}

std::uint64_t bytes_of(const TensorDecl& tensor, const SafeTensorsType& dtype) {
  std::optional<std::uint64_t> bits = dtype.bits;
  for (const std::int64_t dim : tensor.shape) {
    if (dim < 0) refuse(tensor, "a dimension is negative", "0 or more", std::to_string(dim));
    if (bits) bits = checked_mul(*bits, static_cast<std::uint64_t>(dim));
  }
  if (!bits) refuse(tensor, "the size of a tensor does not fit in 64 bits", "fewer elements", "an overflow");
  if (*bits % 8 != 0)
    refuse(tensor, "the elements do not fill whole bytes", "a multiple of 8 bits", fmt::format("{} bits", *bits));
  return *bits / 8;
}

class SafeTensorsWriter final : public ModelWriter {
 public:
  explicit SafeTensorsWriter(const std::string& path) : out_(path) {}
  void begin(const std::vector<WriteEntry>& metadata, const std::vector<TensorDecl>& tensors) override;
  void write(std::span<const std::byte> bytes) override;
  void end_tensor() override;
  void finish() override;

 private:
  static void check_names(const std::vector<WriteEntry>& metadata, const std::vector<TensorDecl>& tensors);
  OutputFile out_;
  std::vector<std::uint64_t> sizes_;
  std::size_t current_ = 0;
  std::uint64_t written_ = 0;  // of the current tensor
};

void SafeTensorsWriter::check_names(const std::vector<WriteEntry>& metadata, const std::vector<TensorDecl>& tensors) {
  std::vector<std::string_view> names, keys;
  for (const TensorDecl& tensor : tensors) {
    if (tensor.name == "__metadata__")
      refuse(tensor, "the name is reserved by the format", "another name", tensor.name);
    names.push_back(tensor.name);
  }
  for (const WriteEntry& entry : metadata) keys.push_back(entry.key);
  for (auto* list : {&names, &keys}) {
    std::sort(list->begin(), list->end());
    const auto twice = std::adjacent_find(list->begin(), list->end());
    if (twice != list->end())
      throw Error(ErrorCode::Usage,
                  list == &names ? "two tensors have the same name" : "two metadata entries have the same key")
          .got(escaped(*twice, 200));
  }
}

void SafeTensorsWriter::begin(const std::vector<WriteEntry>& metadata, const std::vector<TensorDecl>& tensors) {
  check_names(metadata, tensors);
  std::string header = "{";
  if (!metadata.empty()) {
    header += "\"__metadata__\":{";
    for (const WriteEntry& entry : metadata) {
      if (&entry != metadata.data()) header.push_back(',');
      append_json_string(header, entry.key);
      header.push_back(':');
      append_json_string(header, json_plain_text(entry.value, entry.key));
    }
    header.push_back('}');
  }
  std::uint64_t offset = 0;
  for (const TensorDecl& tensor : tensors) {
    const SafeTensorsType& dtype = dtype_of(tensor);
    sizes_.push_back(bytes_of(tensor, dtype));
    const auto end = checked_add(offset, sizes_.back());
    if (!end) refuse(tensor, "the file would be larger than 64 bits can count", "fewer bytes", "an overflow");
    if (header.size() > 1) header.push_back(',');
    append_json_string(header, tensor.name);
    header += fmt::format(R"(:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", dtype.name,
                          fmt::join(tensor.shape, ","), offset, *end);
    offset = *end;
  }
  header.push_back('}');
  header.resize((header.size() + 7) / 8 * 8, ' ');  // so that the data begins at a multiple of 8
  if (header.size() > kMaxSafeTensorsHeader)
    throw Error(ErrorCode::Usage, "the header would be larger than the format allows")
        .want(fmt::format("at most {} bytes", kMaxSafeTensorsHeader))
        .got(std::to_string(header.size()));
  std::byte length[8];
  for (std::size_t i = 0; i < 8; ++i) length[i] = static_cast<std::byte>(header.size() >> (8 * i));
  out_.write(length);
  out_.write(header);
}

void SafeTensorsWriter::write(std::span<const std::byte> bytes) {
  written_ += bytes.size();
  out_.write(bytes);
}

void SafeTensorsWriter::end_tensor() {
  if (current_ >= sizes_.size() || written_ != sizes_[current_])
    throw Error(ErrorCode::Internal, "the bytes written differ from the declared size")
        .at(out_.path(), out_.offset())
        .in(fmt::format("tensor[{}]", current_))
        .want(current_ < sizes_.size() ? std::to_string(sizes_[current_]) : "no further tensor")
        .got(std::to_string(written_));
  ++current_;
  written_ = 0;
}

void SafeTensorsWriter::finish() {
  if (current_ != sizes_.size() || written_ != 0)
    throw Error(ErrorCode::Internal, "finish() before every tensor was written")
        .at(out_.path(), out_.offset())
        .want(fmt::format("{} tensors", sizes_.size()))
        .got(fmt::format("{} tensors and {} bytes", current_, written_));
  out_.commit();
}

}  // namespace

std::unique_ptr<ModelWriter> make_safetensors_writer(const std::string& path) {
  return std::make_unique<SafeTensorsWriter>(path);
}

}  // namespace apr::format
