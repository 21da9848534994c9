#include "apr/model/weights.h"

#include <fmt/format.h>

#include <array>

#include "apr/core/checked.h"
#include "apr/core/error.h"
#include "apr/core/text.h"

namespace apr::model {
namespace {

struct RoleNames {
  std::string_view gguf, hf, hf_gemma;
};
constexpr RoleNames kRoleNames[] = {
#define APR_WEIGHT(role, gguf, hf, hf_gemma) {gguf, hf, hf_gemma},
#include "apr/model/weight_names.def"
#undef APR_WEIGHT
};

const RoleNames& names_of(WeightRole role) { return kRoleNames[static_cast<std::size_t>(role)]; }

std::string with_layer(std::string_view pattern, std::uint32_t layer) {
  const std::size_t at = pattern.find("{}");
  if (at == std::string_view::npos) return std::string(pattern);
  return fmt::format("{}{}{}", pattern.substr(0, at), layer, pattern.substr(at + 2));
}

constexpr std::string_view kTextPrefix = "model.";
// Where a multimodal checkpoint keeps its text model: transformers up to 4.51, from 4.52 on, and APR's bare names.
constexpr std::array<std::string_view, 3> kOtherPrefixes = {"language_model.model.", "model.language_model.", ""};

constexpr const char* kContractHint =
    "the file is damaged or incomplete: apr qa FILE --only tensors lists all that is wrong";

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string text;
  for (const std::int64_t n : shape) text += (text.empty() ? "" : ", ") + std::to_string(n);
  return "[" + text + "]";
}

bool holds_real_numbers(TensorType type) {
  switch (type) {
    case TensorType::I8:
    case TensorType::I16:
    case TensorType::I32:
    case TensorType::I64:
    case TensorType::Bool:
    case TensorType::U8:
    case TensorType::U16:
    case TensorType::U32:
    case TensorType::U64:
    case TensorType::C64: return false;
    default: return find_type(type) != nullptr && find_type(type)->status == TypeStatus::Live;
  }
}

/// Elements between the starts of two rows: whole blocks where a format pads each row (APR's K-quants), else the row.
std::int64_t row_stride_of(const format::TensorInfo& tensor, std::int64_t rows, std::int64_t cols) {
  const TypeInfo* type = find_type(tensor.type);
  const auto block = static_cast<std::int64_t>(type->block_elements);
  if (block <= 1 || cols % block == 0) return cols;
  const std::int64_t padded = (cols + block - 1) / block * block;
  const auto bytes = checked_mul<std::uint64_t>(static_cast<std::uint64_t>(rows) * type->block_bytes,
                                                static_cast<std::uint64_t>(padded / block));
  return bytes && *bytes == tensor.size_bytes ? padded : cols;
}

/// Right in size, of no type and without bytes: a plan can be laid out with it, not run.
Weight stand_in(const format::TensorInfo& tensor, WeightRole role, std::uint32_t layer,
                std::span<const std::int64_t> shape) {
  Weight weight;
  weight.name = WeightSource::gguf_name(role, layer);
  weight.tensor = &tensor;
  weight.n_rows = shape.size() > 1 ? shape[0] : 1;
  weight.n_cols = weight.row_stride = shape.back();
  return weight;
}

}  // namespace

std::string WeightSource::gguf_name(WeightRole role, std::uint32_t layer) {
  return with_layer(names_of(role).gguf, layer);
}

const format::TensorInfo* WeightSource::find(WeightRole role, std::uint32_t layer) const {
  const RoleNames& names = names_of(role);
  if (const auto* tensor = file_.find_tensor(with_layer(names.gguf, layer))) return tensor;
  const std::string hf = with_layer(gemma_ ? names.hf_gemma : names.hf, layer);
  if (hf.empty()) return nullptr;
  if (const auto* tensor = file_.find_tensor(hf)) return tensor;
  for (const std::string_view prefix : kOtherPrefixes) {
    const bool in_model = hf.starts_with(kTextPrefix);
    const std::string_view rest = in_model ? std::string_view(hf).substr(kTextPrefix.size()) : std::string_view(hf);
    const std::string_view before = in_model || prefix.empty() ? prefix : "language_model.";
    if (const auto* tensor = file_.find_tensor(std::string(before) + std::string(rest))) return tensor;
  }
  return nullptr;
}

