// Which tensors and entries of two files belong together, and what differs between them.
#include "apr/inspect/diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "apr/core/text.h"
#include "apr/inspect/contract.h"
#include "apr/model/hparams.h"
#include "src/inspect/diff_values.h"

namespace apr::inspect {
namespace {

using format::MetadataEntry;
using format::ModelFile;
using format::TensorInfo;
using format::Value;

constexpr std::size_t kTextLimit = 200;  // of a value in the report; longer ones are compared whole

/// A value as text, for the comparison across formats: integers of any width alike.
void append(std::string& out, const Value& value, std::uint64_t limit) {
  if (out.size() > limit) return;
  if (const auto v = value.as_string()) {
    out += '"';
    out += *v;
    out += '"';
  } else if (const auto flag = value.as_bool()) {
    out += *flag ? "true" : "false";
  } else if (const auto u = value.as_u64()) {
    out += std::to_string(*u);
  } else if (const auto i = value.as_i64()) {
    out += std::to_string(*i);
  } else if (const auto f = value.as_f64()) {
    out += fmt::format("{}", static_cast<float>(*f));
  } else if (const auto* object = value.as_object()) {
    out += object->text;
  } else if (const auto* array = value.as_array()) {
    out += '[';
    array->for_each([&](std::uint64_t index, const Value& element) {
      if (index > 0) out += ',';
      append(out, element, limit);
      return out.size() <= limit;
    });
    out += ']';
  } else {
    out += "null";
  }
}

std::string shown(const Value& value) {
  std::string text;
  append(text, value, kTextLimit);
  if (const auto* array = value.as_array(); array != nullptr && text.size() > kTextLimit)
    return fmt::format("array of {} {}: {}", array->count, name(array->element), escaped(text, kTextLimit));
  return escaped(text, kTextLimit);
}

bool same_value(const Value& a, const Value& b) {
  std::string left, right;
  append(left, a, ~0ULL);
  append(right, b, ~0ULL);
  return left == right;
}

void compare_metadata(const ModelFile& a, const ModelFile& b, DiffReport& report) {
  std::map<std::string_view, std::pair<const MetadataEntry*, const MetadataEntry*>> keys;
  for (const MetadataEntry& entry : a.metadata) keys[entry.key].first = &entry;
  for (const MetadataEntry& entry : b.metadata) keys[entry.key].second = &entry;
  for (const auto& [key, pair] : keys) {
    const auto& [left, right] = pair;
    if (left != nullptr && right != nullptr && same_value(left->value, right->value)) {
      ++report.n_metadata_same;
      continue;
    }
    MetadataDiff diff{escaped(key, kTextLimit), std::nullopt, std::nullopt};
    if (left != nullptr) diff.a = shown(left->value);
    if (right != nullptr) diff.b = shown(right->value);
    if (diff.a == diff.b && diff.a) *diff.b += " (differs further on)";
    report.metadata.push_back(std::move(diff));
  }
}

/// What one file says about itself, as far as the comparison needs it.
struct Side {
  explicit Side(const ModelFile& file) : model(file), contract("") {
    std::vector<Finding> ignored;
    hparams = model::parse_hparams(file, ignored);
    contract = NameContract(hparams.arch.empty() ? hparams.declared_arch : hparams.arch);
  }
  const ModelFile& model;
  model::HParams hparams;
  NameContract contract;
};

class Comparison {
 public:
  Comparison(const ModelFile& a, const ModelFile& b, const DiffOptions& options)
      : a_(a), b_(b), options_(options), pool_(options.n_threads) {
    // A file that says nothing about its architecture (SafeTensors without config.json) is named as the other one.
    if (a_.hparams.arch.empty()) a_.contract = b_.contract, a_.hparams = b_.hparams;
    if (b_.hparams.arch.empty()) b_.contract = a_.contract, b_.hparams = a_.hparams;
    for (const TensorInfo& tensor : a.tensors) total_ += tensor.readable ? tensor.size_bytes : 0;
    report_.format_a = name(a.format);
    report_.format_b = name(b.format);
  }

