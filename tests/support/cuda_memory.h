// Buffers of the emulator for tests: poisoned at first, registered while they live.
#pragma once
#include <cstddef>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "apr/kernels/cuda_emulator.h"

namespace apr::test {

using kernels::cuda::Address;
using kernels::cuda::Emulator;
using kernels::cuda::MemoryKind;

template <class T>
class CudaBuffer {
 public:
  /// n elements of 0xFF bytes: NaN, or -1.
  CudaBuffer(Emulator& emulator, const std::string& name, std::size_t n, MemoryKind kind = MemoryKind::Mutable)
      : emulator_(emulator), data_(n) {
    std::memset(data_.data(), 0xFF, n * sizeof(T));
    emulator_.add(name, data_.data(), n * sizeof(T), kind);
  }
  CudaBuffer(Emulator& emulator, const std::string& name, std::vector<T> values, MemoryKind kind = MemoryKind::Constant)
      : emulator_(emulator), data_(std::move(values)) {
    emulator_.add(name, data_.data(), data_.size() * sizeof(T), kind);
  }
  ~CudaBuffer() { emulator_.remove(data_.data()); }
  CudaBuffer(const CudaBuffer&) = delete;
  CudaBuffer& operator=(const CudaBuffer&) = delete;

  [[nodiscard]] Address address() const { return reinterpret_cast<Address>(data_.data()); }
  [[nodiscard]] std::vector<T>& host() { return data_; }
  T& operator[](std::size_t i) { return data_[i]; }

 private:
  Emulator& emulator_;
  std::vector<T> data_;
};

inline std::vector<float> random_floats(std::size_t n, unsigned seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(n);
  for (float& value : values) value = normal(random);
  return values;
}

/// Activations of `n_columns` in emulated memory; what lies behind the width is zeros, as the engine allocates it.
struct CudaActivations {
  CudaBuffer<std::int8_t> q;
  CudaBuffer<float> d, s, x;
  std::int32_t stride;

  CudaActivations(Emulator& emulator, const std::string& name, std::int32_t n_cols, std::int32_t n_columns)
      : q(emulator, name + ".q", zeros<std::int8_t>(n_cols, n_columns, 1), MemoryKind::Mutable),
        d(emulator, name + ".d", zeros<float>(n_cols, n_columns, 32), MemoryKind::Mutable),
        s(emulator, name + ".s", zeros<float>(n_cols, n_columns, 32), MemoryKind::Mutable),
        x(emulator, name + ".x", zeros<float>(n_cols, n_columns, 1), MemoryKind::Mutable),
        stride((n_cols + 255) / 256 * 256) {}
  [[nodiscard]] kernels::cuda::Activations view() const {
    return {q.address(), d.address(), s.address(), x.address(), stride, 0};
  }

 private:
  template <class T>
  static std::vector<T> zeros(std::int32_t n_cols, std::int32_t n_columns, std::int32_t per) {
    return std::vector<T>(static_cast<std::size_t>((n_cols + 255) / 256 * 256 / per * n_columns));
  }
};

}  // namespace apr::test
