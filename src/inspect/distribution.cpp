#include "apr/inspect/distribution.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>

#include "apr/core/text.h"
#include "apr/core/thread_pool.h"
#include "apr/diag/diag.h"
#include "apr/inspect/address.h"
#include "apr/kernels/dispatch.h"
#include "apr/kernels/scan.h"
#include "src/inspect/code_counter.h"

namespace apr::inspect {
namespace {

using format::ModelFile;
using format::TensorInfo;

constexpr std::uint64_t kChunkElements = 1U << 14;  // as f32 they stay in a core's second-level cache
constexpr std::size_t kValueCounts = 1U << 16;      // one per bf16

/// Rows of a chunk: whole blocks, and whole rows where rows are padded.
struct Chunks {
  BlockGrid grid;
  bool padded = false;
  std::uint64_t blocks_per_chunk = 1, n = 0;
};

/// Nothing, with a reason, for a tensor that has no values here.
std::optional<Chunks> chunks_of(const TensorInfo& tensor, std::string& reason) {
  const auto grid = block_grid(tensor);
  const TypeInfo* type = find_type(tensor.type);
  if (!grid) {
    reason = tensor.readable ? "it has no elements" : "its type or range is not sound";
    return std::nullopt;
  }
  if (tensor.type != TensorType::AprQ8 && kernels::dequantizer(tensor.type) == nullptr) {
    reason = fmt::format("{} has no numeric form here", type->name);
    return std::nullopt;
  }
  Chunks chunks{*grid, grid->stored_row_elements != grid->row_elements, 1, 0};
  const std::uint64_t row_blocks = grid->stored_row_elements / type->block_elements;
  chunks.blocks_per_chunk = std::max<std::uint64_t>(1, kChunkElements / type->block_elements);
  if (chunks.padded)
    chunks.blocks_per_chunk = std::max<std::uint64_t>(1, chunks.blocks_per_chunk / row_blocks) * row_blocks;
  chunks.n = (grid->n_blocks + chunks.blocks_per_chunk - 1) / chunks.blocks_per_chunk;
  return chunks;
}

/// How often each bf16 occurs. Neighbours go to two tables: one would wait for itself where they are equal.
class ValueCounts {
 public:
  void add(std::span<const float> values) {
    if (values.size() > kMost - n_) fold();
    n_ += values.size();
    std::uint32_t* even = few_.data();
    std::uint32_t* odd = even + kValueCounts;
    std::size_t i = 0;
    for (; i + 2 <= values.size(); i += 2) {
      ++even[bf16_bits(values[i])];
      ++odd[bf16_bits(values[i + 1])];
    }
    if (i < values.size()) ++even[bf16_bits(values[i])];
  }
  /// Adds them to `sums` and starts anew.
  void take(std::vector<std::uint64_t>& sums) {
    fold();
    for (std::size_t i = 0; i < kValueCounts; ++i) sums[i] += many_[i];
    std::fill(many_.begin(), many_.end(), 0);
  }

 private:
  static constexpr std::size_t kMost = UINT32_MAX;
  static std::uint32_t bf16_bits(float v) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &v, 4);
    return bits >> 16;
  }
  void fold() {
    if (n_ == 0) return;
    for (std::size_t i = 0; i < kValueCounts; ++i) many_[i] += std::uint64_t{few_[i]} + few_[kValueCounts + i];
    std::fill(few_.begin(), few_.end(), 0);
    n_ = 0;
  }
  std::vector<std::uint32_t> few_ = std::vector<std::uint32_t>(2 * kValueCounts);
  std::vector<std::uint64_t> many_ = std::vector<std::uint64_t>(kValueCounts);
  std::size_t n_ = 0;  // counted in few_
};

/// Buffers and counts of one thread.
struct Workspace {
  std::vector<std::byte> swapped;
  std::vector<float> values;
  ValueCounts value_counts;
  std::vector<std::uint64_t> codes;
};

/// The values of one chunk, without padding, and its blocks in little-endian order.
struct ChunkData {
  std::span<const std::byte> blocks;
  std::span<const float> values;
  std::uint64_t first_stored = 0;  // storage number of the chunk's first element
};

