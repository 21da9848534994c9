// The emulator turns red: copies of kernels with one barrier, one bounds test or one wait removed, and wrong launches.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "apr/core/error.h"
#include "apr/kernels/cuda_emulator.h"
#include "apr/kernels/dispatch.h"
#include "kernels/cuda/common.cuh"
#include "tests/support/cuda_memory.h"

namespace apr::kernels::cuda {
namespace {

using test::CudaBuffer;

/// What is left out of the copy of a kernel.
enum class Broken {
  Nothing,
  Barrier,
  SecondBarrier,
  Bounds,
  Wait,
  WarpBarrier,
  OneThreadSkips,
  OneLaneSkips,
  Fence,
  Ticket,
  Uninitialised
};
Broken broken = Broken::Nothing;

/// A sum over a block, a reversal in shared memory and in a warp, and a last-arriver sum over blocks.
void small_kernel(const void* params) {
  const auto& p = *static_cast<const NormAddParams*>(params);
  if (broken != Broken::Wait) wait_early();
  Shared<float> row = shared<float>(0);
  Global<float> x = global<float>(p.x) + 64 * block_x();
  const int i = thread();
  const bool inside = i < 64 || broken == Broken::Bounds;
  if (broken != Broken::Uninitialised || i != 3) row[i] = inside ? static_cast<float>(x[i]) : 0.0f;
  if (broken != Broken::Barrier && !(broken == Broken::OneThreadSkips && i == 5)) sync();
  const float other = row[63 - i % 64];
  if (broken != Broken::SecondBarrier) sync();
  row[i] = other;
  if (broken != Broken::WarpBarrier) sync_warp();
  float sum = row[i ^ 1];
  if (!(broken == Broken::OneLaneSkips && i == 9)) sum += shuffle_xor(sum, 1);
  sync();
  // Every block leaves its part; the last one adds them.
  Global<float> parts = global<float>(p.y);
  if (i == 0) parts[block_x()] = sum;
  sync();
  Shared<uint32_t> last = shared<uint32_t>(512);
  if (i == 0) {
    if (broken != Broken::Fence) fence();
    uint32_t before = static_cast<uint32_t>(grid_x()) - 1;
    if (broken != Broken::Ticket) before = atomic_add(global<uint32_t>(p.weight), 1u);
    if (broken != Broken::Fence) fence();
    last[0] = before;
  }
  sync();
  if (last[0] == static_cast<uint32_t>(grid_x()) - 1 && i == 0) {
    float total = 0;
    for (int b = 0; b < grid_x(); ++b) total += parts[b];
    parts[grid_x()] = total;
  }
}

/// Runs it with four blocks of 128 threads; the error's text, or nothing.
std::string run(Broken what, std::uint64_t seed, float* total = nullptr) {
  Emulator emulator;
  CudaBuffer<float> x(emulator, "x", test::random_floats(4 * 64, 1), MemoryKind::Mutable);
  CudaBuffer<float> y(emulator, "y", 5);
  CudaBuffer<std::uint32_t> ticket(emulator, "ticket", std::vector<std::uint32_t>(1), MemoryKind::Mutable);
  const NormAddParams p{x.address(), y.address(), ticket.address(), 64, 64, 4, 0};
  Launch launch = launch_norm_add(p);
  launch.grid[0] = 4;
  launch.block = 128;
  launch.shared_bytes = 516;
  broken = what;
  try {
    emulator.run(launch, small_kernel, {.seed = seed});
  } catch (const Error& error) {
    return error.what();
  }
  if (total != nullptr) *total = y[4];
  return {};
}

TEST(Emulator, RunsAKernelToTheSameResultInAnyOrder) {
  float first = 0;
  EXPECT_EQ(run(Broken::Nothing, 0, &first), "");
  for (std::uint64_t seed = 1; seed < 20; ++seed) {
    float total = std::numeric_limits<float>::quiet_NaN();
    EXPECT_EQ(run(Broken::Nothing, seed, &total), "");
    EXPECT_EQ(std::bit_cast<std::uint32_t>(total), std::bit_cast<std::uint32_t>(first));
  }
}

struct Case {
  Broken what;
  const char* text;
};
class BrokenKernel : public testing::TestWithParam<Case> {};

TEST_P(BrokenKernel, IsCaughtWithEverySeed) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const std::string error = run(GetParam().what, seed);
    EXPECT_NE(error.find(GetParam().text), std::string::npos) << "seed " << seed << ": '" << error << "'";
    EXPECT_NE(error.find("kernel norm_add, block ("), std::string::npos) << error;
    EXPECT_NE(error.find(", thread "), std::string::npos) << error;
  }
}

