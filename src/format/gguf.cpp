// A GGUF file, or all shards of a split one, into the tables of a ModelFile.
#include "src/format/gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "apr/format/detect.h"

namespace apr::format {
namespace gguf {
namespace {

/// Magic to layout of one file. Throws only when magic, version or counts cannot be known.
Parse parse_file(const MappedFile& file, std::uint32_t file_index, const OpenOptions& options) {
  Parse parse(file, file_index);
  parse.verify_data = options.verify_data;
  read_header(parse);
  read_metadata(parse);
  if (parse.metadata_whole) read_tensor_infos(parse);
  lay_out(parse);
  return parse;
}

std::optional<std::int64_t> find_integer(const Parse& parse, std::string_view key) {
  for (const MetadataEntry& entry : parse.metadata)
    if (entry.key == key) return entry.value.as_i64();
  return std::nullopt;
}

std::uint64_t offset_of(const Parse& parse, std::string_view key) {
  for (const MetadataEntry& entry : parse.metadata)
    if (entry.key == key) return entry.value_offset;
  return kHeaderBytes;
}

/// Joins the parsed files of a model; the first file found gives what is said once.
class Assembly {
 public:
  explicit Assembly(std::string user_path) : user_path_(std::move(user_path)) {}

  void add(std::unique_ptr<MappedFile> file, Parse parse) {
    model_.files.push_back(std::move(file));
    if (model_.files.size() == 1) {
      model_.version = fmt::format("{}", parse.version);
      model_.byte_order = parse.order;
      model_.alignment = parse.alignment == 0 ? kDefaultAlignment : parse.alignment;
      model_.data_offset = parse.data_offset;
    } else if (parse.order != model_.byte_order) {
      parse.findings.error("gguf.split.byte_order", "this shard has another byte order than the first")
          .at(4)
          .in("header.version");
      for (TensorInfo& tensor : parse.tensors) tensor.readable = false;
    }
    move_to(model_.metadata, parse.metadata);
    move_to(model_.tensors, parse.tensors);
    move_to(model_.regions, parse.regions);
    auto findings = parse.findings.take();
    move_to(model_.findings, findings);
  }
  void add_findings(Findings& more) {
    auto findings = more.take();
    move_to(model_.findings, findings);
  }
  [[nodiscard]] const std::vector<TensorInfo>& tensors() const { return model_.tensors; }
  [[nodiscard]] const std::vector<std::unique_ptr<MappedFile>>& files() const { return model_.files; }
  [[nodiscard]] ModelFile finish() {
    model_.format = Format::Gguf;
    model_.path = user_path_;
    return std::move(model_);
  }

 private:
  template <class T>
  static void move_to(std::vector<T>& all, std::vector<T>& some) {
    if (all.empty()) return all.swap(some);
    all.insert(all.end(), std::make_move_iterator(some.begin()), std::make_move_iterator(some.end()));
  }
  std::string user_path_;
  ModelFile model_;
};

/// The shards of one model, each beside the one that the user named.
class ShardSet {
 public:
  ShardSet(const ShardName& name, const std::string& user_path, const OpenOptions& options)
      : name_(name), options_(options), assembly_(user_path), findings_(user_path) {}

  ModelFile open(std::unique_ptr<MappedFile> named_file) {
    for (std::uint32_t number = 1; number <= name_.count; ++number)
      if (auto file = number == name_.number ? std::move(named_file) : find(number)) take(std::move(file), number);
    check_duplicates();
    if (n_whole_ == name_.count && declared_tensors_ && *declared_tensors_ != n_tensors_)
      findings_.error("gguf.split.tensors_count", "the shards do not hold as many tensors as they say")
          .at(declared_at_)
          .in("metadata[\"split.tensors.count\"].value")
          .want(fmt::format("{}, the sum over {} shards", n_tensors_, name_.count))
          .got(fmt::format("{}", *declared_tensors_));
    assembly_.add_findings(findings_);
    return assembly_.finish();
  }

 private:
  /// Null, with a finding, when the shard is not there or is no GGUF file.
  std::unique_ptr<MappedFile> find(std::uint32_t number) {
    const std::string path = name_.path_of(number);
    try {
      auto file = std::make_unique<MappedFile>(path);
      const Detected detected =
          detect(file->bytes().first(std::min<std::size_t>(file->bytes().size(), 16384)), file->size());
      if (detected.format == Format::Gguf) return file;
      findings_.error("gguf.split.not_gguf", fmt::format("shard {} of {} is no GGUF file", number, name_.count))
          .file(path)
          .at(0)
          .in("magic")
          .want("GGUF")
          .got(detected.what)
          .help(detected.hint);
    } catch (const Error& failure) {
      findings_.error("gguf.split.missing", fmt::format("shard {} of {} cannot be opened", number, name_.count))
          .file(path)
          .in("shard")
          .want(fmt::format("{} files", name_.count))
          .got(failure.message)
          .help("put all shards into one folder under their own names");
    }
    return nullptr;
  }

