#include "apr/format/detect.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "apr/core/bytes.h"
#include "apr/core/text.h"
#include "src/format/readers.h"

namespace apr::format {
namespace {

constexpr std::uint64_t kMaxSafeTensorsHeader = 100'000'000;  // the limit of the safetensors crate

constexpr const char* kDownloadHint =
    "a download saved a web answer instead of the model (a login, licence or error page): download again, with a token "
    "if the model asks for one";
constexpr const char* kConvertHint = "convert the model to GGUF or SafeTensors first";
constexpr const char* kUnpackHint = "unpack it and give the model file inside";
constexpr const char* kPickleHint =
    "apr never runs pickle, which can hold code: convert the checkpoint to SafeTensors where it may be trusted";
constexpr const char* kCutHint = "the file was cut off: copy or download it again";

/// The first bytes as text, for comparisons.
std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool starts_with_ignoring_case(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() &&
         std::equal(prefix.begin(), prefix.end(), text.begin(), [](char a, char b) { return lower(a) == lower(b); });
}

/// Without byte order mark and leading white space.
std::string_view trimmed(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  return text;
}

// ---- the formats that apr reads ----

std::optional<Detected> detect_gguf(std::span<const std::byte> head, std::uint64_t file_size) {
  const std::string_view text = as_text(head);
  if (text.starts_with("FUGG"))
    return Detected{{},
                    "a GGUF file with the bytes of its magic reversed",
                    "a tool swapped every 32-bit word: convert the source model again"};
  if (file_size < 4 && file_size > 0 && std::string_view("GGUF").starts_with(text))
    return Detected{{}, fmt::format("the first {} bytes of a GGUF file or another one", file_size), kCutHint};
  if (!text.starts_with("GGUF")) return std::nullopt;
  if (head.size() < 8) return Detected{Format::Gguf, "GGUF, cut off before its version", kCutHint};
  const auto little = load<std::uint32_t>(head.data() + 4);
  const bool big = little != 0 && (little & 0xFFFF) == 0;
  return Detected{Format::Gguf,
                  fmt::format("GGUF version {}{}", big ? byte_swapped(little) : little, big ? " (big endian)" : ""),
                  ""};
}

std::optional<Detected> detect_apr(std::span<const std::byte> head) {
  const std::string_view text = as_text(head);
  if (!text.starts_with("APR") || text.size() < 4) return std::nullopt;
  constexpr const char* kOldHint = "an older format of that name: export the source model again as APR version 2";
  if (text[3] == 'N') return Detected{{}, "APR version 1 (APRN)", kOldHint};
  if (text[3] == '1') return Detected{{}, "APR of the first generation (APR1)", kOldHint};
  if (text[3] == '2') return Detected{{}, "APR under the retired magic APR2", kOldHint};
  if (text[3] != '\0') return std::nullopt;
  if (text.size() < 6) return Detected{Format::Apr, "APR, cut off before its version", kCutHint};
  return Detected{
      Format::Apr,
      fmt::format("APR version {}.{}", static_cast<unsigned char>(text[4]), static_cast<unsigned char>(text[5])), ""};
}

/// An 8-byte length that makes sense, then JSON. A length that does not fit still counts when the JSON of a header
/// follows it: the reader then says what is wrong with the length.
std::optional<Detected> detect_safetensors(std::span<const std::byte> head, std::uint64_t file_size) {
  if (head.size() < 8) return std::nullopt;
  const auto length = load<std::uint64_t>(head.data());
  const bool plausible = length >= 2 && length <= kMaxSafeTensorsHeader;
  if (head.size() == 8) {
    if (file_size != 8 || !plausible) return std::nullopt;
    return Detected{Format::SafeTensors, "SafeTensors, cut off behind the length of its header", kCutHint};
  }
  const std::string_view json = as_text(head).substr(8);
  const std::size_t first = json.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos)
    return plausible && length <= file_size - 8 ? std::optional(Detected{Format::SafeTensors, "SafeTensors", ""})
                                                : std::nullopt;
  const std::size_t second = std::min(json.find_first_not_of(" \t\r\n", first + 1), json.size());
  const bool opens_object = json[first] == '{' && (second == json.size() || json[second] == '"' || json[second] == '}');
  const bool opens_array = json[first] == '[' && plausible && length <= file_size - 8;
  if (!opens_array && !(json[first] == '{' && plausible) && !opens_object) return std::nullopt;
  return Detected{Format::SafeTensors, "SafeTensors", ""};
}

// ---- what people give instead ----

struct Magic {
  std::size_t at;
  std::string_view bytes;
  const char* what;
  const char* hint;
};
using namespace std::string_view_literals;
constexpr const char* kOldGgmlHint =
    "llama.cpp dropped this format in 2023: take a GGUF of the model, or convert its source again";
constexpr Magic kMagics[] = {
    {0, "lmgg"sv, "an old GGML file (magic ggml)", kOldGgmlHint},  // stored as a little-endian u32
    {0, "fmgg"sv, "an old GGML file (magic ggmf)", kOldGgmlHint},
    {0, "tjgg"sv, "an old GGML file (magic ggjt)", kOldGgmlHint},
    {0, "algg"sv, "an old GGML adapter (magic ggla)", kOldGgmlHint},
    {0, "GGML"sv, "an old GGML file (magic GGML)", kOldGgmlHint},
    {0, "GGMF"sv, "an old GGML file (magic GGMF)", kOldGgmlHint},
    {0, "GGJT"sv, "an old GGML file (magic GGJT)", kOldGgmlHint},
    {0, "GGLA"sv, "an old GGML adapter (magic GGLA)", kOldGgmlHint},
    {0, "ggml"sv, "an old GGML file (magic ggml)", kOldGgmlHint},
    {0, "ggmf"sv, "an old GGML file (magic ggmf)", kOldGgmlHint},
    {0, "ggjt"sv, "an old GGML file (magic ggjt)", kOldGgmlHint},
    {0, "ggla"sv, "an old GGML adapter (magic ggla)", kOldGgmlHint},
    {0, "\x93NUMPY"sv, "a NumPy array (.npy)", kConvertHint},
    {0, "\x89HDF\r\n\x1a\n"sv, "an HDF5 file (Keras)", kConvertHint},
    {4, "TFL3"sv, "a TensorFlow Lite model", kConvertHint},
    {0, "\x1f\x8b"sv, "a gzip file", kUnpackHint},
    {0, "\x28\xb5\x2f\xfd"sv, "a Zstandard file", kUnpackHint},
    {0,
     "\xfd"
     "7zXZ\0"sv,
     "an xz file", kUnpackHint},
    {0, "7z\xbc\xaf\x27\x1c"sv, "a 7z archive", kUnpackHint},
    {0, "Rar!\x1a\x07"sv, "a RAR archive", kUnpackHint},
    {0, "\x04\x22\x4d\x18"sv, "an LZ4 file", kUnpackHint},
    {257, "ustar"sv, "a tar archive", kUnpackHint},
    {0, "%PDF-"sv, "a PDF document", "that is no model"},
    {0,
     "\x7f"
     "ELF"sv,
     "an ELF program or library", "that is no model"},
    {0, "version https://git-lfs.github.com/spec/"sv, "a Git LFS pointer",
     "the repository was cloned without its large files: run `git lfs pull`, or download the file itself"},
    {0, "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"sv, "a PyTorch checkpoint (legacy pickle)", kPickleHint},
    {0, "#!"sv, "a script", "that is no model"},
};

std::optional<Detected> detect_magic(std::string_view text) {
  for (const Magic& magic : kMagics)
    if (text.size() > magic.at && text.substr(magic.at).starts_with(magic.bytes))
      return Detected{{}, magic.what, magic.hint};
  if (text.size() > 4 && text.starts_with("BZh") && text[3] >= '1' && text[3] <= '9')
    return Detected{{}, "a bzip2 file", kUnpackHint};
  if (text.size() > 2 && text[0] == '\x80' && text[1] >= 2 && text[1] <= 5)
    return Detected{{}, fmt::format("a Python pickle (protocol {})", static_cast<int>(text[1])), kPickleHint};
  return std::nullopt;
}

/// The names in the local headers of a zip tell what the archive is.
std::optional<Detected> detect_zip(std::string_view text) {
  if (!text.starts_with("PK\x03\x04") && !text.starts_with("PK\x05\x06")) return std::nullopt;
  constexpr std::size_t kLocalHeaderBytes = 30;
  for (std::size_t at = text.find("PK\x03\x04"); at != std::string_view::npos; at = text.find("PK\x03\x04", at + 4)) {
    if (text.size() - at < kLocalHeaderBytes) break;
    const auto name_bytes = load<std::uint16_t>(reinterpret_cast<const std::byte*>(text.data() + at + 26));
    const std::string_view name = text.substr(at + kLocalHeaderBytes, name_bytes);
    if (name == "data.pkl" || name.ends_with("/data.pkl") || name.ends_with("constants.pkl") ||
        name.starts_with("archive/"))
      return Detected{{}, "a PyTorch checkpoint (zip with pickle)", kPickleHint};
    if (name.ends_with(".npy")) return Detected{{}, "NumPy arrays in a zip (.npz)", kConvertHint};
    if (name == "model.weights.h5") return Detected{{}, "a Keras model (.keras)", kConvertHint};
  }
  return Detected{{}, "a zip archive", kUnpackHint};
}

/// ONNX has no magic. It is a protobuf message ModelProto: field 1 (ir_version, a small varint) comes first, then one
/// of its other fields: producer name and version, domain, model version, doc string, graph or opset.
bool looks_like_onnx(std::string_view text) {
  if (text.size() < 4 || text[0] != 0x08 || text[1] < 1 || text[1] > 20) return false;
  constexpr std::string_view kNextTags = "\x12\x1a\x22\x28\x32\x3a\x42";
  if (kNextTags.find(text[2]) == std::string_view::npos) return false;
  if (text[2] != 0x12) return true;
  const auto length = static_cast<unsigned char>(text[3]);  // of the producer's name, printable
  const std::string_view producer = text.substr(4, length);
  return length < 128 && producer.size() == length &&
         std::all_of(producer.begin(), producer.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

Detected name_json(std::string_view text) {
  const std::size_t key = std::min(text.find_first_not_of(" \t\r\n", 1), text.size());
  constexpr std::array<std::string_view, 5> kErrorKeys = {"\"error", "\"message\"", "\"detail", "\"status", "\"code\""};
  for (const std::string_view error_key : kErrorKeys)
    if (text.substr(key).starts_with(error_key))
      return {{}, "a JSON document, probably an error message", kDownloadHint};
  return {{}, "a JSON document", "give the model file itself; for a sharded SafeTensors model its folder or index"};
}

std::optional<Detected> detect_markup(std::string_view all) {
  const std::string_view text = trimmed(all);
  if (starts_with_ignoring_case(text, "<!doctype html") || starts_with_ignoring_case(text, "<html") ||
      starts_with_ignoring_case(text, "<head"))
    return Detected{{}, "an HTML page", kDownloadHint};
  if (starts_with_ignoring_case(text, "<?xml") || starts_with_ignoring_case(text, "<error>")) {
    if (text.substr(0, 512).find("<html") != std::string_view::npos) return Detected{{}, "an HTML page", kDownloadHint};
    const bool is_error = text.substr(0, 512).find("<Error>") != std::string_view::npos;
    return Detected{{}, is_error ? "an XML error message" : "an XML document", kDownloadHint};
  }
  if (starts_with_ignoring_case(text, "<!--") && text.find("<html") != std::string_view::npos)
    return Detected{{}, "an HTML page", kDownloadHint};
  if (text.starts_with('{') && text.substr(0, 8).find('\0') == std::string_view::npos) return name_json(text);
  return std::nullopt;
}

bool is_plain_text(std::string_view text) {
  // The head may end inside a character: its last three bytes are not judged.
  const std::string_view judged = text.size() > 64 ? text.substr(0, text.size() - 3) : text;
  const auto invalid = invalid_utf8_at(judged);
  if (invalid && *invalid + 3 < judged.size()) return false;
  return std::none_of(judged.begin(), judged.end(), [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\r' && c != '\t' && c != '\f') || c == 0x7F;
  });
}

}  // namespace

bool looks_like_safetensors_index(std::span<const std::byte> head) noexcept {
  const std::string_view text = trimmed(as_text(head));
  // A NUL byte early on: the length of a SafeTensors header, which may begin with the byte '{', too.
  return text.starts_with('{') && text.substr(0, 8).find('\0') == std::string_view::npos &&
         text.find("\"weight_map\"") != std::string_view::npos;
}

Detected detect(std::span<const std::byte> head, std::uint64_t file_size) {
  if (file_size == 0 || head.empty()) return {{}, "an empty file (0 bytes, need 24)", kCutHint};
  const std::string_view text = as_text(head);
  if (const auto found = detect_gguf(head, file_size)) return *found;
  if (const auto found = detect_apr(head)) return *found;
  if (const auto found = detect_magic(text)) return *found;
  if (const auto found = detect_zip(text)) return *found;
  if (looks_like_safetensors_index(head)) return {Format::SafeTensors, "a SafeTensors index", ""};
  if (const auto found = detect_markup(text)) return *found;
  if (const auto found = detect_safetensors(head, file_size)) return *found;
  if (looks_like_onnx(text)) return {{}, "an ONNX model", kConvertHint};
  if (text.find_first_not_of('\0') == std::string_view::npos)
    return {{}, "zero bytes only", "a download or copy reserved the space and did not fill it: do it again"};
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) return {{}, "text in UTF-16", "that is no model"};
  if (is_plain_text(text)) return {{}, "a text file", "that is no model"};
  if (file_size < 24) return {{}, fmt::format("{} unknown bytes, too few for any model", file_size), kCutHint};
  return {{}, "unknown binary data", "the file may be damaged or of another kind; `apr hex --raw` shows its bytes"};
}

}  // namespace apr::format
