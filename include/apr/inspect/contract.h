// The name contract: how each tensor is called in GGUF, in Hugging Face files and in APR, what changes between them,
// and what a file lacks or has beyond it.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apr/format/model_file.h"
#include "apr/model/weights.h"

namespace apr::inspect {

enum class NameSpace : std::uint8_t { Gguf, HuggingFace, Apr };
[[nodiscard]] std::string_view name(NameSpace space) noexcept;  // "gguf", "hugging_face", "apr"

/// One tensor in the three conventions; empty where a convention has no name for it.
struct TensorNames {
  model::WeightRole role{};
  std::optional<std::uint32_t> layer;
  std::string gguf, hugging_face, apr;
  [[nodiscard]] const std::string& in(NameSpace space) const noexcept {
    return space == NameSpace::Gguf ? gguf : space == NameSpace::Apr ? apr : hugging_face;
  }
};

/// The names of one architecture, both ways. `architecture`: a row of architectures.def or any other text; an unknown
/// one is read with the names that most have (those of llama).
class NameContract {
 public:
  explicit NameContract(std::string_view architecture);

  /// The names of a role; with "{n}" for the layer when none is given.
  [[nodiscard]] TensorNames names(model::WeightRole role, std::optional<std::uint32_t> layer = std::nullopt) const;
  /// Finds a tensor by its name in any of the conventions, with or without the prefix of a multimodal checkpoint.
  [[nodiscard]] std::optional<TensorNames> find(std::string_view tensor_name) const;
  [[nodiscard]] bool is_gemma() const noexcept { return gemma_; }
  /// Rows of query and key are stored in another order in GGUF than in Hugging Face files.
  [[nodiscard]] bool permutes_query_and_key() const noexcept { return permutes_; }

 private:
  std::string architecture_;
  bool gemma_ = false, permutes_ = false, apr_renames_ = false;
};

/// A role and what holds for its tensors.
struct ContractRow {
  TensorNames names;              // patterns
  std::string shape;              // letters, outermost first: "A, H"
  std::string gguf_dims;          // the same backwards, as GGUF stores them: "H, A". The bytes are the same
  std::string dims;               // in numbers, where the hyperparameters are known: "[1536, 576]"; else empty
  bool critical = false;          // a wrong shape must be refused (the output matrix)
  bool permuted = false;          // between GGUF and Hugging Face the rows of each head change their order
  double hf_plus = 0;             // what is added to a Hugging Face value to get that of GGUF (norms of Gemma: 1)
  bool tied_when_absent = false;  // without it the token embedding is used in its place
  bool required = false;
  std::uint64_t n_expected = 0, n_found = 0;  // tensors: one for each layer
};

/// A tensor that must be there or must look otherwise.
struct ContractProblem {
  std::string rule;  // "contract.missing", "contract.shape", "contract.unreadable"
  std::string field, message, expected, found;
  bool critical = false;
};

struct ContractReport {
  std::string architecture;         // as the file says it; empty when it does not
  bool architecture_known = false;  // else nothing is called required, for a reason:
  std::string not_checked_reason;   // why required tensors were not checked; empty when they were
  std::optional<NameSpace> style;   // of most tensors of this file
  std::vector<ContractRow> rows;    // those that the architecture needs or the file has
  std::vector<ContractProblem> problems;
  std::vector<const format::TensorInfo*> unmapped;  // tensors that the contract has no name for
  std::uint64_t n_mapped = 0;
  bool output_is_tied = false;  // no output matrix: the embedding serves as one
  [[nodiscard]] bool holds() const noexcept { return problems.empty(); }
};
[[nodiscard]] ContractReport contract_report(const format::ModelFile& model);

/// The number of layers of a file by its tensors: one more than the largest layer of a name; 0 without any.
[[nodiscard]] std::uint32_t layers_by_name(const format::ModelFile& model, const NameContract& contract);

}  // namespace apr::inspect
