// Names of tensors in the three conventions, from the tables of the model and format layers.
#include <fmt/format.h>

#include <array>
#include <unordered_map>

#include "apr/core/text.h"
#include "apr/format/apr_names.h"
#include "apr/inspect/contract.h"
#include "apr/model/architecture.h"

namespace apr::inspect {
namespace {

struct RoleNames {
  std::string_view gguf, hf, hf_gemma;
};
constexpr RoleNames kRoles[] = {
#define APR_WEIGHT(role, gguf, hf, hf_gemma) {gguf, hf, hf_gemma},
#include "apr/model/weight_names.def"
#undef APR_WEIGHT
};
constexpr std::array<std::string_view, 4> kPrefixes = {"model.", "language_model.model.", "model.language_model.", ""};

/// A pattern of weight_names.def with its "{}" filled in, or turned into "{n}".
std::string fill(std::string_view pattern, std::optional<std::uint32_t> layer) {
  const std::size_t at = pattern.find("{}");
  if (at == std::string_view::npos) return std::string(pattern);
  return fmt::format("{}{}{}", pattern.substr(0, at), layer ? std::to_string(*layer) : "{n}", pattern.substr(at + 2));
}

/// The name with its first component of digits replaced by "{}", and their number.
struct Split {
  std::string pattern;
  std::optional<std::uint32_t> layer;
};
Split split(std::string_view name) {
  for (std::size_t at = 0; at < name.size();) {
    const std::size_t end = std::min(name.find('.', at), name.size());
    const auto number = parse_u64(name.substr(at, end - at));
    const bool plain =
        number && name[at] >= '0' && name[at] <= '9' && end - at < 10 && (end - at == 1 || name[at] != '0');
    if (plain && *number < (1U << 30))
      return {fmt::format("{}{{}}{}", name.substr(0, at), name.substr(end)), static_cast<std::uint32_t>(*number)};
    at = end + 1;
  }
  return {std::string(name), std::nullopt};
}

}  // namespace

std::string_view name(NameSpace space) noexcept {
  return space == NameSpace::Gguf ? "gguf" : space == NameSpace::Apr ? "apr" : "hugging_face";
}

NameContract::NameContract(std::string_view architecture) : architecture_(architecture) {
  if (const model::Architecture* row = model::find_architecture(architecture)) {
    architecture_ = row->name;
    gemma_ = row->gemma_names;
    permutes_ = row->gguf_rope == model::RopeLayout::Adjacent;
  }
  apr_renames_ = format::apr_renames(architecture_) || format::apr_renames(architecture);
}

TensorNames NameContract::names(model::WeightRole role, std::optional<std::uint32_t> layer) const {
  const RoleNames& row = kRoles[static_cast<std::size_t>(role)];
  TensorNames names;
  names.role = role;
  if (row.gguf.find("{}") != std::string_view::npos) names.layer = layer;
  names.gguf = fill(row.gguf, layer);
  names.hugging_face = fill(gemma_ ? row.hf_gemma : row.hf, layer);
  names.apr = names.gguf;
  if (!apr_renames_) return names;
  // The pattern itself has no layer that apr_name_of() would know: it gets one and loses it again.
  const std::string concrete = format::apr_name_of("qwen2", fill(row.gguf, layer.value_or(0)));
  names.apr = layer ? concrete : fill(split(concrete).pattern, std::nullopt);
  return names;
}

std::optional<TensorNames> NameContract::find(std::string_view tensor_name) const {
  if (tensor_name.find("{}") != std::string_view::npos) return std::nullopt;  // a name, not one of our patterns
  const Split wanted = split(tensor_name);
  for (std::size_t i = 0; i < std::size(kRoles); ++i) {
    const RoleNames& row = kRoles[i];
    const std::string_view hf = gemma_ ? row.hf_gemma : row.hf;
    bool match = wanted.pattern == row.gguf;
    // A checkpoint may call its text model otherwise; what stands outside of it (lm_head) may have that prefix, too.
    const std::string_view rest = hf.starts_with("model.") ? hf.substr(6) : hf;
    for (const std::string_view prefix : kPrefixes)
      match = match || (!hf.empty() && wanted.pattern.starts_with(prefix) &&
                        std::string_view(wanted.pattern).substr(prefix.size()) == rest);
    match = match || (hf == "lm_head.weight" && wanted.pattern == "language_model.lm_head.weight");
    if (match) return names(static_cast<model::WeightRole>(i), wanted.layer);
  }
  return std::nullopt;
}

std::uint32_t layers_by_name(const format::ModelFile& model, const NameContract& contract) {
  std::uint32_t n = 0;
  for (const format::TensorInfo& tensor : model.tensors)
    if (const auto names = contract.find(tensor.name); names && names->layer) n = std::max(n, *names->layer + 1);
  return n;
}

}  // namespace apr::inspect
