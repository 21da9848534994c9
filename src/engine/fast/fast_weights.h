// Weights as the fast executor uses them: matrices repacked into panels, vectors as f32.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "apr/core/thread_pool.h"
#include "apr/kernels/ops.h"
#include "apr/model/plan.h"

namespace apr::engine {

/// One matrix. Repacked, its rows stand as panels in the arena. Else they stay in the file and every panel is made as
/// it runs: of the type's own kernel where there is one (the same bits, slower), of f32 where not. Both are named in
/// FastWeights::notes().
struct FastMatrix {
  const model::Weight* weight = nullptr;
  const kernels::PanelKernels* kernel = nullptr;  // of its type; of F32 where the type has none
  std::uint64_t offset = 0;                       // of its first panel in the arena
  std::uint64_t panel_bytes = 0;
  std::int64_t n_panels = 0;
  bool native = false;  // the type has a kernel, and the rows fit it
  bool repacked = false;
};

class FastWeights {
 public:
  /// Decides the layout; load() does the work. The plan and the kernels must outlive it.
  FastWeights(const model::Plan& plan, const kernels::OpKernels& ops, bool repack);
  [[nodiscard]] std::uint64_t arena_bytes() const noexcept { return arena_bytes_; }
  [[nodiscard]] std::uint64_t mapped_bytes() const noexcept { return mapped_bytes_; }
  /// Repacks everything on the pool; pages of the file that are done with are given back.
  void load(ThreadPool& pool);

  [[nodiscard]] const FastMatrix& matrix(std::int32_t weight) const {
    return matrices_[static_cast<std::size_t>(weight)];
  }
  /// By weight; kernel null for vectors.
  [[nodiscard]] std::span<const FastMatrix> matrices() const noexcept { return matrices_; }
  /// A norm's weight or a bias as f32, or null.
  [[nodiscard]] const float* vector(std::int32_t weight) const;
  [[nodiscard]] const std::uint8_t* panel(const FastMatrix& m, std::int64_t index) const noexcept {
    return arena_.get() + m.offset + static_cast<std::uint64_t>(index) * m.panel_bytes;
  }
  /// Floats of scratch a thread needs for a matrix that is not repacked.
  [[nodiscard]] std::int64_t scratch_floats() const noexcept { return scratch_floats_; }
  /// Fills `scratch` with the panel `index` of a matrix that is not repacked.
  void make_panel(const FastMatrix& m, std::int64_t index, float* scratch) const;
  [[nodiscard]] const std::vector<std::string>& notes() const noexcept { return notes_; }

 private:
  const model::Plan& plan_;
  const kernels::OpKernels& ops_;
  std::vector<FastMatrix> matrices_;         // by weight
  std::vector<std::vector<float>> vectors_;  // by weight; empty for matrices
  std::unique_ptr<std::uint8_t[], void (*)(std::uint8_t*)> arena_;
  std::uint64_t arena_bytes_ = 0, mapped_bytes_ = 0;
  std::int64_t scratch_floats_ = 0;
  std::vector<std::string> notes_;
};

}  // namespace apr::engine
