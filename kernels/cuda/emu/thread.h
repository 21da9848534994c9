// The host side of shim.h: what a kernel calls when the emulator runs it. Every function acts for the running fiber.
#pragma once
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#define APR_DEVICE [[maybe_unused]] static inline
#define APR_KERNEL(name, Params, threads, blocks) static void apr_##name(const Params& p)
#define APR_METHOD
#define APR_UNROLL
#define APR_UNROLL_2
#define APR_UNROLL_1

namespace apr::kernels::cuda {
namespace emu {

struct Region;

// Implemented by emulator.cpp.
[[nodiscard]] Region* find_region(std::uintptr_t address);
[[nodiscard]] Region* shared_region();
[[nodiscard]] std::uintptr_t shared_base();
void on_read(Region* region, std::uintptr_t address, std::size_t bytes);
void on_write(Region* region, std::uintptr_t address, std::size_t bytes);
void on_prefetch(Region* region, std::uintptr_t address);
struct Ids {
  int thread, block[3], grid[3], n_threads;
};
[[nodiscard]] const Ids& ids();
void block_barrier();
void memory_fence();
void dependency_wait();
[[nodiscard]] std::uint64_t tick();
[[nodiscard]] std::uint64_t& noted_tick(int which);
void atomic_lowest(Region* region, std::uintptr_t address, std::uint64_t value);
std::uint32_t atomic_add(Region* region, std::uintptr_t address, std::uint32_t value);
/// A copy of 16 bytes (from null: of zeros) that is done when its thread waits for it and no earlier: until then what
/// it will overwrite is poison.
void start_copy(Region* to, std::uintptr_t to_address, Region* from, std::uintptr_t from_address);
void finish_copies();

/// All 32 lanes of the warp meet; the last one to arrive runs `combine` on what each lane brought.
enum class Collective { Sync, ShuffleXor, Shuffle, Ballot, MmaK32, MmaK16, Mma8, MmaF16, LoadMatrices };
void collective(Collective kind, void* lane_data, void (*combine)(void** lanes));

template <class T>
class Reference {
 public:
  Reference(Region* region, T* at) : region_(region), at_(at) {}
  Reference(const Reference&) = default;
  operator std::remove_const_t<T>() const {  // NOLINT: reads like the element
    on_read(region_, reinterpret_cast<std::uintptr_t>(at_), sizeof(T));
    return *at_;
  }
  const Reference& operator=(std::remove_const_t<T> value) const {
    on_write(region_, reinterpret_cast<std::uintptr_t>(at_), sizeof(T));
    *at_ = value;
    return *this;
  }
  const Reference& operator=(const Reference& other) const {
    return *this = static_cast<std::remove_const_t<T>>(other);
  }
  const Reference& operator+=(std::remove_const_t<T> value) const {
    return *this = static_cast<std::remove_const_t<T>>(static_cast<std::remove_const_t<T>>(*this) + value);
  }

 private:
  Region* region_;
  T* at_;
};

}  // namespace emu

/// A pointer that knows which buffer it came from and cannot leave it.
template <class T>
class Pointer {
 public:
  Pointer() = default;
  Pointer(emu::Region* region, T* at) : region_(region), at_(at) {}
  template <class U, class = std::enable_if_t<std::is_same_v<const U, T>>>
  Pointer(const Pointer<U>& other) : region_(other.region()), at_(other.get()) {}  // NOLINT: T* -> const T*
  template <class Index>
  emu::Reference<T> operator[](Index i) const {
    return {region_, moved(static_cast<std::int64_t>(i))};
  }
  emu::Reference<T> operator*() const { return {region_, at_}; }
  template <class Index>
  Pointer operator+(Index i) const {
    return {region_, moved(static_cast<std::int64_t>(i))};
  }
  [[nodiscard]] emu::Region* region() const { return region_; }
  [[nodiscard]] T* get() const { return at_; }