INSTANTIATE_TEST_SUITE_P(Rules, BrokenKernel,
                         testing::Values(Case{Broken::Barrier, "shared memory"}, Case{Broken::SecondBarrier, "a race"},
                                         Case{Broken::Bounds, "outside of its buffer"},
                                         Case{Broken::Wait, "before the wait"}, Case{Broken::WarpBarrier, "a race"},
                                         Case{Broken::OneThreadSkips, "shared memory"},
                                         Case{Broken::OneLaneSkips, "a barrier is never completed"},
                                         Case{Broken::Fence, "a race"}, Case{Broken::Ticket, "a race"},
                                         Case{Broken::Uninitialised, "nobody wrote"}));

void write_constant(const void* params) {
  wait_early();
  global<float>(static_cast<const NormAddParams*>(params)->weight)[thread()] = 0.0f;
}
void misaligned(const void* params) {
  wait_early();
  Global<const uint8_t> bytes = global<const uint8_t>(static_cast<const NormAddParams*>(params)->weight);
  const Word4 word = *cast<const Word4>(bytes + 4);
  (void)word;
}
void unknown_address(const void* params) {
  wait_early();
  float local = 0;
  (void)params;
  global<float>(reinterpret_cast<Address>(&local))[0] = 1.0f;
}
void through_null(const void* params) {
  wait_early();
  global<float>(static_cast<const NormAddParams*>(params)->y)[0] = 1.0f;
}
void barrier_for_half(const void*) {
  wait_early();
  if (thread() < 64) sync();
}
void never_waits(const void*) {}

TEST(Emulator, NamesWhatElseIsWrong) {
  Emulator emulator;
  CudaBuffer<float> weight(emulator, "norm weight", std::vector<float>(512));
  const NormAddParams p{0, 0, weight.address(), 64, 64, 1, 0};
  Launch launch = launch_norm_add(p);
  const auto error = [&](Emulator::Body body) -> std::string {
    try {
      emulator.run(launch, body);
    } catch (const Error& e) {
      return e.what();
    }
    return "nothing";
  };
  EXPECT_NE(error(write_constant).find("norm weight: a write to constant memory"), std::string::npos)
      << error(write_constant);
  EXPECT_NE(error(misaligned).find("is not aligned"), std::string::npos);
  EXPECT_NE(error(unknown_address).find("belongs to no registered memory"), std::string::npos);
  EXPECT_NE(error(through_null).find("through a null pointer"), std::string::npos);
  EXPECT_NE(error(barrier_for_half).find("a barrier is never completed"), std::string::npos);
  EXPECT_NE(error(never_waits).find("ended without waiting"), std::string::npos);
  launch.early = false;
  EXPECT_EQ(error(never_waits), "nothing");
}

