// SafeTensors: one file, and what stands beside it.
#include "src/format/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "apr/core/bytes.h"
#include "src/format/safetensors_header.h"

namespace apr::format {
namespace {

constexpr SafeTensorsType kTypes[] = {
    {"BOOL", TensorType::Bool, 8},
    {"F4", TensorType::F4, 4},
    {"F6_E2M3", TensorType::F6_E2M3, 6},
    {"F6_E3M2", TensorType::F6_E3M2, 6},
    {"U8", TensorType::U8, 8},
    {"I8", TensorType::I8, 8},
    {"F8_E5M2", TensorType::F8_E5M2, 8},
    {"F8_E4M3", TensorType::F8_E4M3, 8},
    {"F8_E8M0", TensorType::F8_E8M0, 8},
    {"F8_E4M3FNUZ", TensorType::F8_E4M3FNUZ, 8},
    {"F8_E5M2FNUZ", TensorType::F8_E5M2FNUZ, 8},
    {"I16", TensorType::I16, 16},
    {"U16", TensorType::U16, 16},
    {"F16", TensorType::F16, 16},
    {"BF16", TensorType::BF16, 16},
    {"I32", TensorType::I32, 32},
    {"U32", TensorType::U32, 32},
    {"F32", TensorType::F32, 32},
    {"C64", TensorType::C64, 64},
    {"F64", TensorType::F64, 64},
    {"I64", TensorType::I64, 64},
    {"U64", TensorType::U64, 64},
};

[[noreturn]] void refuse(const MappedFile& file, std::uint64_t offset, std::string rule, std::string expected,
                         std::string found) {
  throw Error(ErrorCode::InvalidFormat, std::move(rule))
      .at(file.path(), offset)
      .in(offset == 0 ? "header_length" : "header")
      .want(std::move(expected))
      .got(std::move(found));
}

/// The declared header length. Throws when nothing of a header can be read.
std::uint64_t header_length(const MappedFile& file) {
  const auto bytes = file.bytes();
  if (bytes.size() < 8)
    refuse(file, 0, "too short for a SafeTensors header length", "8 bytes", fmt::format("{} bytes", bytes.size()));
  const auto length = load<std::uint64_t>(bytes.data());
  if (length > kMaxSafeTensorsHeader)
    refuse(file, 0, "the header length is over the limit of the format",
           fmt::format("at most {} bytes", kMaxSafeTensorsHeader), std::to_string(length));
  if (length < 2)
    refuse(file, 0, "the header length leaves no room for a JSON object", "at least 2", std::to_string(length));
  const auto header = bytes.subspan(8, static_cast<std::size_t>(std::min<std::uint64_t>(length, bytes.size() - 8)));
  const std::string_view text(reinterpret_cast<const char*>(header.data()), header.size());
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] != '{')
    refuse(file, 8 + std::min(first, text.size()), "the header is no JSON object", "'{'",
           first == std::string_view::npos ? "the end of the file or header"
                                           : fmt::format("byte 0x{:02X}", static_cast<unsigned char>(text[first])));
  return length;
}

}  // namespace

std::span<const SafeTensorsType> safetensors_types() noexcept { return kTypes; }

void append_safetensors(ModelFile& model, std::unique_ptr<MappedFile> file, Findings& findings) {
  const std::uint64_t length = header_length(*file);
  if (model.files.empty()) model.data_offset = 8 + length;
  model.files.push_back(std::move(file));
  const MappedFile& mapped = *model.files.back();
  model.regions.push_back({"header length", static_cast<std::uint32_t>(model.files.size() - 1), 0, 8});
  if (length > mapped.size() - 8)
    findings.error("safetensors.header.inside_file", "the header runs past the end of the file")
        .at(0)
        .in("header_length")
        .want(fmt::format("at most {}", mapped.size() - 8))
        .got(std::to_string(length))
        .help("the file is cut short: fetch it again");
  SafeTensorsHeaderReader(model, findings, mapped, length).read();
}

void add_companions(ModelFile& model, const std::string& folder) {
  for (const char* name : {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
                           "special_tokens_map.json"}) {
    const std::filesystem::path path = std::filesystem::path(folder) / name;
    std::error_code ignored;  // a companion that cannot be asked for is not there
    if (std::filesystem::is_regular_file(path, ignored)) model.companions.push_back(path.string());
  }
}

ModelFile read_safetensors(std::unique_ptr<MappedFile> file, const std::string& user_path, const OpenOptions&) {
  ModelFile model;
  model.format = Format::SafeTensors;
  model.path = user_path;
  Findings findings(file->path());
  append_safetensors(model, std::move(file), findings);
  add_companions(model, std::filesystem::path(user_path).parent_path().string());
  model.findings = findings.take();
  return model;
}

}  // namespace apr::format