 private:
  [[nodiscard]] T* moved(std::int64_t elements) const {  // by integer arithmetic: it may lie outside until it is used
    return reinterpret_cast<T*>(reinterpret_cast<std::uintptr_t>(at_) +
                                static_cast<std::uintptr_t>(elements * static_cast<std::int64_t>(sizeof(T))));
  }
  emu::Region* region_ = nullptr;
  T* at_ = nullptr;
};
template <class T>
using Global = Pointer<T>;
template <class T>
using Shared = Pointer<T>;

template <class T>
Pointer<T> global(std::uint64_t address) {
  if (address == 0) return {};
  return {emu::find_region(static_cast<std::uintptr_t>(address)),
          reinterpret_cast<T*>(static_cast<std::uintptr_t>(address))};
}
template <class T>
Pointer<T> shared(int offset) {
  return {emu::shared_region(), reinterpret_cast<T*>(emu::shared_base() + static_cast<std::uintptr_t>(offset))};
}
template <class U, class T>
Pointer<U> cast(const Pointer<T>& p) {
  return {p.region(), reinterpret_cast<U*>(reinterpret_cast<std::uintptr_t>(p.get()))};
}
template <class T>
bool given(const Pointer<T>& p) {
  return p.get() != nullptr;
}

inline int thread() { return emu::ids().thread; }
inline int lane() { return emu::ids().thread & 31; }
inline int warp() { return emu::ids().thread >> 5; }
inline int n_threads() { return emu::ids().n_threads; }
inline int block_x() { return emu::ids().block[0]; }
inline int block_y() { return emu::ids().block[1]; }
inline int block_z() { return emu::ids().block[2]; }
inline int grid_x() { return emu::ids().grid[0]; }

inline void sync() { emu::block_barrier(); }
inline void fence() { emu::memory_fence(); }
inline void wait_early() { emu::dependency_wait(); }
inline void allow_early() {}
inline std::uint64_t now() { return emu::tick(); }
inline std::uint64_t noted_time(int which) { return emu::noted_tick(which); }
inline void note_time(int which, std::uint64_t tick) {
  if (thread() != 0) return;
  if (which == 0) emu::noted_tick(0) = tick;
  emu::noted_tick(1) = tick;
}
inline void atomic_lowest(const Pointer<std::uint64_t>& p, std::uint64_t value) {
  emu::atomic_lowest(p.region(), reinterpret_cast<std::uintptr_t>(p.get()), value);
}
inline void sync_warp() {
  emu::collective(emu::Collective::Sync, nullptr, [](void**) {});
}

template <class T>
T shuffle_xor(T value, int mask) {
  struct Lane {
    T in, out;
    int mask;
  } lane{value, value, mask};
  emu::collective(emu::Collective::ShuffleXor, &lane, [](void** lanes) {
    for (int i = 0; i < 32; ++i) {
      auto* own = static_cast<Lane*>(lanes[i]);
      own->out = static_cast<Lane*>(lanes[(i ^ own->mask) & 31])->in;
    }
  });
  return lane.out;
}
template <class T>
T shuffle(T value, int from) {
  struct Lane {
    T in, out;
    int from;
  } lane{value, value, from};
  emu::collective(emu::Collective::Shuffle, &lane, [](void** lanes) {
    for (int i = 0; i < 32; ++i) {
      auto* own = static_cast<Lane*>(lanes[i]);
      own->out = static_cast<Lane*>(lanes[own->from & 31])->in;
    }
  });
  return lane.out;
}
inline std::uint32_t ballot(bool value) {
  std::uint32_t bits = value ? 1 : 0;
  emu::collective(emu::Collective::Ballot, &bits, [](void** lanes) {
    std::uint32_t all = 0;
    for (unsigned i = 0; i < 32; ++i) all |= *static_cast<std::uint32_t*>(lanes[i]) << i;
    for (unsigned i = 0; i < 32; ++i) *static_cast<std::uint32_t*>(lanes[i]) = all;
  });
  return bits;
}
inline std::uint32_t atomic_add(const Pointer<std::uint32_t>& p, std::uint32_t value) {
  return emu::atomic_add(p.region(), reinterpret_cast<std::uintptr_t>(p.get()), value);
}
template <class T>
void prefetch(const Pointer<T>& p) {
  emu::on_prefetch(p.region(), reinterpret_cast<std::uintptr_t>(p.get()));
}
template <class T>
std::remove_const_t<T> load_stream(const Pointer<T>& p) {
  return *p;
}

inline float fused(float a, float b, float c) { return std::fma(a, b, c); }
float half_to_float(std::uint32_t bits);
std::uint32_t float_to_half(float x);
inline float as_float(std::uint32_t bits) { return std::bit_cast<float>(bits); }
inline std::uint32_t as_bits(float x) { return std::bit_cast<std::uint32_t>(x); }
inline double as_double(std::uint64_t bits) { return std::bit_cast<double>(bits); }
inline std::uint64_t as_bits(double x) { return std::bit_cast<std::uint64_t>(x); }
inline int round_even(float x) {  // saturates, and NaN becomes 0, as the device's conversion does
  const float rounded = std::nearbyint(x);
  if (rounded != rounded) return 0;
  return rounded >= 0x1p31F ? INT32_MAX : rounded < -0x1p31F ? INT32_MIN : static_cast<int>(rounded);
}
inline int popcount(std::uint32_t x) { return std::popcount(x); }
inline float exponential(float x) { return std::exp(x); }
inline double exponential(double x) { return std::exp(x); }
inline double logarithm(double x) { return std::log(x); }
inline float square_root(float x) { return std::sqrt(x); }
inline float highest(float a, float b) { return std::fmax(a, b); }
inline float exponential2(float x) {
  const float y = std::exp2(x);
  return std::fpclassify(y) == FP_SUBNORMAL ? 0.0F : y;
}
inline std::uint32_t pack_halves(float low, float high) { return float_to_half(low) | float_to_half(high) << 16; }

inline void copy_async(const Pointer<Word4>& to, const Pointer<const Word4>& from, bool exists) {
  emu::start_copy(to.region(), reinterpret_cast<std::uintptr_t>(to.get()), exists ? from.region() : nullptr,
                  reinterpret_cast<std::uintptr_t>(from.get()));
}
inline void await_copies() { emu::finish_copies(); }

namespace emu {

/// The fragments of one lane; PTX ISA: groupID = lane / 4, threadID = lane % 4.
struct MmaLane {
  std::uint32_t a[4], b[2];
  int* c;
};
template <bool Signed, int Depth>
void multiply(void** lanes) {
  for (int row = 0; row < 16; ++row) {
    for (int col = 0; col < 8; ++col) {
      int sum = 0;
      for (int k = 0; k < Depth; ++k) {
        const auto* a = static_cast<const MmaLane*>(lanes[4 * (row % 8) + k % 16 / 4]);
        const auto* b = static_cast<const MmaLane*>(lanes[4 * col + k % 16 / 4]);
        const std::uint32_t x = a->a[row / 8 + 2 * (k / 16)] >> (8 * (k % 4)) & 0xFF;
        const std::uint32_t y = b->b[k / 16] >> (8 * (k % 4)) & 0xFF;
        const int left = Signed ? static_cast<std::int8_t>(x) : static_cast<int>(x);
        sum += left * static_cast<std::int8_t>(y);
      }
      static_cast<MmaLane*>(lanes[4 * (row % 8) + col / 2])->c[2 * (row / 8) + col % 2] += sum;
    }
  }
}

template <bool Signed>
void multiply_8x8x16(void** lanes) {
  for (int row = 0; row < 8; ++row) {
    for (int col = 0; col < 8; ++col) {
      int sum = 0;
      for (int k = 0; k < 16; ++k) {
        const std::uint32_t x = static_cast<const MmaLane*>(lanes[4 * row + k / 4])->a[0] >> (8 * (k % 4)) & 0xFF;
        const std::uint32_t y = static_cast<const MmaLane*>(lanes[4 * col + k / 4])->b[0] >> (8 * (k % 4)) & 0xFF;
        sum += (Signed ? static_cast<std::int8_t>(x) : static_cast<int>(x)) * static_cast<std::int8_t>(y);
      }
      static_cast<MmaLane*>(lanes[4 * row + col / 2])->c[col % 2] += sum;
    }
  }
}

struct MmaF16Lane {
  std::uint32_t a[4], b[2];
  float* c;
};
/// The sum of a product in double, rounded once: a device rounds it in between, in a way that is not documented.
template <int Depth>
void multiply_f16(void** lanes) {
  const auto half = [](std::uint32_t word, int i) {
    return static_cast<double>(half_to_float(word >> 16 * i & 0xFFFF));
  };
  double left[16][Depth], right[8][Depth];
  for (int k = 0; k < Depth; ++k) {
    for (int row = 0; row < 16; ++row) {
      const auto* lane = static_cast<const MmaF16Lane*>(lanes[4 * (row % 8) + k % 8 / 2]);
      left[row][k] = half(lane->a[row / 8 + 2 * (k / 8)], k % 2);
    }
    for (int col = 0; col < 8; ++col) {
      const auto* lane = static_cast<const MmaF16Lane*>(lanes[4 * col + k % 8 / 2]);
      right[col][k] = half(lane->b[k / 8], k % 2);
    }
  }
  for (int row = 0; row < 16; ++row) {
    for (int col = 0; col < 8; ++col) {
      float& c = static_cast<MmaF16Lane*>(lanes[4 * (row % 8) + col / 2])->c[2 * (row / 8) + col % 2];
      double sum = static_cast<double>(c);
      for (int k = 0; k < Depth; ++k) sum += left[row][k] * right[col][k];
      c = static_cast<float>(sum);
    }
  }
}

struct MatrixLane {
  std::array<std::uint16_t, 8> row;
  std::uint32_t* m;
};
template <bool Turned>
void deal_matrices(void** lanes) {
  for (int lane = 0; lane < 32; ++lane) {
    for (int j = 0; j < 4; ++j) {
      const auto element = [&](int row, int i) {
        return std::uint32_t{static_cast<const MatrixLane*>(lanes[8 * j + row])->row[static_cast<std::size_t>(i)]};
      };
      const int g = lane / 4, t = lane % 4;
      static_cast<MatrixLane*>(lanes[lane])->m[j] =
          Turned ? element(2 * t, g) | element(2 * t + 1, g) << 16 : element(g, 2 * t) | element(g, 2 * t + 1) << 16;
    }
  }
}
template <bool Turned>
void load_matrices(const Pointer<const std::uint16_t>& row, std::uint32_t (&m)[4]) {
  const Word4 words = *cast<const Word4>(row);
  MatrixLane lane{std::bit_cast<std::array<std::uint16_t, 8>>(words), m};
  collective(Collective::LoadMatrices, &lane, deal_matrices<Turned>);
}

}  // namespace emu

inline void load_matrices(const Pointer<const std::uint16_t>& row, std::uint32_t (&m)[4]) {
  emu::load_matrices<false>(row, m);
}
inline void load_matrices_turned(const Pointer<const std::uint16_t>& row, std::uint32_t (&m)[4]) {
  emu::load_matrices<true>(row, m);
}
inline void mma_f16(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  emu::MmaF16Lane lane{{a[0], a[1], a[2], a[3]}, {b0, b1}, c};
  emu::collective(emu::Collective::MmaF16, &lane, emu::multiply_f16<16>);
}
inline void mma_f16_k8(float (&c)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t b0) {
  emu::MmaF16Lane lane{{a0, a1, 0, 0}, {b0, 0}, c};
  emu::collective(emu::Collective::MmaF16, &lane, emu::multiply_f16<8>);
}
template <bool Signed>
void mma_8x8x16(int& c0, int& c1, std::uint32_t a, std::uint32_t b) {
  int c[2] = {c0, c1};
  emu::MmaLane lane{{a, 0, 0, 0}, {b, 0}, c};
  emu::collective(emu::Collective::Mma8, &lane, emu::multiply_8x8x16<Signed>);
  c0 = c[0];
  c1 = c[1];
}
template <bool Signed>
void mma_k32(int (&c)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t a2, std::uint32_t a3, std::uint32_t b0,
             std::uint32_t b1) {
  emu::MmaLane lane{{a0, a1, a2, a3}, {b0, b1}, c};
  emu::collective(emu::Collective::MmaK32, &lane, emu::multiply<Signed, 32>);
}
inline void mma_k16(int (&c)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t b0) {
  emu::MmaLane lane{{a0, a1, 0, 0}, {b0, 0}, c};
  emu::collective(emu::Collective::MmaK16, &lane, emu::multiply<true, 16>);
}

}  // namespace apr::kernels::cuda
#include "kernels/cuda/mma_parts.h"  // of no kernel here; its equality with the wide products is under test