ChunkData read_chunk(const ModelFile& model, const TensorInfo& tensor, const Chunks& chunks, std::uint64_t c,
                     Workspace& w) {
  const TypeInfo& type = *chunks.grid.type;
  const std::uint64_t first = c * chunks.blocks_per_chunk,
                      n = std::min(chunks.blocks_per_chunk, chunks.grid.n_blocks - first);
  const auto data = model.data(tensor);
  ChunkData chunk;
  chunk.blocks = data.subspan(chunks.grid.first_byte + first * type.block_bytes, n * type.block_bytes);
  chunk.first_stored = first * type.block_elements;
  if (model.byte_order != std::endian::little) {
    w.swapped.assign(chunk.blocks.begin(), chunk.blocks.end());
    swap_block_bytes(type, w.swapped);
    chunk.blocks = w.swapped;
  }
  std::uint64_t n_values = n * type.block_elements;
  w.values.resize(n_values);
  if (type.type == TensorType::AprQ8)
    APR_CHECK(kernels::decode(type.type, data, chunk.first_stored, w.values));
  else
    kernels::dequantizer(type.type)(chunk.blocks.data(), w.values.data(), static_cast<std::int64_t>(n));
  if (chunks.padded) {  // close the gaps
    const std::uint64_t stored = chunks.grid.stored_row_elements, row = chunks.grid.row_elements;
    for (std::uint64_t r = 0; r * stored < n_values; ++r)
      std::memmove(w.values.data() + r * row, w.values.data() + r * stored, row * sizeof(float));
    n_values = n_values / stored * row;
  }
  const std::uint64_t element = chunks.padded
                                    ? chunk.first_stored / chunks.grid.stored_row_elements * chunks.grid.row_elements
                                    : chunk.first_stored;
  n_values = std::min(n_values, tensor.n_elements - std::min(element, tensor.n_elements));  // AprQ4 pads its last block
  chunk.values = std::span<const float>(w.values).first(n_values);
  return chunk;
}

struct ChunkResult {
  diag::Moments moments;
  float abs_max = -1;  // below 0: no finite value
};

float finite_magnitude(float v) { return std::isfinite(v) ? std::fabs(v) : -1.0F; }

float abs_max_of(std::span<const float> values) {
  constexpr std::uint32_t kInfinity = 0x7F800000;
  if (values.empty()) return -1;
  const auto bits = kernels::active_scan().max_abs_32(reinterpret_cast<const std::uint8_t*>(values.data()),
                                                      static_cast<std::int64_t>(values.size()));
  float most = -1;
  if (bits < kInfinity)
    std::memcpy(&most, &bits, 4);
  else
    for (const float v : values) most = std::max(most, finite_magnitude(v));
  return most;
}

/// Runs `work(chunk, stripe)` over all chunks; a stripe is one thread's share.
void for_chunks(ThreadPool& pool, std::uint64_t n_chunks, const std::function<void(std::uint64_t, std::size_t)>& work) {
  const std::uint64_t n_stripes = std::min<std::uint64_t>(pool.size(), n_chunks);
  const auto stripe = [&](std::uint64_t s) {
    for (std::uint64_t c = n_chunks * s / n_stripes; c < n_chunks * (s + 1) / n_stripes; ++c) {
      check_interrupted();
      work(c, static_cast<std::size_t>(s));
    }
  };
  if (n_stripes == 1)
    stripe(0);
  else if (n_stripes > 1)
    pool.parallel_for(n_stripes, stripe);
}

double entropy_of(std::span<const std::uint64_t> counts) {
  double total = 0, sum = 0;
  for (const std::uint64_t n : counts) {
    total += static_cast<double>(n);
    if (n > 1) sum += static_cast<double>(n) * std::log2(static_cast<double>(n));
  }
  return total > 0 ? std::max(0.0, std::log2(total) - sum / total) : 0;
}

/// Adds one tensor to a distribution.
class Collector {
 public:
  /// `workspaces`: one for each thread of the pool, to be used again.
  Collector(const ModelFile& model, ThreadPool& pool, std::vector<Workspace>& workspaces, Distribution& out)
      : model_(model), pool_(pool), workspaces_(workspaces), out_(out) {}
  void add(std::size_t index);
  void finish();

 private:
  void take_codes(const TypeInfo& type);
  const ModelFile& model_;
  ThreadPool& pool_;
  std::vector<Workspace>& workspaces_;
  Distribution& out_;
  std::vector<std::uint64_t> values_ = std::vector<std::uint64_t>(kValueCounts), codes_;
  std::optional<TensorType> code_type_;
  bool codes_differ_ = false;
};