/// Products of the matrix unit against plain loops over the matrices, through the fragments that PTX documents.
std::int32_t product_of[16][8];
std::int8_t left_of[16][32], right_of[32][8];
template <bool Signed, int Depth, bool Parts>
void one_product(const void*) {
  wait_early();
  const int g = lane() / 4, t = lane() % 4;
  const auto pack = [](auto at) {
    std::uint32_t word = 0;
    for (int b = 0; b < 4; ++b) word |= static_cast<std::uint32_t>(static_cast<std::uint8_t>(at(b))) << (8 * b);
    return word;
  };
  std::uint32_t a[4], b[2];
  for (int i = 0; i < 4; ++i) a[i] = pack([&](int k) { return left_of[g + 8 * (i % 2)][16 * (i / 2) + 4 * t + k]; });
  for (int i = 0; i < 2; ++i) b[i] = pack([&](int k) { return right_of[16 * i + 4 * t + k][g]; });
  int c[4] = {1, 2, 3, 4};
  if constexpr (Parts && Depth == 32) {
    mma_k32_in_parts<Signed>(c, a[0], a[1], a[2], a[3], b[0], b[1]);
  } else if constexpr (Parts) {
    mma_k16_in_parts(c, a[0], a[1], b[0]);
  } else if constexpr (Depth == 32) {
    mma_k32<Signed>(c, a[0], a[1], a[2], a[3], b[0], b[1]);
  } else {
    mma_k16(c, a[0], a[1], b[0]);
  }
  for (int i = 0; i < 4; ++i) product_of[g + 8 * (i / 2)][2 * t + i % 2] = c[i] - (i + 1);
}
template <bool Signed, int Depth, bool Parts = false>
void check_product() {
  Emulator emulator;
  Launch launch = launch_norm_add({0, 0, 0, 1, 1, 1, 0});
  launch.block = 32;
  for (int i = 0; i < 512; ++i) left_of[i / 32][i % 32] = static_cast<std::int8_t>(i * 37 + i / 5);
  for (int i = 0; i < 256; ++i) right_of[i / 8][i % 8] = static_cast<std::int8_t>(i * 53 + i / 3);
  std::memset(product_of, 0x77, sizeof product_of);
  emulator.run(launch, one_product<Signed, Depth, Parts>);
  for (int row = 0; row < 16; ++row) {
    for (int col = 0; col < 8; ++col) {
      int expected = 0;
      for (int k = 0; k < Depth; ++k)
        expected += (Signed ? left_of[row][k] : static_cast<std::uint8_t>(left_of[row][k])) * right_of[k][col];
      ASSERT_EQ(product_of[row][col], expected) << row << ' ' << col;
    }
  }
}
TEST(Emulator, MatrixProductsFollowTheFragmentsOfPtx) {
  check_product<true, 32>();
  check_product<false, 32>();
  check_product<true, 16>();
  check_product<true, 32, true>();  // as compute capability 7.5 has them
  check_product<false, 32, true>();
  check_product<true, 16, true>();
}

float f16_product_of[16][8];
std::uint16_t f16_left_of[16][16], f16_right_of[16][8];
/// The same of f16: left and right go through shared memory and the loads of matrices; Parts as compute capability 7.5.
template <bool Parts>
void one_f16_product(const void*) {
  wait_early();
  const int g = lane() / 4, t = lane() % 4;
  Shared<uint16_t> left = shared<uint16_t>(0), right = shared<uint16_t>(512);
  for (int i = lane(); i < 256; i += 32) left[i] = f16_left_of[i / 16][i % 16];
  for (int i = lane(); i < 128; i += 32) right[i] = f16_right_of[i / 8][i % 8];  // row-major: the load transposes it
  sync_warp();
  std::uint32_t a[4], b[4];
  load_matrices(Shared<const uint16_t>(left + (16 * (lane() % 16) + lane() / 16 * 8)), a);
  load_matrices_turned(Shared<const uint16_t>(right + 8 * (lane() % 16)), b);
  float c[4] = {1, 2, 3, 4};
  if constexpr (Parts) {
    mma_f16_in_parts(c, a, b[0], b[1]);
  } else {
    mma_f16(c, a, b[0], b[1]);
  }
  for (int i = 0; i < 4; ++i) f16_product_of[g + 8 * (i / 2)][2 * t + i % 2] = c[i] - static_cast<float>(i + 1);
}
TEST(Emulator, ProductsOfHalvesFollowTheFragmentsOfPtx) {
  for (const Emulator::Body body : {one_f16_product<false>, one_f16_product<true>}) {
    Emulator emulator;
    Launch launch = launch_norm_add({0, 0, 0, 1, 1, 1, 0});
    launch.block = 32;
    launch.shared_bytes = 768;
    // Small integers, so that every sum is exact.
    for (int i = 0; i < 256; ++i)
      f16_left_of[i / 16][i % 16] = static_cast<std::uint16_t>(float_to_half(static_cast<float>(i * 37 % 41 - 20)));
    for (int i = 0; i < 128; ++i)
      f16_right_of[i / 8][i % 8] = static_cast<std::uint16_t>(float_to_half(static_cast<float>(i * 53 % 43 - 21)));
    std::memset(f16_product_of, 0xFF, sizeof f16_product_of);
    emulator.run(launch, body);
    for (int row = 0; row < 16; ++row) {
      for (int col = 0; col < 8; ++col) {
        float expected = 0;
        for (int k = 0; k < 16; ++k)
          expected += half_to_float(f16_left_of[row][k]) * half_to_float(f16_right_of[k][col]);
        ASSERT_EQ(f16_product_of[row][col], expected) << row << ' ' << col;
      }
    }
  }
}

