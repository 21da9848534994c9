// How the tensors and metadata of a GGUF are called inside an APR file.
// Source: the layout contract of the aprender project (src/format/layout_contract.rs, tensor_expectation.rs).
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "apr/format/model_file.h"
#include "apr/format/writer.h"

namespace apr::convert {

/// One row of the layout contract. "{n}" stands for the number of a layer. Dimensions by letter: H hidden, V
/// vocabulary, I feed-forward, A heads x head size, K key-value heads x head size.
struct LayoutRow {
  std::string_view gguf, apr;
  std::string_view gguf_shape;  // as in the GGUF file, innermost dimension first
  std::string_view apr_shape;  // as in the APR file, outermost first: the same numbers read backwards; bytes never move
  bool critical;               // a wrong shape must be refused: the output matrix
  std::string_view use;
};
/// The twelve rows of the contract.
[[nodiscard]] std::span<const LayoutRow> layout_contract() noexcept;

/// Whether an architecture (general.architecture) is renamed at all: only the Qwen family is. Others keep GGUF's names.
[[nodiscard]] bool apr_renames(std::string_view architecture) noexcept;
/// The name of a GGUF tensor in APR: by the contract, by the rows beside it (biases, query and key norms), and for an
/// unknown layer tensor "model.layers.{n}." and the suffix unchanged. Other names stay.
[[nodiscard]] std::string apr_name_of(std::string_view architecture, std::string_view gguf_name);

/// The metadata of a GGUF as APR has them: hyperparameters and tokenizer under APR's canonical keys, every other entry
/// under its own. Entries that only lay out a GGUF file (general.alignment, split.*) are left out and added to
/// `dropped`.
[[nodiscard]] std::vector<format::WriteEntry> apr_metadata_of(const format::ModelFile& gguf,
                                                              std::vector<std::string>& dropped);

}  // namespace apr::convert
