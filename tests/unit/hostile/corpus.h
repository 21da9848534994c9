// The list of malformed files as tables: one row a case, held against the layer that must notice it.
#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "apr/core/error.h"
#include "tests/support/json_builder.h"

namespace apr::test {

/// Refused: an exception, nothing is shown. Error: opened, what can be read is shown, and it is not sound. Warning:
/// opened and usable, with a finding. Clean: no finding at all.
enum class Outcome { Refused, Error, Warning, Clean };

/// How far the file is taken. Open reads the header; each other stage comes after it.
enum class Stage {
  Open,
  Verify,     // open with the data checked: APR's checksum, padding between tensors
  Hparams,    // parse_hparams
  Tokenizer,  // Tokenizer::from_model
  Template,   // the chat template in the metadata, parsed and rendered
  Values,     // diagnose: every weight decoded
  Gate,       // the gate `values` of `apr qa`, which names block and file offset
  Shrinks,    // the file is cut to 100 bytes after it was opened, and read then
  Grows,      // a byte is appended after it was opened
};

/// A file and what must become of it.
struct Made {
  std::string input;  // its bytes, or its path
  bool is_path = false;
  Stage stage = Stage::Open;
  Outcome outcome = Outcome::Clean;
  std::string rule;                           // of the finding; of a refusal: its message
  std::optional<std::uint64_t> offset;        // nothing: the report must not name one
  std::string field;                          // "" : not a field but a tensor is named
  std::string found;                          // a part of what the report says it found
  ErrorCode code = ErrorCode::InvalidFormat;  // of a refusal

  Made&& at_stage(Stage value) && { return stage = value, std::move(*this); }
  Made&& with_code(ErrorCode value) && { return code = value, std::move(*this); }
  Made&& from_path() && { return is_path = true, std::move(*this); }
};

inline Made refused(std::string input, std::string message, std::optional<std::uint64_t> offset, std::string field,
                    std::string found = {}) {
  return {std::move(input),   false,  Stage::Open,      Outcome::Refused,
          std::move(message), offset, std::move(field), std::move(found)};
}
inline Made error(std::string input, std::string rule, std::optional<std::uint64_t> offset, std::string field,
                  std::string found = {}) {
  return {std::move(input), false,  Stage::Open,      Outcome::Error,
          std::move(rule),  offset, std::move(field), std::move(found)};
}
inline Made warning(std::string input, std::string rule, std::optional<std::uint64_t> offset, std::string field,
                    std::string found = {}) {
  return {std::move(input), false,  Stage::Open,      Outcome::Warning,
          std::move(rule),  offset, std::move(field), std::move(found)};
}
inline Made clean(std::string input) {
  Made made;
  made.input = std::move(input);
  return made;
}

/// One row. `id` is that of the list ("G01"); rows beyond the list have "X" and a number.
struct Case {
  std::string id, variant;
  std::function<Made(const TempFolder&)> make;
};
inline std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.id << " " << c.variant; }
inline std::string case_name(const testing::TestParamInfo<Case>& info) {
  return info.param.variant.empty() ? info.param.id : info.param.id + "_" + info.param.variant;
}

/// What makes the rows of a table in which each file is make(change), a sound one but for one thing.
template <class MakeFile>
auto rows_of(Outcome outcome, MakeFile make) {
  return [=](const char* id, const char* variant, auto change, const char* rule = "", std::uint64_t offset = 0,
             const char* field = "", const char* found = "") -> Case {
    return {id, variant, [=](const TempFolder&) {
              const std::string bytes = make(change);
              if (outcome == Outcome::Clean) return clean(bytes);
              return outcome == Outcome::Error ? error(bytes, rule, offset, field, found)
                                               : warning(bytes, rule, offset, field, found);
            }};
  };
}

/// Opens the file, takes it to its stage, and holds the outcome against the row.
void check_case(const Case& c);

class GgufCorpus : public testing::TestWithParam<Case> {};
class SafeTensorsCorpus : public testing::TestWithParam<Case> {};
class AprCorpus : public testing::TestWithParam<Case> {};

using Cases = std::vector<Case>;
Cases gguf_header_cases();
Cases gguf_metadata_cases();
Cases gguf_tensor_cases();
Cases gguf_layout_cases();
Cases gguf_model_cases();
Cases gguf_file_cases();
Cases safetensors_header_cases();
Cases safetensors_data_cases();
Cases apr_cases();

}  // namespace apr::test
