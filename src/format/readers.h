// The readers and writers behind open_model() and make_writer(), and the collector of findings that they share.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "apr/core/error.h"
#include "apr/core/file.h"
#include "apr/format/model_file.h"
#include "apr/format/writer.h"

namespace apr::format {

/// Each reader is given a file whose first bytes detect() took for that format, and the path that the user named.
[[nodiscard]] ModelFile read_gguf(std::unique_ptr<MappedFile> file, const std::string& user_path,
                                  const OpenOptions& options);
[[nodiscard]] ModelFile read_safetensors(std::unique_ptr<MappedFile> file, const std::string& user_path,
                                         const OpenOptions& options);
[[nodiscard]] ModelFile read_apr(std::unique_ptr<MappedFile> file, const std::string& user_path,
                                 const OpenOptions& options);
/// `path`: a directory, or the index file (`model.safetensors.index.json`) itself.
[[nodiscard]] ModelFile open_safetensors_directory(const std::string& path, const OpenOptions& options);

[[nodiscard]] std::unique_ptr<ModelWriter> make_gguf_writer(const std::string& path);
[[nodiscard]] std::unique_ptr<ModelWriter> make_safetensors_writer(const std::string& path);
[[nodiscard]] std::unique_ptr<ModelWriter> make_apr_writer(const std::string& path);

/// JSON text with a "weight_map" near its start: the index of a sharded SafeTensors model.
[[nodiscard]] bool looks_like_safetensors_index(std::span<const std::byte> head) noexcept;

/// Fills in one finding:  findings.error("gguf.tensor.n_dims", "too many dimensions").at(offset).in(field).got("5");
class FindingBuilder {
 public:
  /// Null: the finding is one too many of its rule and is only counted.
  explicit FindingBuilder(Finding* finding) noexcept : finding_(finding) {}
  FindingBuilder& at(std::uint64_t offset);
  FindingBuilder& in(std::string field);
  FindingBuilder& tensor(std::string_view name);
  FindingBuilder& want(std::string text);
  FindingBuilder& got(std::string text);
  FindingBuilder& help(std::string text);
  /// The file, when it is not the one of the collector.
  FindingBuilder& file(std::string_view path);

 private:
  Finding* finding_;
};

/// Collects the findings of one file. Of each rule only the first kMaxPerRule are kept; take() adds one line that
/// counts the others, so a hostile file cannot turn into gigabytes of complaints.
class Findings {
 public:
  static constexpr std::uint64_t kMaxPerRule = 100;
  explicit Findings(std::string file) : file_(std::move(file)) {}

  /// The builder is valid until the next call of error(), warning(), info() or take().
  FindingBuilder error(std::string_view rule, std::string_view message) { return add(Severity::Error, rule, message); }
  FindingBuilder warning(std::string_view rule, std::string_view message) {
    return add(Severity::Warning, rule, message);
  }
  FindingBuilder info(std::string_view rule, std::string_view message) { return add(Severity::Info, rule, message); }

  [[nodiscard]] const std::string& file() const noexcept { return file_; }
  [[nodiscard]] bool has_errors() const noexcept { return has_errors_; }
  /// All findings so far in the order they were made, then the lines that count what was left out.
  [[nodiscard]] std::vector<Finding> take();

 private:
  struct Count {
    std::uint64_t n = 0;
    Severity severity = Severity::Info;  // the worst one
  };
  FindingBuilder add(Severity severity, std::string_view rule, std::string_view message);
  std::string file_;
  std::vector<Finding> findings_;
  std::unordered_map<std::string, Count> counts_;
  bool has_errors_ = false;
};

}  // namespace apr::format
