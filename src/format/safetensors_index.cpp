// SafeTensors in several files: the index that names the shard of each tensor, and folders.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>

#include "apr/core/checked.h"
#include "apr/core/text.h"
#include "src/format/json.h"
#include "src/format/safetensors.h"

namespace apr::format {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kIndexSuffix = ".safetensors.index.json";
constexpr std::size_t kMaxShards = 2048;  // half of what MappedFile can hold at once

/// What an index says. The strings are decoded; the mapping may go.
struct Index {
  struct Row {
    std::string tensor;
    std::uint32_t shard = 0;
    std::uint64_t offset = 0;  // of the tensor's name in the index
  };
  std::vector<Row> rows;
  std::vector<std::string> shards;  // in order of first mention
  std::optional<Value> total_size;
  std::uint64_t total_size_at = 0;
  bool has_weight_map = false;
};

class IndexReader {
 public:
  IndexReader(std::string_view text, Index& index, Findings& findings)
      : cursor_(text), text_(text), index_(index), findings_(findings) {}
  void read();

 private:
  bool read_members();
  bool read_metadata();
  bool read_weight_map();
  std::uint32_t shard_number(const std::string& file, std::uint64_t at);

  JsonCursor cursor_;
  std::string_view text_;
  Index& index_;
  Findings& findings_;
  std::map<std::string, std::uint32_t> numbers_;
};

void IndexReader::read() {
  if (!read_members())
    findings_.error("safetensors.index.json", "the index is no valid JSON")
        .at(cursor_.fault().offset)
        .in("index")
        .want(cursor_.fault().expected)
        .got(cursor_.fault().found);
  if (!index_.has_weight_map)
    findings_.error("safetensors.index.weight_map", "the index has no weight_map").at(0).in("weight_map");
}

bool IndexReader::read_members() {
  const JsonToken first = cursor_.next();
  if (first == JsonToken::Fault) return false;
  if (first != JsonToken::ObjectBegin) {
    findings_.error("safetensors.index.object", "the index is no JSON object").at(cursor_.offset()).in("index");
    return true;
  }
  while (cursor_.next() == JsonToken::Key) {
    const std::string_view key = cursor_.raw();
    const std::uint64_t at = cursor_.offset();
    const JsonToken token = cursor_.next();
    if (key == "weight_map" && index_.has_weight_map)
      findings_.error("safetensors.index.weight_map", "the index has weight_map twice").at(at).in("weight_map");
    bool ok = false;
    if (key == "weight_map" && token == JsonToken::ObjectBegin)
      ok = read_weight_map();
    else if (key == "metadata" && token == JsonToken::ObjectBegin)
      ok = read_metadata();
    else
      ok = cursor_.skip_value();
    if (!ok) return false;
  }
  return cursor_.token() == JsonToken::ObjectEnd && cursor_.next() == JsonToken::End;
}

bool IndexReader::read_metadata() {
  while (cursor_.next() == JsonToken::Key) {
    const bool is_total = cursor_.raw() == "total_size";
    if (cursor_.next() == JsonToken::Number && is_total) {
      index_.total_size = cursor_.number();
      index_.total_size_at = cursor_.offset();
    }
    if (!cursor_.skip_value()) return false;
  }
  return cursor_.token() == JsonToken::ObjectEnd;
}

/// A shard is a plain file name beside the index: an index must not make apr read files elsewhere.
bool is_plain_name(const std::string& file) {
  return !file.empty() && file != "." && file != ".." &&
         file.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
}

std::uint32_t IndexReader::shard_number(const std::string& file, std::uint64_t at) {
  const auto [entry, is_new] = numbers_.emplace(file, static_cast<std::uint32_t>(index_.shards.size()));
  if (!is_new) return entry->second;
  index_.shards.push_back(file);
  if (!is_plain_name(file))
    findings_.error("safetensors.index.shard_name", "a shard is no plain file name; it is not opened")
        .at(at)
        .in("weight_map")
        .want("the name of a file beside the index, without / \\ or ..")
        .got(escaped(file, 200));
  return entry->second;
}

bool IndexReader::read_weight_map() {
  index_.has_weight_map = true;
  while (cursor_.next() == JsonToken::Key) {
    Index::Row row{cursor_.text(), 0, cursor_.offset()};
    if (cursor_.next() == JsonToken::String) {
      row.shard = shard_number(cursor_.text(), cursor_.offset());
      index_.rows.push_back(std::move(row));
      continue;
    }
    if (cursor_.token() == JsonToken::Fault) return false;
    findings_.error("safetensors.index.weight_map", "the shard of a tensor is no string")
        .at(cursor_.offset())
        .tensor(row.tensor)
        .in("weight_map");
    if (!cursor_.skip_value()) return false;
  }
  return cursor_.token() == JsonToken::ObjectEnd;
}

/// A tensor of the model and where it is, for the comparison with the index.
struct Held {
  std::string_view name;
  std::uint32_t file;
  std::uint64_t offset;
};

/// Two sorted lists, index and files, walked together.
class Comparison {
 public:
  Comparison(const ModelFile& model, const std::vector<std::optional<std::uint32_t>>& shard_of_file, Index& index,
             Findings& findings)
      : model_(model), shard_of_file_(shard_of_file), index_(index), findings_(findings) {}
  void run();

