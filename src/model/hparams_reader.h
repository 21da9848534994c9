// Reads one hyperparameter after the other and keeps what is wrong with them as findings.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "apr/core/error.h"
#include "apr/model/hparams.h"
#include "apr/model/weights.h"
#include "hparams_source.h"

namespace apr::model {

class HParamsReader {
 public:
  HParamsReader(const ConfigSource& source, std::vector<Finding>& findings, std::vector<HParamSource>& sources)
      : source_(source), findings_(findings), sources_(sources) {}

  [[nodiscard]] const ConfigSource& source() const noexcept { return source_; }
  /// What stands before a GGUF key: "llama".
  void set_prefix(std::string prefix) { prefix_ = std::move(prefix); }
  /// The keys to look for: "<prefix>.<suffix>" in GGUF, the '|' separated ones elsewhere.
  [[nodiscard]] std::vector<std::string> keys(std::string_view gguf_suffix, std::string_view json_keys) const;

  /// An integer in [lowest, highest]. `out` keeps its value when the key is absent; 0 is left when a rule is broken.
  void u32(std::uint32_t& out, std::string_view field, std::string_view gguf, std::string_view json,
           std::uint32_t lowest, std::uint32_t highest, bool required);
  /// A finite number in (above, at_most]. Returns whether the key was there.
  bool f64(double& out, std::string_view field, std::string_view gguf, std::string_view json, double above,
           double at_most, bool required);

  void note(std::string_view field, std::string_view key, std::string value);
  /// A rule that the value of a key breaks.
  void broken(const ConfigValue& value, std::string message, std::string expected);
  void missing(const std::string& key, std::string message);
  void report(std::string_view rule, const std::string& key, std::string message, std::string expected,
              std::string found);
  /// The same for a field whose key was noted before.
  void report_field(std::string_view field, std::string_view rule, std::string message, std::string expected,
                    std::string found);

 private:
  const ConfigSource& source_;
  std::vector<Finding>& findings_;
  std::vector<HParamSource>& sources_;
  std::string prefix_;
};

/// Rotation: base, size, layout and scaling (hparams_rope.cpp).
void read_rope(HParamsReader& r, HParams& h, const format::ModelFile& file, const WeightSource& weights);

}  // namespace apr::model