  DiffReport run() {
    compare_metadata(a_.model, b_.model, report_);
    std::map<std::string, const TensorInfo*> by_role;  // of the second file, by the GGUF name of the contract
    for (const TensorInfo& tensor : b_.model.tensors)
      if (const auto names = b_.contract.find(tensor.name)) by_role.emplace(names->gguf, &tensor);
    std::set<const TensorInfo*> taken;
    for (const TensorInfo& tensor : a_.model.tensors) {
      const TensorInfo* other = b_.model.find_tensor(tensor.name);
      const auto names = a_.contract.find(tensor.name);
      if (other == nullptr && names)
        if (const auto found = by_role.find(names->gguf); found != by_role.end()) other = found->second;
      if (other == nullptr || !taken.insert(other).second)
        report_.only_in_a.push_back(&tensor);
      else
        compare(tensor, *other, names);
      done_ += tensor.readable ? tensor.size_bytes : 0;
      if (options_.progress) options_.progress(done_, total_);
    }
    for (const TensorInfo& tensor : b_.model.tensors)
      if (taken.count(&tensor) == 0) report_.only_in_b.push_back(&tensor);
    return std::move(report_);
  }

 private:
  void compare(const TensorInfo& a, const TensorInfo& b, const std::optional<TensorNames>& names) {
    TensorDiff diff;
    diff.name_a = a.name;
    diff.name_b = b.name;
    diff.a = &a;
    diff.b = &b;
    diff.renamed = a.name != b.name;
    diff.type_changed = a.type != b.type || (a.type == TensorType::Unknown && a.raw_type != b.raw_type);
    diff.shape_changed = a.shape != b.shape;
    ValueView left{&a_.model, &a}, right{&b_.model, &b};
    if (names && diff.renamed) set_order(*names, diff, left, right);
    const TypeInfo* type = find_type(a.type);
    const bool same_storage = !diff.type_changed && !diff.shape_changed && !diff.permuted &&
                              diff.plus_a == diff.plus_b && a.readable && b.readable && a.size_bytes == b.size_bytes &&
                              type != nullptr && a_.model.byte_order == b_.model.byte_order;
    if (same_storage) {
      const auto x = a_.model.data(a), y = b_.model.data(b);
      diff.bytes = compare_bytes(x, y, type->block_bytes, pool_);
      report_.bytes_compared += x.size();
      if (diff.bytes->n_different != 0) diff.values = compare_values(left, right, pool_);
      release_pages(x);
      release_pages(y);
    } else {
      diff.values = compare_values(left, right, pool_);
      if (diff.values->not_compared_reason.empty()) report_.bytes_compared += a.size_bytes;
    }
    if (diff.same())
      ++report_.n_same;
    else
      report_.tensors.push_back(std::move(diff));
  }

  /// A tensor under a GGUF name holds rows in GGUF's order and whole norms; under a Hugging Face name it does not.
  void set_order(const TensorNames& names, TensorDiff& diff, ValueView& left, ValueView& right) const {
    const bool a_is_gguf = diff.name_a == names.gguf, b_is_gguf = diff.name_b == names.gguf;
    if (a_is_gguf == b_is_gguf) return;
    const auto row = names.role;
    const bool is_query = row == model::WeightRole::AttnQ || row == model::WeightRole::AttnQBias;
    const bool is_key = row == model::WeightRole::AttnK || row == model::WeightRole::AttnKBias;
    const std::uint64_t heads = is_query ? a_.hparams.n_heads : is_key ? a_.hparams.n_kv_heads : 0;
    const std::uint64_t rows = diff.a->shape.empty() ? 0 : static_cast<std::uint64_t>(diff.a->shape.front());
    if (a_.contract.permutes_query_and_key() && heads != 0 && rows % (2 * heads) == 0) {
      diff.permuted = true;
      left.as_column = right.as_column = diff.a->shape.size() == 1;
      (a_is_gguf ? left : right).permuted_heads = heads;
    }
    const bool is_norm = names.gguf.find("norm") != std::string::npos;
    if (!a_.contract.is_gemma() || !is_norm) return;
    (a_is_gguf ? diff.plus_b : diff.plus_a) = 1;
    left.plus = diff.plus_a;
    right.plus = diff.plus_b;
  }

  Side a_, b_;
  DiffOptions options_;
  ThreadPool pool_;
  DiffReport report_;
  std::uint64_t total_ = 0, done_ = 0;
};

}  // namespace

bool TensorDiff::same_values() const noexcept {
  if (shape_changed) return false;
  if (bytes) return bytes->n_different == 0;
  return values && values->not_compared_reason.empty() && values->n_different == 0;
}

bool TensorDiff::same() const noexcept { return !renamed && !type_changed && !shape_changed && same_values(); }

DiffReport diff(const ModelFile& a, const ModelFile& b, const DiffOptions& options) {
  return Comparison(a, b, options).run();
}

}  // namespace apr::inspect