/// Two tiles of a row through one place in shared memory, by asynchronous copies.
enum class BrokenCopy { Nothing, NoWait, NoBarrier, NoSecondBarrier, NeverWaits, Bounds };
BrokenCopy broken_copy = BrokenCopy::Nothing;
void copying_kernel(const void* params) {
  const auto& p = *static_cast<const NormAddParams*>(params);
  wait_early();
  Shared<Word4> tile = shared<Word4>(0);
  Global<const Word4> x = global<const Word4>(p.x);
  for (int i = 0; i < 2; ++i) {
    const bool exists = i == 0 || thread() < 48 || broken_copy == BrokenCopy::Bounds;
    copy_async(tile + thread(), x + (64 * i + thread()), exists);
    if (broken_copy != BrokenCopy::NoWait && broken_copy != BrokenCopy::NeverWaits) await_copies();
    if (broken_copy != BrokenCopy::NoBarrier) sync();
    const Word4 other = tile[63 - thread()];
    global<Word4>(p.y)[64 * i + thread()] = other;
    if (broken_copy == BrokenCopy::NoWait) await_copies();
    if (broken_copy != BrokenCopy::NoSecondBarrier) sync();
  }
}
TEST(Emulator, CopiesAreThereBehindTheWaitAndABarrierAndNotEarlier) {
  const auto run_copy = [](BrokenCopy what, std::uint64_t seed) -> std::string {
    Emulator emulator;
    std::vector<std::uint32_t> words(4 * 112);
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = static_cast<std::uint32_t>(i + 1);
    CudaBuffer<std::uint32_t> x(emulator, "x", words, MemoryKind::Mutable), y(emulator, "y", 4 * 128);
    Launch launch = launch_norm_add({x.address(), y.address(), 0, 1, 1, 1, 0});
    launch.block = 64;
    launch.shared_bytes = 64 * 16;
    broken_copy = what;
    try {
      emulator.run(launch, copying_kernel, {.seed = seed});
    } catch (const Error& error) {
      return error.what();
    }
    for (std::size_t i = 0; i < 128; ++i) {
      const std::size_t from = i / 64 * 64 + 63 - i % 64;
      for (std::size_t j = 0; j < 4; ++j)
        if (y[4 * i + j] != (from < 112 ? words[4 * from + j] : 0)) return "other values";
    }
    return "";
  };
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    EXPECT_EQ(run_copy(BrokenCopy::Nothing, seed), "");
    for (const auto& [what, text] :
         {std::pair{BrokenCopy::NoWait, "a race"}, std::pair{BrokenCopy::NoBarrier, "shared memory"},
          std::pair{BrokenCopy::NoSecondBarrier, "a race"},
          std::pair{BrokenCopy::NeverWaits, "without waiting for its copies"},
          std::pair{BrokenCopy::Bounds, "a copy outside of its buffer"}}) {
      const std::string error = run_copy(what, seed);
      EXPECT_NE(error.find(text), std::string::npos) << "seed " << seed << ": '" << error << "' for " << text;
    }
  }
}

TEST(Emulator, HalfPrecisionRoundsAsTheFormatSays) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = half_to_float(bits);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(half_to_float(float_to_half(value))));
      continue;
    }
    ASSERT_EQ(float_to_half(value), bits);
    const auto raw = static_cast<std::uint16_t>(bits);
    float expected = 0;
    dequantizer(TensorType::F16)(&raw, &expected, 1);
    ASSERT_EQ(std::bit_cast<std::uint32_t>(value), std::bit_cast<std::uint32_t>(expected));
  }
  for (const float x : test::random_floats(20000, 5, 300)) {
    for (const float scaled : {x, x * 1e-6F, x * 1e-8F, x * 300}) {
      std::uint16_t expected = 0;
      quantizer(TensorType::F16)(&scaled, &expected, 1);
      ASSERT_EQ(float_to_half(scaled), expected) << scaled;
    }
  }
}

}  // namespace
}  // namespace apr::kernels::cuda
