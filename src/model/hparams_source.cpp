#include "hparams_source.h"

#include <fmt/format.h>

#include "apr/core/file.h"

namespace apr::model {
namespace {

using format::MetadataEntry;
using format::ValueType;
using nlohmann::json;

constexpr std::uint64_t kMaxConfigBytes = 16u << 20;  // published ones have less than 64 KiB

std::string config_path(const format::ModelFile& file) {
  constexpr std::string_view kName = "config.json";
  for (const std::string& path : file.companions) {
    if (path == kName || path.ends_with("/" + std::string(kName))) return path;
  }
  return {};
}

json parse_json(std::string_view text) {
  return json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
}

ConfigValue from_json(const json& value) {
  ConfigValue out;
  if (value.is_boolean()) {
    out.boolean = value.get<bool>();
    out.shown = *out.boolean ? "true" : "false";
  } else if (value.is_number_unsigned()) {
    out.u64 = value.get<std::uint64_t>();
    out.f64 = static_cast<double>(*out.u64);
    out.shown = fmt::format("{}", *out.u64);
  } else if (value.is_number()) {
    out.f64 = value.get<double>();
    out.shown = fmt::format("{}", *out.f64);
  } else if (value.is_string()) {
    out.text = value.get<std::string>();
    out.shown = fmt::format("\"{}\"", *out.text);
  } else {
    out.shown = fmt::format("{} (JSON)", value.type_name());
  }
  return out;
}

ConfigValue from_value(const format::Value& value) {
  ConfigValue out;
  out.u64 = value.as_u64();
  out.f64 = value.as_f64();
  out.boolean = value.as_bool();
  if (const auto text = value.as_string()) out.text = std::string(*text);
  if (out.text) {
    out.shown = fmt::format("\"{}\"", *out.text);
  } else if (out.u64) {
    out.shown = fmt::format("{}", *out.u64);
  } else if (out.f64) {
    out.shown = fmt::format("{}", *out.f64);
  } else if (out.boolean) {
    out.shown = *out.boolean ? "true" : "false";
  } else {
    out.shown = fmt::format("a value of type {}", format::name(value.type()));
  }
  return out;
}

/// The member at a path of names, or null.
const json* member(const json& root, std::string_view path) {
  const json* at = &root;
  while (!path.empty()) {
    const std::size_t dot = path.find('.');
    const std::string head(path.substr(0, dot));
    if (!at->is_object()) return nullptr;
    const auto found = at->find(head);
    if (found == at->end()) return nullptr;
    at = &*found;
    path = dot == std::string_view::npos ? std::string_view{} : path.substr(dot + 1);
  }
  return at->is_null() ? nullptr : at;
}

}  // namespace

ConfigSource::ConfigSource(const format::ModelFile& file, std::vector<Finding>& findings)
    : file_(file), path_(file.path) {
  if (file.format != format::Format::SafeTensors) return;
  Finding finding;
  finding.rule = "model.config";
  finding.file = file.path;
  path_ = config_path(file);
  if (path_.empty()) {
    path_ = file.path;
    finding.message = "a SafeTensors file says nothing about its architecture, and no config.json lies beside it";
    finding.hint = "put the model's config.json into the same directory";
    findings.push_back(std::move(finding));
    return;
  }
  finding.file = path_;
  const MappedFile mapped(path_);
  if (mapped.size() > kMaxConfigBytes) {
    finding.message = "config.json is too large";
    finding.expected = fmt::format("at most {} bytes", kMaxConfigBytes);
    finding.found = fmt::format("{}", mapped.size());
    findings.push_back(std::move(finding));
    return;
  }
  config_ = parse_json({reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size()});
  if (!config_.is_object()) {
    finding.message = config_.is_discarded() ? "config.json is not valid JSON" : "config.json holds no JSON object";
    findings.push_back(std::move(finding));
    config_ = nullptr;
  }
}

std::optional<json> ConfigSource::json_at(const std::string& key) const {
  if (config_.is_object()) {
    const json* found = member(config_, key);
    if (found == nullptr) found = member(config_, "text_config." + key);
    return found == nullptr ? std::nullopt : std::optional(*found);
  }
  // An APR header keeps objects as text; GGUF has none.
  const std::size_t dot = key.find('.');
  const MetadataEntry* entry = file_.find_metadata(std::string_view(key).substr(0, dot));
  const format::ObjectRef* object = entry == nullptr ? nullptr : entry->value.as_object();
  if (object == nullptr || object->text.size() > kMaxConfigBytes) return std::nullopt;
  const json parsed = parse_json(object->text);
  if (dot == std::string::npos) return parsed;
  const json* found = member(parsed, std::string_view(key).substr(dot + 1));
  return found == nullptr ? std::nullopt : std::optional(*found);
}

std::optional<ConfigValue> ConfigSource::find_one(const std::string& key) const {
  ConfigValue value;
  if (const MetadataEntry* entry = config_.is_object() ? nullptr : file_.find_metadata(key)) {
    if (entry->value.type() == ValueType::Null) return std::nullopt;
    value = from_value(entry->value);
    value.offset = entry->value_offset;
    if (entry->file_index < file_.files.size()) value.file = file_.files[entry->file_index]->path();
  } else if (const std::optional<json> found = json_at(key)) {
    value = from_json(*found);
  } else {
    return std::nullopt;
  }
  value.key = key;
  if (value.file.empty()) value.file = path_;
  return value;
}

std::optional<ConfigValue> ConfigSource::find(const std::vector<std::string>& keys) const {
  for (const std::string& key : keys) {
    if (std::optional<ConfigValue> value = find_one(key)) return value;
  }
  return std::nullopt;
}

std::optional<std::vector<std::string>> ConfigSource::list(const std::string& key) const {
  std::vector<std::string> items;
  const auto shown = [](const ConfigValue& value) { return value.text ? *value.text : value.shown; };
  if (const MetadataEntry* entry = config_.is_object() ? nullptr : file_.find_metadata(key)) {
    const format::ArrayRef* array = entry->value.as_array();
    if (array == nullptr) return std::nullopt;
    constexpr std::uint64_t kMaxItems = 4096;  // one for each layer; a longer array fails its length rule anyway
    array->for_each([&](std::uint64_t index, const format::Value& value) {
      items.push_back(shown(from_value(value)));
      return index + 1 < kMaxItems;
    });
    return items;
  }
  const std::optional<json> found = json_at(key);
  if (!found || !found->is_array()) return std::nullopt;
  for (const json& item : *found) items.push_back(shown(from_json(item)));
  return items;
}

}  // namespace apr::model