NameStyle WeightSource::style(const format::TensorInfo& tensor) const {
  for (const RoleNames& names : kRoleNames) {
    const std::size_t at = names.gguf.find("{}");
    if (at == std::string_view::npos
            ? tensor.name == names.gguf
            : tensor.name.starts_with("blk.") && tensor.name.ends_with(names.gguf.substr(at + 2)))
      return NameStyle::Gguf;
  }
  return NameStyle::HuggingFace;
}

Weight WeightSource::checked(const format::TensorInfo& tensor, WeightRole role, std::uint32_t layer,
                             std::span<const std::int64_t> shape) const {
  const std::string& path = file_.files.at(tensor.file_index)->path();
  const std::string field = "tensor " + escaped(tensor.name, 120);
  if (!std::equal(shape.begin(), shape.end(), tensor.shape.begin(), tensor.shape.end())) {
    throw Error(ErrorCode::ModelLoad, "a tensor has another shape than the model's hyperparameters say")
        .at(path, tensor.info_offset)
        .in(field)
        .want(shape_text(shape))
        .got(shape_text(tensor.shape))
        .help(kContractHint);
  }
  if (!tensor.readable || !holds_real_numbers(tensor.type)) {
    throw Error(ErrorCode::ModelLoad, "a tensor's type cannot be computed with")
        .at(path, tensor.info_offset)
        .in(field)
        .want("a floating-point or quantised type of this version, wholly inside the file")
        .got(tensor.type == TensorType::Unknown ? fmt::format("type number {}", tensor.raw_type)
                                                : std::string(apr::name(tensor.type)));
  }
  Weight weight;
  weight.name = gguf_name(role, layer);
  weight.tensor = &tensor;
  weight.bytes = file_.data(tensor);
  weight.type = tensor.type;
  weight.n_rows = shape.size() > 1 ? shape[0] : 1;
  weight.n_cols = shape.back();
  weight.row_stride = row_stride_of(tensor, weight.n_rows, weight.n_cols);
  return weight;
}

std::optional<Weight> WeightSource::optional(WeightRole role, std::uint32_t layer,
                                             std::span<const std::int64_t> shape) const {
  const format::TensorInfo* tensor = find(role, layer);
  if (tensor == nullptr) return std::nullopt;
  if (log_ == nullptr) return checked(*tensor, role, layer, shape);
  ++log_->n_checked;
  log_->used.push_back(tensor);
  try {
    return checked(*tensor, role, layer, shape);
  } catch (Error& problem) {
    log_->problems.push_back(std::move(problem));
    return stand_in(*tensor, role, layer, shape);
  }
}

Weight WeightSource::require(WeightRole role, std::uint32_t layer, std::span<const std::int64_t> shape) const {
  if (std::optional<Weight> weight = optional(role, layer, shape)) return *std::move(weight);
  const std::string hf = with_layer(gemma_ ? names_of(role).hf_gemma : names_of(role).hf, layer);
  Error missing = Error(ErrorCode::ModelLoad, "a tensor that the architecture needs is missing")
                      .at(file_.path)
                      .in("tensor " + gguf_name(role, layer))
                      .want(fmt::format("{}{}{} of shape {}", gguf_name(role, layer), hf.empty() ? "" : " or ", hf,
                                        shape_text(shape)))
                      .got(fmt::format("no tensor of that name among {}", file_.tensors.size()))
                      .help(kContractHint);
  if (log_ == nullptr) throw missing;
  static const format::TensorInfo kNoTensor{};
  ++log_->n_checked;
  log_->problems.push_back(std::move(missing));
  return stand_in(kNoTensor, role, layer, shape);
}

}  // namespace apr::model
