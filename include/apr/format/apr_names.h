// How the tensors of a GGUF are called inside an APR file.
// Source: the layout contract of the aprender project (src/format/layout_contract.rs, tensor_expectation.rs).
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace apr::format {

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

}  // namespace apr::format
