#include "src/cli/manifest_json.h"

#include <fmt/format.h>

#include <bit>

#include "apr/core/checked.h"
#include "apr/core/file.h"
#include "apr/core/text.h"

namespace apr::cli {
namespace {

constexpr std::string_view kSchema = "apr.manifest/1";
constexpr std::string_view kMerkle = "rfc6962-sha256";
constexpr std::uint64_t kFewestChunkBytes = 4096, kMostChunkBytes = 1U << 30;

/// Reads members of one JSON value and names the first that is wrong.
class Reader {
 public:
  Reader(const std::string& path, const Json& value, std::string place)
      : path_(path), value_(value), place_(std::move(place)) {
    if (!value.is_object()) fail("", "an object", value.type_name());
  }

  [[noreturn]] void fail(const std::string& member, std::string want, std::string found) const {
    throw Error(ErrorCode::InvalidFormat, "not a manifest of apr")
        .at(path_)
        .in(member.empty()   ? place_
            : place_.empty() ? member
                             : place_ + "." + member)
        .want(std::move(want))
        .got(std::move(found));
  }
  [[nodiscard]] std::uint64_t number(const char* member) const {
    const Json& v = at(member);
    if (!v.is_number_unsigned()) fail(member, "an unsigned integer", v.type_name());
    return v.get<std::uint64_t>();
  }
  [[nodiscard]] std::string text(const char* member) const {
    const Json& v = at(member);
    if (!v.is_string()) fail(member, "a string", v.type_name());
    return v.get<std::string>();
  }
  [[nodiscard]] Sha256Digest digest(const char* member) const { return parse(member, text(member)); }
  [[nodiscard]] const Json& array(const char* member) const {
    const Json& v = at(member);
    if (!v.is_array()) fail(member, "an array", v.type_name());
    return v;
  }
  [[nodiscard]] Sha256Digest parse(const std::string& member, const std::string& hex) const {
    const auto digest = parse_sha256(hex);
    if (!digest) fail(member, "64 hexadecimal characters", fmt::format("\"{}\"", hex.substr(0, 80)));
    return *digest;
  }

 private:
  [[nodiscard]] const Json& at(const char* member) const {
    const auto found = value_.find(member);
    if (found == value_.end()) fail(member, "to be there", "missing");
    return *found;
  }
  const std::string& path_;
  const Json& value_;
  std::string place_;
};

inspect::ManifestFile read_file(const std::string& path, const Json& value, std::string place,
                                std::uint64_t chunk_bytes) {
  const Reader in(path, value, std::move(place));
  inspect::ManifestFile file;
  file.name = in.text("name");
  file.size_bytes = in.number("size_bytes");
  file.sha256 = in.digest("sha256");
  file.merkle_root = in.digest("merkle_root");
  const Json& chunks = in.array("chunks");
  const std::uint64_t want = file.size_bytes / chunk_bytes + (file.size_bytes % chunk_bytes != 0 ? 1 : 0);
  if (chunks.size() != want) in.fail("chunks", fmt::format("{} hashes", want), fmt::format("{}", chunks.size()));
  file.chunks.reserve(chunks.size());
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    const std::string member = fmt::format("chunks[{}]", i);
    if (!chunks[i].is_string()) in.fail(member, "a string", chunks[i].type_name());
    file.chunks.push_back(in.parse(member, chunks[i].get<std::string>()));
  }
  if (const auto root = inspect::merkle_root(file.chunks); root != file.merkle_root)
    in.fail("merkle_root", to_hex(root) + ", the root of its chunks", to_hex(file.merkle_root));
  return file;
}

inspect::ManifestTensor read_tensor(const std::string& path, const Json& value, std::string place,
                                    const std::vector<inspect::ManifestFile>& files) {
  const Reader in(path, value, std::move(place));
  inspect::ManifestTensor tensor;
  tensor.name = in.text("name");
  const std::uint64_t index = in.number("file_index");
  if (index >= files.size()) in.fail("file_index", fmt::format("less than {}", files.size()), fmt::format("{}", index));
  tensor.file_index = static_cast<std::uint32_t>(index);
  tensor.offset = in.number("offset");
  tensor.size_bytes = in.number("size_bytes");
  if (!range_fits(tensor.offset, tensor.size_bytes, files[index].size_bytes))
    in.fail("size_bytes", fmt::format("a range inside the {} bytes of its file", files[index].size_bytes),
            fmt::format("{} + {}", tensor.offset, tensor.size_bytes));
  tensor.sha256 = in.digest("sha256");
  return tensor;
}

}  // namespace

Json manifest_json(const inspect::Manifest& manifest) {
  Json document;
  document["schema"] = kSchema;
  document["tool"] = "apr";
  document["merkle"] = kMerkle;
  document["chunk_bytes"] = manifest.chunk_bytes;
  document["files"] = Json::array();
  for (const inspect::ManifestFile& file : manifest.files) {
    Json entry;
    put_text(entry, "name", file.name);
    entry["size_bytes"] = file.size_bytes;
    entry["sha256"] = to_hex(file.sha256);
    entry["merkle_root"] = to_hex(file.merkle_root);
    entry["chunks"] = Json::array();
    for (const Sha256Digest& leaf : file.chunks) entry["chunks"].push_back(to_hex(leaf));
    document["files"].push_back(std::move(entry));
  }
  document["tensors"] = Json::array();
  for (const inspect::ManifestTensor& tensor : manifest.tensors) {
    Json entry;
    put_text(entry, "name", tensor.name);
    entry["file_index"] = tensor.file_index;
    entry["offset"] = tensor.offset;
    entry["size_bytes"] = tensor.size_bytes;
    entry["sha256"] = to_hex(tensor.sha256);
    document["tensors"].push_back(std::move(entry));
  }
  return document;
}

inspect::Manifest read_manifest(const std::string& path) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  const Json document = Json::parse(text, text + bytes.size(), nullptr, false);
  if (document.is_discarded())
    throw Error(ErrorCode::InvalidFormat, "a manifest is JSON, and this is none")
        .at(path)
        .help("apr hex MODEL --manifest writes one");
  const Reader in(path, document, "");
  if (const std::string schema = in.text("schema"); schema != kSchema)
    in.fail("schema", std::string(kSchema), escaped(schema, 80));
  if (const std::string merkle = in.text("merkle"); merkle != kMerkle)
    in.fail("merkle", std::string(kMerkle), escaped(merkle, 80));
  inspect::Manifest manifest;
  manifest.chunk_bytes = in.number("chunk_bytes");
  if (!std::has_single_bit(manifest.chunk_bytes) || manifest.chunk_bytes < kFewestChunkBytes ||
      manifest.chunk_bytes > kMostChunkBytes)
    in.fail("chunk_bytes", fmt::format("a power of two from {} to {}", kFewestChunkBytes, kMostChunkBytes),
            fmt::format("{}", manifest.chunk_bytes));
  const Json& files = in.array("files");
  if (files.empty()) in.fail("files", "at least one", "none");
  for (std::size_t i = 0; i < files.size(); ++i)
    manifest.files.push_back(read_file(path, files[i], fmt::format("files[{}]", i), manifest.chunk_bytes));
  const Json& tensors = in.array("tensors");
  for (std::size_t i = 0; i < tensors.size(); ++i)
    manifest.tensors.push_back(read_tensor(path, tensors[i], fmt::format("tensors[{}]", i), manifest.files));
  file.check_intact();
  return manifest;
}

}  // namespace apr::cli
