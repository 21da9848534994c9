#include "hparams_reader.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

namespace apr::model {

std::vector<std::string> HParamsReader::keys(std::string_view gguf_suffix, std::string_view json_keys) const {
  std::vector<std::string> out;
  if (source_.is_gguf()) {
    if (!gguf_suffix.empty()) out.push_back(fmt::format("{}.{}", prefix_, gguf_suffix));
    return out;
  }
  while (!json_keys.empty()) {
    const std::size_t bar = json_keys.find('|');
    out.emplace_back(json_keys.substr(0, bar));
    json_keys = bar == std::string_view::npos ? std::string_view{} : json_keys.substr(bar + 1);
  }
  return out;
}

void HParamsReader::u32(std::uint32_t& out, std::string_view field, std::string_view gguf, std::string_view json,
                        std::uint32_t lowest, std::uint32_t highest, bool required) {
  const std::vector<std::string> names = keys(gguf, json);
  const std::optional<ConfigValue> value = source_.find(names);
  if (!value) {
    if (required) missing(names.front(), fmt::format("the model does not say its {}", field));
    return;
  }
  note(field, value->key, value->shown);
  if (value->u64 && *value->u64 >= lowest && *value->u64 <= highest) {
    out = static_cast<std::uint32_t>(*value->u64);
    return;
  }
  out = 0;
  broken(*value, fmt::format("{} is out of range", field), fmt::format("an integer, {} to {}", lowest, highest));
}

bool HParamsReader::f64(double& out, std::string_view field, std::string_view gguf, std::string_view json, double above,
                        double at_most, bool required) {
  const std::vector<std::string> names = keys(gguf, json);
  const std::optional<ConfigValue> value = source_.find(names);
  if (!value) {
    if (required) missing(names.front(), fmt::format("the model does not say its {}", field));
    return false;
  }
  note(field, value->key, value->shown);
  if (value->f64 && std::isfinite(*value->f64) && *value->f64 > above && *value->f64 <= at_most) {
    out = *value->f64;
  } else {
    broken(*value, fmt::format("{} is out of range", field),
           fmt::format("a finite number, above {} and at most {}", above, at_most));
  }
  return true;
}

void HParamsReader::note(std::string_view field, std::string_view key, std::string value) {
  sources_.push_back({std::string(field), std::string(key), std::move(value)});
}

void HParamsReader::broken(const ConfigValue& value, std::string message, std::string expected) {
  Finding finding;
  finding.rule = "model.hparams";
  finding.message = std::move(message);
  finding.offset = value.offset;
  finding.file = value.file;
  finding.field = value.key;
  finding.expected = std::move(expected);
  finding.found = value.shown;
  findings_.push_back(std::move(finding));
}

void HParamsReader::missing(const std::string& key, std::string message) {
  report("model.hparams.missing", key, std::move(message), "the key " + key, "no such key");
}

void HParamsReader::report(std::string_view rule, const std::string& key, std::string message, std::string expected,
                           std::string found) {
  Finding finding;
  finding.rule = rule;
  finding.message = std::move(message);
  finding.file = source_.path();
  if (const std::optional<ConfigValue> value = source_.find({key})) finding.offset = value->offset;
  finding.field = key;
  finding.expected = std::move(expected);
  finding.found = std::move(found);
  findings_.push_back(std::move(finding));
}

void HParamsReader::report_field(std::string_view field, std::string_view rule, std::string message,
                                 std::string expected, std::string found) {
  std::string key(field);
  for (const HParamSource& source : sources_) {
    if (source.field == field) key = source.key;
  }
  report(rule, key, std::move(message), std::move(expected), std::move(found));
}

}  // namespace apr::model
