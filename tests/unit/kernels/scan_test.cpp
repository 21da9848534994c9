// Counting and screening kernels against direct computation, for every instruction set that runs here.
#include "apr/kernels/scan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "apr/kernels/dispatch.h"

namespace apr::kernels {
namespace {

std::vector<std::uint8_t> noise(std::size_t n, std::uint64_t seed) {
  std::vector<std::uint8_t> bytes(n);
  for (auto& b : bytes) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    b = static_cast<std::uint8_t>(seed >> 56);
  }
  return bytes;
}

/// Runs `body` once for each instruction set, then leaves the best in use.
template <class Body>
void for_each_isa(const Body& body) {
  std::size_t n = 0;
  for (const IsaVariant& isa : isa_variants()) {
    if (!isa.runs_here) continue;
    SCOPED_TRACE(std::string(isa.name));
    force_isa(isa.name);
    body(active_scan());
    ++n;
  }
  for (const IsaVariant& isa : isa_variants())
    if (isa.runs_here) force_isa(isa.name);
  EXPECT_GE(n, 1U);
}

TEST(ScanKernels, NibblesAreCountedAsOneByOne) {
  const auto bytes = noise(200'000, 7);
  for_each_isa([&](const ScanKernels& kernels) {
    std::size_t n_cases = 0;
    for (const int period : {1, 2, 4})
      for (const std::int64_t width : {1, 2, 12, 16, 17, 32, 33, 63, 64, 65, 128, 150, 4096, 20'000})
        for (const std::int64_t count : {1, 2, 3, 4, 5, 28, 300}) {
          const std::int64_t stride = width + 3, start = (width * 7 + count) % 61;
          if (start + stride * count > static_cast<std::int64_t>(bytes.size())) continue;
          NibbleCounts got[4], want[4];
          std::memset(got, 0x55, sizeof got);  // it adds
          std::memset(want, 0x55, sizeof want);
          for (std::int64_t s = 0; s < count; ++s)
            for (std::int64_t i = 0; i < width; ++i) {
              const std::uint8_t b = bytes[static_cast<std::size_t>(start + stride * s + i)];
              ++want[i % period].n[0][b & 15];
              ++want[i % period].n[1][b >> 4];
            }
          kernels.count_nibbles(bytes.data() + start, width, stride, count, period, got);
          EXPECT_EQ(std::memcmp(got, want, sizeof got), 0) << period << " " << width << " " << count;
          ++n_cases;
        }
    EXPECT_GT(n_cases, 200U);
  });
}

TEST(ScanKernels, NothingOutsideTheSegmentsIsRead) {
  for_each_isa([&](const ScanKernels& kernels) {
    for (const std::int64_t width : {5, 16, 31, 32, 47, 64, 100}) {
      const auto n = static_cast<std::size_t>(width * 9);
      const std::vector<std::uint8_t> exact(n, 0xA7);  // the sanitizers watch its end
      NibbleCounts counts{};
      kernels.count_nibbles(exact.data(), width, width, 9, 1, &counts);
      EXPECT_EQ(counts.n[0][7], n);
      EXPECT_EQ(counts.n[1][10], n);
    }
  });
}

TEST(ScanKernels, TheScreenFindsWhatNoWeightsHave) {
  for_each_isa([&](const ScanKernels& kernels) {
    auto bytes = noise(8192, 11);
    const std::int64_t lag[3] = {64, 144, 1000};
    ScreenCounts counts{};
    kernels.screen(bytes.data(), 4096, bytes.data() + bytes.size(), lag, &counts);
    EXPECT_EQ(counts.no_high_bit + counts.equal[0] + counts.equal[1] + counts.equal[2], 0U) << "noise is not flagged";
    std::fill_n(bytes.begin() + 640, 256, std::uint8_t{0});
    counts = {};
    kernels.screen(bytes.data(), 4096, bytes.data() + bytes.size(), lag, &counts);
    EXPECT_EQ(counts.no_high_bit, 4U);
    EXPECT_EQ(counts.equal[0], 3U);
    std::copy_n(bytes.begin() + 2048, 144 + 64, bytes.begin() + 2048 + 144);
    counts = {};
    kernels.screen(bytes.data() + 2048, 64, bytes.data() + bytes.size(), lag, &counts);
    EXPECT_EQ(counts.equal[1], 1U);
    counts = {};
    kernels.screen(bytes.data() + 2048, 64, bytes.data() + 2048 + 144 + 63, lag, &counts);
    EXPECT_EQ(counts.equal[1], 0U) << "one byte less than the lag needs";
  });
}

TEST(ScanKernels, TheGreatestMagnitudeIsThatOfTheBits) {
  for_each_isa([&](const ScanKernels& kernels) {
    std::vector<std::uint8_t> bytes(2 * 301, 0x11);
    bytes[2 * 177] = 0x34, bytes[2 * 177 + 1] = 0xFC;
    EXPECT_EQ(kernels.max_abs_16(bytes.data(), 301), 0x7C34U);
    EXPECT_EQ(kernels.max_abs_16(bytes.data(), 177), 0x1111U);
    EXPECT_EQ(kernels.max_abs_16(bytes.data(), 0), 0U);
    EXPECT_EQ(kernels.max_abs_32(bytes.data(), 89), 0x7C341111U) << "the sign is not counted";
  });
}

}  // namespace
}  // namespace apr::kernels
