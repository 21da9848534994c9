// A file held against the name contract.
#include "apr/inspect/contract.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "apr/format/apr_names.h"
#include "apr/model/architecture.h"
#include "apr/model/hparams.h"

namespace apr::inspect {
namespace {

using model::WeightRole;

/// Dimensions by letter, outermost first: H hidden, V vocabulary, I feed-forward, A all query heads, K all key heads,
/// D one head, R half of what is rotated.
struct RoleShape {
  WeightRole role;
  std::string_view shape;
};
constexpr RoleShape kShapes[] = {
    {WeightRole::TokenEmbd, "V, H"}, {WeightRole::OutputNorm, "H"},  {WeightRole::Output, "V, H"},
    {WeightRole::RopeFreqs, "R"},    {WeightRole::AttnNorm, "H"},    {WeightRole::AttnQ, "A, H"},
    {WeightRole::AttnK, "K, H"},     {WeightRole::AttnV, "K, H"},    {WeightRole::AttnQBias, "A"},
    {WeightRole::AttnKBias, "K"},    {WeightRole::AttnVBias, "K"},   {WeightRole::AttnQNorm, "D"},
    {WeightRole::AttnKNorm, "D"},    {WeightRole::AttnOut, "H, A"},  {WeightRole::AttnOutBias, "H"},
    {WeightRole::AttnPostNorm, "H"}, {WeightRole::FfnNorm, "H"},     {WeightRole::FfnGate, "I, H"},
    {WeightRole::FfnUp, "I, H"},     {WeightRole::FfnDown, "H, I"},  {WeightRole::FfnGateBias, "I"},
    {WeightRole::FfnUpBias, "I"},    {WeightRole::FfnDownBias, "H"}, {WeightRole::FfnPostNorm, "H"},
};

std::uint64_t dimension(char letter, const model::HParams& h) {
  switch (letter) {
    case 'H': return h.n_embd;
    case 'V': return h.n_vocab;
    case 'I': return h.n_ffn;
    case 'A': return h.q_width();
    case 'K': return h.kv_width();
    case 'D': return h.head_dim;
    default: return h.rope.n_rot / 2;
  }
}

std::string in_numbers(std::string_view shape, const model::HParams& h) {
  std::string text;
  for (const char c : shape) {
    const bool letter = c >= 'A' && c <= 'Z';
    const std::uint64_t n = letter ? dimension(c, h) : 0;
    text += !letter ? std::string(1, c) : n == 0 ? "?" : std::to_string(n);  // the vocabulary may be unknown
  }
  return "[" + text + "]";
}

bool is_norm(WeightRole role) {
  switch (role) {
    case WeightRole::OutputNorm:
    case WeightRole::AttnNorm:
    case WeightRole::AttnQNorm:
    case WeightRole::AttnKNorm:
    case WeightRole::AttnPostNorm:
    case WeightRole::FfnNorm:
    case WeightRole::FfnPostNorm: return true;
    default: return false;
  }
}

bool is_query_or_key(WeightRole role) {
  return role == WeightRole::AttnQ || role == WeightRole::AttnK || role == WeightRole::AttnQBias ||
         role == WeightRole::AttnKBias;
}

bool is_critical(const TensorNames& names) {
  const auto rows = format::layout_contract();
  return std::any_of(rows.begin(), rows.end(),
                     [&names](const format::LayoutRow& row) { return row.critical && row.gguf == names.gguf; });
}

/// What the architectures ask for without fail (src/model/arch): the rest is optional, or used where it is there.
bool is_required(WeightRole role, std::string_view arch) {
  switch (role) {
    case WeightRole::AttnQBias:
    case WeightRole::AttnKBias:
    case WeightRole::AttnVBias: return arch == "qwen2";
    case WeightRole::AttnQNorm:
    case WeightRole::AttnKNorm: return arch == "qwen3" || arch == "gemma3";
    case WeightRole::AttnPostNorm:
    case WeightRole::FfnPostNorm: return arch == "gemma3";
    case WeightRole::Output:
    case WeightRole::RopeFreqs:
    case WeightRole::AttnOutBias:
    case WeightRole::FfnGateBias:
    case WeightRole::FfnUpBias:
    case WeightRole::FfnDownBias: return false;
    default: return true;
  }
}

class Contract {
 public:
  explicit Contract(const format::ModelFile& file) : file_(file) {
    hparams_ = model::parse_hparams(file, findings_);
    report_.architecture = !hparams_.declared_arch.empty() ? hparams_.declared_arch : std::string();
    report_.architecture_known = !hparams_.arch.empty();
    names_.emplace(report_.architecture_known ? hparams_.arch : report_.architecture);
  }

  ContractReport run() {
    const Finding* broken = nullptr;
    for (const Finding& finding : findings_)
      if (finding.severity == Severity::Error && broken == nullptr) broken = &finding;
    sound_ = report_.architecture_known && broken == nullptr;
    if (!sound_) {
      report_.not_checked_reason = broken == nullptr ? "the file does not say its architecture" : broken->message;
      if (broken != nullptr && !broken->field.empty())
        report_.not_checked_reason +=
            fmt::format(" ({}{}{})", broken->field, broken->found.empty() ? "" : ": ", broken->found);
    }
    n_layers_ = sound_ ? hparams_.n_layers : layers_by_name(file_, *names_);
    map_tensors();
    add_rows();
    check();
    return std::move(report_);
  }