  void take(std::unique_ptr<MappedFile> file, std::uint32_t number) {
    try {
      Parse parse = parse_file(*file, static_cast<std::uint32_t>(assembly_.files().size()), options_);
      check_split(parse, number);
      if (parse.infos_whole) ++n_whole_;
      n_tensors_ += static_cast<std::int64_t>(parse.tensors.size());
      assembly_.add(std::move(file), std::move(parse));
    } catch (const Error& failure) {
      if (number == name_.number) throw;
      findings_.error("gguf.split.unreadable", fmt::format("shard {} of {}: {}", number, name_.count, failure.message))
          .file(failure.file)
          .at(failure.offset.value_or(0))
          .in(failure.field)
          .want(failure.expected)
          .got(failure.found);
    }
  }

  void check_split(Parse& parse, std::uint32_t number) {
    const auto check = [&](const char* rule, std::string_view key, std::int64_t expected, const char* message) {
      const auto value = find_integer(parse, key);
      if (value == expected) return;
      parse.findings.error(rule, message)
          .at(offset_of(parse, key))
          .in(fmt::format("metadata[{}].value", quoted(key)))
          .want(fmt::format("{}", expected))
          .got(value ? fmt::format("{}", *value) : "no such integer");
    };
    check("gguf.split.no", "split.no", number - 1, "the number of this shard differs from its file name");
    check("gguf.split.count", "split.count", name_.count, "the number of shards differs from the file name");
    if (!declared_tensors_ && (declared_tensors_ = find_integer(parse, "split.tensors.count")))
      declared_at_ = offset_of(parse, "split.tensors.count");
  }

  void check_duplicates() {
    std::unordered_map<std::string_view, const TensorInfo*> first;
    for (const TensorInfo& tensor : assembly_.tensors()) {
      const auto [found, is_new] = first.try_emplace(tensor.name, &tensor);
      if (is_new || found->second->file_index == tensor.file_index) continue;
      findings_.error("gguf.split.duplicate", "two shards hold a tensor of this name")
          .file(assembly_.files()[tensor.file_index]->path())
          .at(tensor.info_offset)
          .in("name")
          .tensor(tensor.name)
          .want("unique names")
          .got(fmt::format("also in {}", assembly_.files()[found->second->file_index]->path()));
    }
  }

  ShardName name_;
  OpenOptions options_;
  Assembly assembly_;
  Findings findings_;
  std::uint32_t n_whole_ = 0;
  std::int64_t n_tensors_ = 0;
  std::optional<std::int64_t> declared_tensors_;
  std::uint64_t declared_at_ = 0;
};

/// A file that stands alone, although its name or its metadata may say that it is a part of a model.
void check_alone(Parse& parse, const std::optional<ShardName>& name) {
  const auto count = find_integer(parse, "split.count");
  if (count && *count > 1)
    parse.findings
        .error("gguf.split.name", "this is one shard of a model, but its name does not say where the others are")
        .at(offset_of(parse, "split.count"))
        .in("metadata[\"split.count\"].value")
        .want(fmt::format("a name that ends in -00001-of-{:05}.gguf", *count))
        .got(parse.file.path())
        .help("give the shards back the names that they were published under");
  else if (name && name->count > 1)
    parse.findings
        .warning("gguf.split.metadata", "by its name this is a shard, but it has no split.count: opened alone")
        .at(kHeaderBytes)
        .in("metadata[\"split.count\"]")
        .want(fmt::format("{}", name->count))
        .got(count ? fmt::format("{}", *count) : "no such key");
}

std::optional<std::uint32_t> five_digits(std::string_view text) {
  std::uint32_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<std::uint32_t>(c - '0');
  }
  return value;
}

}  // namespace

std::string ShardName::path_of(std::uint32_t shard) const {
  return fmt::format("{}-{:05}-of-{:05}.gguf", prefix, shard, count);
}

std::optional<ShardName> parse_shard_name(const std::string& path) {
  constexpr std::size_t kTail = std::string_view("-00001-of-00002.gguf").size();
  if (path.size() < kTail) return std::nullopt;
  const std::string_view tail = std::string_view(path).substr(path.size() - kTail);
  if (tail[0] != '-' || tail.substr(6, 4) != "-of-" || tail.substr(15) != ".gguf") return std::nullopt;
  const auto number = five_digits(tail.substr(1, 5)), count = five_digits(tail.substr(10, 5));
  if (!number || !count || *number == 0 || *number > *count) return std::nullopt;
  return ShardName{path.substr(0, path.size() - kTail), *number, *count};
}

}  // namespace gguf

ModelFile read_gguf(std::unique_ptr<MappedFile> file, const std::string& user_path, const OpenOptions& options) {
  gguf::Parse parse = gguf::parse_file(*file, 0, options);
  const auto name = gguf::parse_shard_name(file->path());
  const auto count = gguf::find_integer(parse, "split.count");
  if (name && name->count > 1 && count && *count > 1)
    return gguf::ShardSet(*name, user_path, options).open(std::move(file));
  gguf::check_alone(parse, name);
  gguf::Assembly assembly(user_path);
  assembly.add(std::move(file), std::move(parse));
  return assembly.finish();
}

}  // namespace apr::format