void Collector::add(std::size_t index) {
  const TensorInfo& tensor = model_.tensors[index];
  std::string reason;
  const auto chunks = chunks_of(tensor, reason);
  if (!chunks) {
    if (tensor.n_elements > 0 || !tensor.readable) out_.unread.push_back({index, std::move(reason)});
    return;
  }
  const std::string type_name(chunks->grid.type->name);
  if (std::find(out_.types.begin(), out_.types.end(), type_name) == out_.types.end()) out_.types.push_back(type_name);
  const CodeCounter counter(*chunks->grid.type);
  std::vector<ChunkResult> results(chunks->n);
  for (Workspace& w : workspaces_) w.codes.assign(counter.n_codes(), 0);
  for_chunks(pool_, chunks->n, [&](std::uint64_t c, std::size_t stripe) {
    const ChunkData chunk = read_chunk(model_, tensor, *chunks, c, workspaces_[stripe]);
    results[c].moments.add(chunk.values);
    results[c].abs_max = abs_max_of(chunk.values);
    workspaces_[stripe].value_counts.add(chunk.values);
    counter.count(chunk.blocks, workspaces_[stripe].codes);
  });
  for (std::size_t s = 0; s < std::min<std::size_t>(workspaces_.size(), chunks->n); ++s)
    workspaces_[s].value_counts.take(values_);
  take_codes(*chunks->grid.type);
  float best = -1;
  std::uint64_t best_chunk = 0;
  for (std::uint64_t c = 0; c < chunks->n; ++c) {
    out_.moments.merge(results[c].moments);
    if (results[c].abs_max > best) best = results[c].abs_max, best_chunk = c;
  }
  if (best >= 0 && (!out_.abs_max || static_cast<double>(best) > std::fabs(out_.abs_max->value))) {
    const ChunkData chunk = read_chunk(model_, tensor, *chunks, best_chunk, workspaces_[0]);
    const auto at =
        std::find_if(chunk.values.begin(), chunk.values.end(), [&](float v) { return finite_magnitude(v) == best; });
    APR_CHECK(at != chunk.values.end());
    const std::uint64_t first = chunk.first_stored / chunks->grid.stored_row_elements * chunks->grid.row_elements +
                                chunk.first_stored % chunks->grid.stored_row_elements;
    const std::uint64_t element = first + static_cast<std::uint64_t>(at - chunk.values.begin());
    ExtremePlace place{index, element, {}, 0, static_cast<double>(*at)};
    place.index = element_index(tensor, element);
    place.offset = tensor.offset + chunks->grid.first_byte +
                   chunks->grid.stored(element) / chunks->grid.type->block_elements * chunks->grid.type->block_bytes;
    out_.abs_max = std::move(place);
  }
  out_.n_elements += tensor.n_elements;
  out_.size_bytes += tensor.size_bytes;
}

void Collector::take_codes(const TypeInfo& type) {
  if (code_type_ && *code_type_ != type.type) codes_differ_ = true;
  code_type_ = type.type;
  for (const Workspace& w : workspaces_) {
    codes_.resize(std::max(codes_.size(), w.codes.size()));
    for (std::size_t i = 0; i < w.codes.size(); ++i) codes_[i] += w.codes[i];
  }
}

void Collector::finish() {
  out_.value_entropy = entropy_of(values_);
  if (codes_differ_ || !code_type_) return;
  const CodeCounter counter(*find_type(*code_type_));
  if (counter.n_codes() == 0) return;
  out_.code_bits = counter.code_bits();
  out_.code_entropy = entropy_of(codes_);
}

void add_histogram(const ModelFile& model, ThreadPool& pool, std::vector<Workspace>& workspaces, std::uint32_t bins,
                   Distribution& out, const std::function<void(std::uint64_t)>& bytes_done) {
  Histogram h{out.moments.min, out.moments.max, std::vector<std::uint64_t>(bins)};
  const double width = h.high - h.low, scale = width > 0 ? bins / width : 0;
  for (const std::size_t index : out.tensors) {
    const TensorInfo& tensor = model.tensors[index];
    std::string reason;
    const auto chunks = chunks_of(tensor, reason);
    if (!chunks) continue;
    const std::size_t n_stripes = std::min<std::uint64_t>(pool.size(), chunks->n);
    std::vector<std::vector<std::uint64_t>> counts(n_stripes, std::vector<std::uint64_t>(bins));
    for_chunks(pool, chunks->n, [&](std::uint64_t c, std::size_t stripe) {
      for (const float v : read_chunk(model, tensor, *chunks, c, workspaces[stripe]).values) {
        if (!std::isfinite(v)) continue;
        const double at = (static_cast<double>(v) - h.low) * scale;
        ++counts[stripe][std::min<std::size_t>(bins - 1, at > 0 ? static_cast<std::size_t>(at) : 0)];
      }
    });
    for (const auto& part : counts)
      for (std::uint32_t b = 0; b < bins; ++b) h.counts[b] += part[b];
    bytes_done(tensor.size_bytes);
  }
  out.histogram = std::move(h);
}

/// Tells the progress of one pass or two over the tensors.
struct Tally {
  const DistributionOptions& options;
  std::uint64_t total = 0, done = 0;
  void add(std::uint64_t bytes) {
    done += bytes;
    if (options.progress) options.progress(std::min(done, total), total);
  }
};