 private:
  void map_tensors() {
    std::array<std::uint64_t, 3> votes{};
    for (const format::TensorInfo& tensor : file_.tensors) {
      const auto found = names_->find(tensor.name);
      if (!found) {
        report_.unmapped.push_back(&tensor);
        continue;
      }
      ++report_.n_mapped;
      tensors_[static_cast<std::size_t>(found->role)].push_back(&tensor);
      ++votes[static_cast<std::size_t>(tensor.name == found->gguf ? NameSpace::Gguf : NameSpace::HuggingFace)];
    }
    if (report_.n_mapped == 0) return;
    report_.style = votes[0] >= votes[1] ? NameSpace::Gguf : NameSpace::HuggingFace;
    report_.output_is_tied = tensors_.count(static_cast<std::size_t>(WeightRole::Output)) == 0 &&
                             tensors_.count(static_cast<std::size_t>(WeightRole::TokenEmbd)) != 0;
  }

  void add_rows() {
    for (const RoleShape& shape : kShapes) {
      ContractRow row;
      row.names = names_->names(shape.role);
      const auto found = tensors_.find(static_cast<std::size_t>(shape.role));
      row.n_found = found == tensors_.end() ? 0 : found->second.size();
      row.required = sound_ && is_required(shape.role, hparams_.arch);
      row.tied_when_absent = shape.role == WeightRole::Output;
      if (row.n_found == 0 && !row.required && !row.tied_when_absent) continue;
      row.shape = shape.shape;
      row.gguf_dims.assign(shape.shape.rbegin(), shape.shape.rend());
      for (std::size_t i = 0; (i = row.gguf_dims.find(" ,", i)) != std::string::npos; i += 2)
        row.gguf_dims.replace(i, 2, ", ");
      if (sound_) row.dims = in_numbers(shape.shape, hparams_);
      row.critical = is_critical(row.names);
      row.permuted = names_->permutes_query_and_key() && is_query_or_key(shape.role);
      row.hf_plus = names_->is_gemma() && is_norm(shape.role) ? 1 : 0;
      row.n_expected = row.names.gguf.find("{n}") == std::string::npos ? 1 : n_layers_;
      report_.rows.push_back(std::move(row));
    }
  }

  /// Missing tensors and wrong shapes of the required roles, and of optional ones that are there.
  void check() {
    if (!sound_) return;
    for (const ContractRow& row : report_.rows) {
      const bool in_layers = row.names.gguf.find("{n}") != std::string::npos;
      std::map<std::uint32_t, const format::TensorInfo*> by_layer;
      if (const auto found = tensors_.find(static_cast<std::size_t>(row.names.role)); found != tensors_.end())
        for (const format::TensorInfo* tensor : found->second)
          by_layer.emplace(names_->find(tensor->name)->layer.value_or(0), tensor);
      for (std::uint32_t layer = 0; layer < row.n_expected; ++layer) {
        const auto at = by_layer.find(layer);
        if (at == by_layer.end()) {
          if (row.required) add_missing(row, in_layers ? std::optional(layer) : std::nullopt);
          continue;
        }
        check_shape(row, *at->second);
      }
    }
  }

  void add_missing(const ContractRow& row, std::optional<std::uint32_t> layer) {
    const TensorNames names = names_->names(row.names.role, layer);
    report_.problems.push_back({"contract.missing", names.in(report_.style.value_or(NameSpace::Gguf)),
                                "a tensor that the architecture needs is missing",
                                fmt::format("{} of shape {}", names.gguf, row.dims), "no such tensor", row.critical});
  }

  void check_shape(const ContractRow& row, const format::TensorInfo& tensor) {
    std::string shape;
    for (const std::int64_t n : tensor.shape) shape += (shape.empty() ? "" : ", ") + std::to_string(n);
    shape = "[" + shape + "]";
    if (shape != row.dims && row.dims.find('?') == std::string::npos)
      report_.problems.push_back({"contract.shape", std::string(tensor.name),
                                  "a tensor has another shape than the contract says", row.dims, shape, row.critical});
    else if (!tensor.readable)
      report_.problems.push_back({"contract.unreadable", std::string(tensor.name), "a tensor cannot be read",
                                  "a known type, wholly inside the file", shape, row.critical});
  }

  const format::ModelFile& file_;
  std::vector<Finding> findings_;
  model::HParams hparams_;
  std::optional<NameContract> names_;
  std::map<std::size_t, std::vector<const format::TensorInfo*>> tensors_;  // by role
  std::uint32_t n_layers_ = 0;
  bool sound_ = false;
  ContractReport report_;
};

}  // namespace

ContractReport contract_report(const format::ModelFile& model) { return Contract(model).run(); }

}  // namespace apr::inspect