 private:
  void check_unique_rows();
  void check_unique_tensors();
  void check_row(const Index::Row& row, std::size_t first, std::size_t last);
  void check_total_size();

  const ModelFile& model_;
  const std::vector<std::optional<std::uint32_t>>& shard_of_file_;
  Index& index_;
  Findings& findings_;
  std::vector<Held> held_;
};

void Comparison::run() {
  for (const TensorInfo& tensor : model_.tensors) held_.push_back({tensor.name, tensor.file_index, tensor.info_offset});
  std::sort(held_.begin(), held_.end(),
            [](const Held& a, const Held& b) { return a.name != b.name ? a.name < b.name : a.file < b.file; });
  std::stable_sort(index_.rows.begin(), index_.rows.end(),
                   [](const Index::Row& a, const Index::Row& b) { return a.tensor < b.tensor; });
  check_unique_rows();
  check_unique_tensors();
  std::size_t at = 0;
  const auto unlisted = [this](const Held& held) {
    findings_.warning("safetensors.index.unlisted", "a shard holds a tensor that the index does not list")
        .file(model_.files[held.file]->path())
        .at(held.offset)
        .tensor(held.name);
  };
  for (const Index::Row& row : index_.rows) {
    while (at < held_.size() && held_[at].name < row.tensor) unlisted(held_[at++]);
    std::size_t end = at;
    while (end < held_.size() && held_[end].name == row.tensor) ++end;
    check_row(row, at, end);
    at = end;
  }
  while (at < held_.size()) unlisted(held_[at++]);
  check_total_size();
}

void Comparison::check_unique_rows() {
  auto& rows = index_.rows;
  for (std::size_t i = 1; i < rows.size(); ++i)
    if (rows[i].tensor == rows[i - 1].tensor)
      findings_.error("safetensors.index.unique", "the index lists a tensor twice")
          .at(rows[i].offset)
          .in("weight_map")
          .tensor(rows[i].tensor);
  rows.erase(std::unique(rows.begin(), rows.end(),
                         [](const Index::Row& a, const Index::Row& b) { return a.tensor == b.tensor; }),
             rows.end());
}

void Comparison::check_unique_tensors() {
  for (std::size_t i = 1; i < held_.size(); ++i)
    if (held_[i].name == held_[i - 1].name && held_[i].file != held_[i - 1].file)
      findings_.error("safetensors.index.tensor_in_two_shards", "two shards hold a tensor of the same name")
          .file(model_.files[held_[i].file]->path())
          .at(held_[i].offset)
          .tensor(held_[i].name)
          .got("also in " + model_.files[held_[i - 1].file]->path());
}

void Comparison::check_row(const Index::Row& row, std::size_t first, std::size_t last) {
  for (std::size_t i = first; i < last; ++i)
    if (shard_of_file_[held_[i].file] == row.shard) return;
  findings_.error("safetensors.index.tensor_missing", "the shard that the index names does not hold the tensor")
      .at(row.offset)
      .in("weight_map")
      .tensor(row.tensor)
      .want(index_.shards[row.shard])
      .got(first < last ? "it is in " + model_.files[held_[first].file]->path() : "it is in no shard");
}

void Comparison::check_total_size() {
  if (!index_.total_size) return;
  std::uint64_t sum = 0;
  for (const TensorInfo& tensor : model_.tensors) sum = checked_add(sum, tensor.size_bytes).value_or(UINT64_MAX);
  const auto stated = index_.total_size->as_f64();
  if (index_.total_size->as_u64() == sum || (stated && *stated == static_cast<double>(sum))) return;
  findings_.error("safetensors.index.total_size", "the index states another size than its shards have")
      .at(index_.total_size_at)
      .in("metadata.total_size")
      .want(fmt::format("{} bytes", sum))
      .got(index_.total_size->as_u64() ? fmt::format("{}", *index_.total_size->as_u64()) : fmt::format("{}", *stated));
}

ModelFile empty_model(const std::string& path) {
  ModelFile model;
  model.format = Format::SafeTensors;
  model.path = path;
  return model;
}

/// The findings of one shard, kept apart so that each names its own file.
void append_shard(ModelFile& model, const fs::path& path) {
  auto file = std::make_unique<MappedFile>(path.string());
  Findings findings(path.string());
  append_safetensors(model, std::move(file), findings);
  for (Finding& finding : findings.take()) model.findings.push_back(std::move(finding));
}

ModelFile open_index(const std::string& user_path, const fs::path& index_path) {
  ModelFile model = empty_model(user_path);
  Findings findings(index_path.string());
  Index index;
  {
    const MappedFile file(index_path.string());
    const auto bytes = file.bytes();
    IndexReader({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, index, findings).read();
    file.check_intact();
  }
  if (index.shards.size() > kMaxShards)
    throw Error(ErrorCode::InvalidFormat, "the index names more shards than apr opens")
        .at(index_path.string(), 0)
        .in("weight_map")
        .want(fmt::format("at most {}", kMaxShards))
        .got(std::to_string(index.shards.size()));
  std::vector<std::optional<std::uint32_t>> shard_of_file;
  for (std::uint32_t i = 0; i < index.shards.size(); ++i) {
    if (!is_plain_name(index.shards[i])) continue;
    const fs::path shard = index_path.parent_path() / index.shards[i];
    std::error_code error;
    if (fs::is_regular_file(shard, error)) {
      append_shard(model, shard);
      shard_of_file.push_back(i);
      continue;
    }
    findings.error("safetensors.index.shard_missing", "a shard that the index names is not there")
        .in("weight_map")
        .want(escaped(shard.string(), 400))
        .got(error ? error.message() : "no such file")
        .help("fetch the shard that is missing");
  }
  Comparison(model, shard_of_file, index, findings).run();
  std::vector<Finding> all = findings.take();
  all.insert(all.end(), std::make_move_iterator(model.findings.begin()), std::make_move_iterator(model.findings.end()));
  model.findings = std::move(all);
  add_companions(model, index_path.parent_path().string());
  return model;
}

/// Shards without an index: together they are the model, as far as one can tell.
ModelFile open_shards(const std::string& user_path, const std::vector<fs::path>& shards) {
  ModelFile model = empty_model(user_path);
  for (const fs::path& shard : shards) append_shard(model, shard);
  Findings findings(user_path);
  findings.warning("safetensors.index.none", "several SafeTensors files and no index: all of them were read")
      .want("a model.safetensors.index.json")
      .got(fmt::format("{} files", shards.size()));
  Index index;
  for (const TensorInfo& tensor : model.tensors) index.rows.push_back({std::string(tensor.name), 0, 0});
  std::vector<std::optional<std::uint32_t>> none(shards.size(), 0U);
  std::sort(index.rows.begin(), index.rows.end(), [](const auto& a, const auto& b) { return a.tensor < b.tensor; });
  index.rows.erase(std::unique(index.rows.begin(), index.rows.end(),
                               [](const auto& a, const auto& b) { return a.tensor == b.tensor; }),
                   index.rows.end());
  Comparison(model, none, index, findings).run();
  for (Finding& finding : findings.take()) model.findings.push_back(std::move(finding));
  add_companions(model, user_path);
  return model;
}

}  // namespace

ModelFile open_safetensors_directory(const std::string& path, const OpenOptions& options) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return open_index(path, path);
  std::vector<fs::path> models, indices;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.ends_with(kIndexSuffix)) indices.push_back(it->path());
    if (name.ends_with(".safetensors")) models.push_back(it->path());
  }
  if (error) throw Error(ErrorCode::NotFound, "cannot list the folder: " + error.message()).at(path);
  std::sort(models.begin(), models.end());
  std::sort(indices.begin(), indices.end());
  const fs::path single = fs::path(path) / "model.safetensors";
  if (std::find(models.begin(), models.end(), single) != models.end()) models = {single}, indices.clear();
  if (!indices.empty()) {
    const fs::path usual = fs::path(path) / "model.safetensors.index.json";
    return open_index(path,
                      std::find(indices.begin(), indices.end(), usual) != indices.end() ? usual : indices.front());
  }
  if (models.empty())
    throw Error(ErrorCode::NotFound, "no SafeTensors model in this folder")
        .at(path)
        .want("model.safetensors or model.safetensors.index.json")
        .help("name the model file itself");
  if (models.size() > 1) return open_shards(path, models);
  ModelFile model =
      read_safetensors(std::make_unique<MappedFile>(models.front().string()), models.front().string(), options);
  model.path = path;
  return model;
}

}  // namespace apr::format
