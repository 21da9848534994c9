// Counting and screening kernels against direct computation, for every instruction set that runs here.
#include "apr/kernels/scan.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
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

/// Runs `body` with every table that runs here.
template <class Body>
void for_each_table(const Body& body) {
  const ScanKernels* tables[4];
  const std::size_t n = scan_tables(tables);
  EXPECT_GE(n, 1U);
  EXPECT_EQ(tables[n - 1], &active_scan()) << "the best is the one in use";
  for (std::size_t i = 0; i < n; ++i) {
    SCOPED_TRACE(tables[i]->isa);
    body(*tables[i]);
  }
}

TEST(ScanKernels, NibblesAreCountedAsOneByOne) {
  const auto bytes = noise(200'000, 7);
  for_each_table([&](const ScanKernels& kernels) {
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
  for_each_table([&](const ScanKernels& kernels) {
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

/// Bytes that end where a page without access begins.
class Guarded {
 public:
  explicit Guarded(std::size_t n) : n_(n) {
    map_ = mmap(nullptr, kMapped + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map_ == MAP_FAILED || n > kMapped || mprotect(static_cast<char*>(map_) + kMapped, kPage, PROT_NONE) != 0)
      std::abort();
  }
  ~Guarded() { munmap(map_, kMapped + kPage); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  [[nodiscard]] std::uint8_t* begin() const { return static_cast<std::uint8_t*>(map_) + kMapped - n_; }
  [[nodiscard]] const std::uint8_t* end() const { return static_cast<std::uint8_t*>(map_) + kMapped; }

 private:
  static constexpr std::size_t kPage = 65536, kMapped = kPage;
  std::size_t n_;
  void* map_;
};

// Dies when a kernel reads behind the last byte.
TEST(ScanKernels, NoKernelReadsBehindTheEnd) {
  for_each_table([&](const ScanKernels& kernels) {
    for (const std::size_t n : {64U, 100U, 129U, 4096U, 5000U}) {
      const Guarded bytes(n);
      const auto fill = noise(n, n);
      std::copy(fill.begin(), fill.end(), bytes.begin());
      const auto size = static_cast<std::int64_t>(n);
      const std::int64_t lag[3] = {64, 144, 1000};
      ScreenCounts screened{};
      kernels.screen(bytes.begin(), size, bytes.end(), lag, &screened);
      EXPECT_EQ(screened.equal[0] + screened.equal[1] + screened.equal[2], 0U);
      for (const int period : {1, 2, 4}) {
        NibbleCounts counts[4]{};
        kernels.count_nibbles(bytes.begin(), size, 0, 1, period, counts);
        EXPECT_GT(counts[0].n[0][0] + counts[0].n[0][1], 0U);
      }
      for (const std::int64_t width : {12, 16, 32, 64}) {
        NibbleCounts counts{};
        const std::int64_t count = size / width;
        kernels.count_nibbles(bytes.end() - count * width, width, width, count, 1, &counts);
        std::uint32_t sum = 0;
        for (const std::uint32_t c : counts.n[0]) sum += c;
        EXPECT_EQ(sum, count * width);
      }
      EXPECT_GT(kernels.max_abs_16(bytes.end() - n / 2 * 2, size / 2), 0U);
      EXPECT_GT(kernels.max_abs_32(bytes.end() - n / 4 * 4, size / 4), 0U);
      const Guarded floats(n / 4 * 4);
      auto* values = reinterpret_cast<float*>(floats.begin());
      std::fill_n(values, n / 4, 1.5F);
      MomentSums sums;
      kernels.moments(values, size / 4, &sums);
      EXPECT_EQ(sums.mean, 1.5);
    }
  });
}

TEST(ScanKernels, TheScreenFindsWhatNoWeightsHave) {
  for_each_table([&](const ScanKernels& kernels) {
    auto bytes = noise(8192, 11);
    const std::int64_t lag[3] = {64, 144, 1000};
    ScreenCounts counts{};
    kernels.screen(bytes.data(), 4096, bytes.data() + bytes.size(), lag, &counts);
    EXPECT_EQ(counts.no_high_bit + counts.equal[0] + counts.equal[1] + counts.equal[2], 0U) << "noise is not flagged";
    std::fill_n(bytes.begin() + 640, 256, std::uint8_t{0});
    counts = {};
    kernels.screen(bytes.data(), 4096, bytes.data() + bytes.size(), lag, &counts);
    EXPECT_EQ(counts.no_high_bit, 2U) << "of four chunks every other is looked at";
    EXPECT_EQ(counts.equal[0], 2U);
    auto run = noise(4096 + 64, 12);
    std::fill_n(run.begin() + 4000, 160, std::uint8_t{0});
    for (const std::int64_t n :
         {4096, 4032, 4095}) {  // an odd and an even number of chunks: the last is always looked at
      counts = {};
      kernels.screen(run.data(), n, run.data() + run.size(), lag, &counts);
      EXPECT_EQ(counts.no_high_bit, n == 4096 ? 1U : 0U) << n;
    }
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
  for_each_table([&](const ScanKernels& kernels) {
    std::vector<std::uint8_t> bytes(2 * 301, 0x11);
    bytes[2 * 177] = 0x34, bytes[2 * 177 + 1] = 0xFC;
    EXPECT_EQ(kernels.max_abs_16(bytes.data(), 301), 0x7C34U);
    EXPECT_EQ(kernels.max_abs_16(bytes.data(), 177), 0x1111U);
    EXPECT_EQ(kernels.max_abs_16(bytes.data(), 0), 0U);
    EXPECT_EQ(kernels.max_abs_32(bytes.data(), 89), 0x7C341111U) << "the sign is not counted";
  });
}

// Red with: a lane left out of a sum; the mean not taken away; -0 not counted as zero.
TEST(ScanKernels, MomentsAreThoseOfTheDefinitionAndTheSameBitsEverywhere) {
  for (const std::size_t n : {1U, 7U, 15U, 16U, 17U, 64U, 4096U, 5003U}) {
    const auto bytes = noise(n, 5);
    std::vector<float> values(n);
    for (std::size_t i = 0; i < n; ++i)
      values[i] = 100.0F + static_cast<float>(bytes[i]) * static_cast<float>(bytes[i]) / 1000.0F;
    values[n / 2] = -0.0F;
    long double mean = 0, m2 = 0, m3 = 0, m4 = 0;
    for (const float v : values) mean += static_cast<long double>(v) / static_cast<long double>(n);
    for (const float v : values) {
      const long double d = static_cast<long double>(v) - mean;
      m2 += d * d, m3 += d * d * d, m4 += d * d * d * d;
    }
    std::vector<MomentSums> found;
    for_each_table([&](const ScanKernels& kernels) {
      MomentSums sums;
      std::memset(&sums, 0x55, sizeof sums);
      kernels.moments(values.data(), static_cast<std::int64_t>(n), &sums);
      found.push_back(sums);
    });
    const MomentSums& got = found.front();
    EXPECT_NEAR(got.mean, static_cast<double>(mean), 1e-12 * 100);
    EXPECT_NEAR(got.m2, static_cast<double>(m2), 1e-11 * static_cast<double>(m2));
    EXPECT_NEAR(got.m3, static_cast<double>(m3), 1e-10 * static_cast<double>(m4));
    EXPECT_NEAR(got.m4, static_cast<double>(m4), 1e-11 * static_cast<double>(m4));
    EXPECT_EQ(got.min, *std::min_element(values.begin(), values.end()));
    EXPECT_EQ(got.max, *std::max_element(values.begin(), values.end()));
    EXPECT_EQ(got.n_zero, 1);
    for (const MomentSums& other : found) EXPECT_EQ(std::memcmp(&other, &got, sizeof got), 0) << n;
  }
}

}  // namespace
}  // namespace apr::kernels