Tally tally_of(const ModelFile& model, const std::vector<std::size_t>& tensors, const DistributionOptions& options) {
  Tally tally{options};
  for (const std::size_t i : tensors) tally.total += model.tensors[i].readable ? model.tensors[i].size_bytes : 0;
  if (options.bins > 0) tally.total *= 2;
  return tally;
}

Distribution collect(const ModelFile& model, std::string label, std::vector<std::size_t> tensors, ThreadPool& pool,
                     std::vector<Workspace>& workspaces, Tally& tally) {
  Distribution out;
  out.label = std::move(label);
  out.tensors = std::move(tensors);
  Collector collector(model, pool, workspaces, out);
  for (const std::size_t i : out.tensors) {
    collector.add(i);
    release_pages(model.tensors[i].readable ? model.data(model.tensors[i]) : std::span<const std::byte>{});
    tally.add(model.tensors[i].readable ? model.tensors[i].size_bytes : 0);
  }
  collector.finish();
  if (tally.options.bins > 0 && out.moments.n > 0)
    add_histogram(model, pool, workspaces, tally.options.bins, out, [&](std::uint64_t bytes) { tally.add(bytes); });
  return out;
}

}  // namespace

double Distribution::std_deviation() const {
  return moments.n == 0 ? 0 : std::sqrt(moments.m2 / static_cast<double>(moments.n));
}

std::optional<double> Distribution::skewness() const {
  const double n = static_cast<double>(moments.n), variance = moments.m2 / n;
  if (moments.n == 0 || !(variance > 0)) return std::nullopt;
  return moments.m3 / n / (variance * std::sqrt(variance));
}

std::optional<double> Distribution::excess_kurtosis() const {
  const double n = static_cast<double>(moments.n), variance = moments.m2 / n;
  if (moments.n == 0 || !(variance > 0)) return std::nullopt;
  return moments.m4 / n / (variance * variance) - 3;
}

Distribution distribution_of(const ModelFile& model, std::string label, std::vector<std::size_t> tensors,
                             const DistributionOptions& options) {
  ThreadPool pool(options.n_threads);
  Tally tally = tally_of(model, tensors, options);
  std::vector<Workspace> workspaces(pool.size());
  return collect(model, std::move(label), std::move(tensors), pool, workspaces, tally);
}

std::vector<Distribution> distributions(const ModelFile& model, const std::vector<std::size_t>& tensors,
                                        const DistributionOptions& options) {
  ThreadPool pool(options.n_threads);
  Tally tally = tally_of(model, tensors, options);
  std::vector<Workspace> workspaces(pool.size());
  std::vector<Distribution> out;
  for (const std::size_t i : tensors)
    out.push_back(collect(model, std::string(model.tensors[i].name), {i}, pool, workspaces, tally));
  return out;
}

std::vector<RoleGroup> select_roles(const ModelFile& model, const std::string& word) {
  std::vector<RoleGroup> groups;
  std::map<std::string, std::size_t> place;
  for (std::size_t i = 0; i < model.tensors.size(); ++i) {
    std::string role = diag::role_of(model.tensors[i].name).role;
    const auto [at, added] = place.insert({role, groups.size()});
    if (added) groups.push_back({std::move(role), {}});
    groups[at->second].tensors.push_back(i);
  }
  const auto selected = [&](const std::string& role) {
    return role == word || (!word.empty() && ("." + role + ".").find("." + word + ".") != std::string::npos);
  };
  std::vector<RoleGroup> chosen;
  for (const RoleGroup& group : groups)
    if (selected(group.role)) chosen.push_back(group);
  if (!chosen.empty()) return chosen;
  std::vector<std::string_view> names;
  for (const RoleGroup& group : groups) names.push_back(group.role);
  std::string hint;
  for (const std::string& near : nearest(word, names))
    hint += fmt::format("{}{}", hint.empty() ? "nearest: " : ", ", near);
  throw Error(ErrorCode::ValidationFailed, fmt::format("no tensor has this role, of {} roles", groups.size()))
      .at(model.path)
      .in("--role")
      .got(word)
      .help(hint.empty() ? "apr hex FILE --list shows the names; a role is a name with its layer number as *" : hint);
}

std::vector<std::size_t> chosen_tensors(const ModelFile& model, const std::optional<std::string>& pattern,
                                        const std::optional<std::string>& role) {
  if (role && pattern)
    throw Error(ErrorCode::Usage, "--role and --tensor exclude each other")
        .help("a role is a name with its layer number as *");
  if (pattern) return select_tensors(model, *pattern);
  std::vector<std::size_t> chosen;
  if (!role)
    for (std::size_t i = 0; i < model.tensors.size(); ++i) chosen.push_back(i);
  else
    for (const RoleGroup& group : select_roles(model, *role))
      chosen.insert(chosen.end(), group.tensors.begin(), group.tensors.end());
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

}  // namespace apr::inspect
