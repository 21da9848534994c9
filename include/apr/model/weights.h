// Finding a model's tensors, whichever convention names them.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "apr/core/error.h"
#include "apr/core/tensor_type.h"
#include "apr/format/model_file.h"

namespace apr::model {

/// What a tensor is for. Rows: weight_names.def.
enum class WeightRole : std::uint8_t {
#define APR_WEIGHT(role, gguf, hf, hf_gemma) role,
#include "apr/model/weight_names.def"
#undef APR_WEIGHT
};

enum class NameStyle : std::uint8_t { Gguf, HuggingFace };

/// One tensor of a model as the executors see it: a matrix of rows (a vector is one row), stored as the file has it.
struct Weight {
  std::string name;  // GGUF spelling: "blk.3.ffn_down.weight"
  const format::TensorInfo* tensor = nullptr;
  std::span<const std::byte> bytes;
  TensorType type = TensorType::Unknown;
  std::int64_t n_rows = 1, n_cols = 0;
  std::int64_t row_stride = 0;  // elements from one row to the next in storage order (>= n_cols where rows are padded)
  float plus = 0;               // added to each element (Gemma's norms in Hugging Face files hold weight - 1)
  [[nodiscard]] std::uint64_t row_bytes() const noexcept {
    return n_rows > 0 ? bytes.size() / static_cast<std::uint64_t>(n_rows) : 0;
  }
};

/// What a WeightSource was asked for, where it is to go on after a tensor that is wrong.
struct WeightLog {
  std::vector<Error> problems;  // missing, mis-shaped, unusable: in the order in which they were asked for
  std::vector<const format::TensorInfo*> used;  // the tensors that were found, right or wrong
  std::uint64_t n_checked = 0;                  // tensors that had to be there, and optional ones that were
};

/// The tensors of a file by role. Names tried in this order: GGUF; Hugging Face with the prefix of a text or multimodal
/// model; the same without a prefix (APR files of older tools).
class WeightSource {
 public:
  /// `gemma`: the architecture uses Gemma's Hugging Face names. With a `log`, require() and optional() throw nothing:
  /// they note what is wrong and return a weight without bytes, which nothing may be computed with.
  WeightSource(const format::ModelFile& file, bool gemma, WeightLog* log = nullptr)
      : file_(file), gemma_(gemma), log_(log) {}

  /// Null when there is none. `layer` is ignored for roles outside the layers.
  [[nodiscard]] const format::TensorInfo* find(WeightRole role, std::uint32_t layer = 0) const;
  /// The convention of the tensor that `find` returned.
  [[nodiscard]] NameStyle style(const format::TensorInfo& tensor) const;
  /// "blk.3.attn_q.weight"
  [[nodiscard]] static std::string gguf_name(WeightRole role, std::uint32_t layer = 0);
  /// A checked tensor. Throws ModelLoad: missing (naming both spellings), unreadable, of another shape (expected and
  /// found), or of a type that holds no real numbers. Shape {n} or {rows, cols}, outermost first.
  [[nodiscard]] Weight require(WeightRole role, std::uint32_t layer, std::span<const std::int64_t> shape) const;
  /// The same for a tensor that may be absent.
  [[nodiscard]] std::optional<Weight> optional(WeightRole role, std::uint32_t layer,
                                               std::span<const std::int64_t> shape) const;
  [[nodiscard]] const format::ModelFile& file() const noexcept { return file_; }

 private:
  [[nodiscard]] Weight checked(const format::TensorInfo& tensor, WeightRole role, std::uint32_t layer,
                               std::span<const std::int64_t> shape) const;
  const format::ModelFile& file_;
  bool gemma_;
  WeightLog* log_;
};

}  // namespace apr::model
