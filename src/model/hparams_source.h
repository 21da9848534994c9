// One way to ask for a hyperparameter, whether a GGUF or APR header or a config.json answers.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apr/core/error.h"
#include "apr/format/model_file.h"

namespace apr::model {

/// A scalar of the metadata. At most one of the readings below has a value.
struct ConfigValue {
  std::string key;                      // as the file spells it
  std::optional<std::uint64_t> offset;  // of the value, where it lies in the model file
  std::string file;                     // that holds it
  std::string shown;                    // for messages
  std::optional<std::uint64_t> u64;     // an integer that fits
  std::optional<double> f64;            // any number
  std::optional<bool> boolean;
  std::optional<std::string> text;
};

/// The metadata of a model. JSON `null` counts as absent, as transformers reads it.
class ConfigSource {
 public:
  /// Reads the config.json beside a SafeTensors file. What is wrong with it becomes a finding.
  ConfigSource(const format::ModelFile& file, std::vector<Finding>& findings);

  /// The first of the keys that is there. In JSON a key may be a path ("rope_scaling.factor"), and what is absent at
  /// the top is looked for in "text_config", where multimodal models keep it.
  [[nodiscard]] std::optional<ConfigValue> find(const std::vector<std::string>& keys) const;
  /// The elements of an array of scalars as text; nothing when there is no array of that name.
  [[nodiscard]] std::optional<std::vector<std::string>> list(const std::string& key) const;
  [[nodiscard]] bool is_gguf() const noexcept { return file_.format == format::Format::Gguf; }
  /// File that the keys stand in: the model itself or its config.json.
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  [[nodiscard]] std::optional<ConfigValue> find_one(const std::string& key) const;
  [[nodiscard]] std::optional<nlohmann::json> json_at(const std::string& key) const;
  const format::ModelFile& file_;
  std::string path_;
  nlohmann::json config_;  // null for GGUF and APR
};

}  // namespace apr::model
