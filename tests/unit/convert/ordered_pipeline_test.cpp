#include "src/convert/ordered_pipeline.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>

namespace apr::convert {
namespace {

TEST(OrderedPipeline, DeliversEveryItemOnceAndInOrder) {
  for (const unsigned n_threads : {1U, 2U, 5U}) {
    std::vector<std::uint64_t> seen;
    run_in_order(
        1000, n_threads, [](std::uint64_t i, std::vector<std::byte>& bytes) { bytes.assign(1 + i % 7, std::byte(i)); },
        [&](std::uint64_t i, std::span<const std::byte> bytes) {
          EXPECT_EQ(bytes.size(), 1 + i % 7);
          EXPECT_EQ(bytes[0], std::byte(i));
          seen.push_back(i);
        });
    ASSERT_EQ(seen.size(), 1000U);
    for (std::uint64_t i = 0; i < seen.size(); ++i) ASSERT_EQ(seen[i], i);
  }
}

TEST(OrderedPipeline, NothingToDoIsNothingDone) {
  run_in_order(
      0, 3, [](std::uint64_t, std::vector<std::byte>&) { FAIL(); },
      [](std::uint64_t, std::span<const std::byte>) { FAIL(); });
}

TEST(OrderedPipeline, StaysWithinItsBuffers) {
  std::atomic<std::int64_t> produced{0}, consumed{0}, most{0};
  run_in_order(
      500, 3,
      [&](std::uint64_t, std::vector<std::byte>& bytes) {
        bytes.resize(1);
        const std::int64_t ahead = ++produced - consumed;
        std::int64_t before = most;
        while (ahead > before && !most.compare_exchange_weak(before, ahead)) {
        }
      },
      [&](std::uint64_t, std::span<const std::byte>) { ++consumed; });
  EXPECT_LE(most, 3 + 2);
  EXPECT_GE(most, 1);
}

TEST(OrderedPipeline, AFailureOfEitherSideStopsAndIsRethrown) {
  for (const unsigned n_threads : {1U, 3U}) {
    std::uint64_t consumed = 0;
    const auto fill = [](std::uint64_t i, std::vector<std::byte>&) {
      if (i == 40) throw std::runtime_error("producer");
    };
    EXPECT_THROW(run_in_order(100000, n_threads, fill, [&](std::uint64_t, std::span<const std::byte>) { ++consumed; }),
                 std::runtime_error);
    EXPECT_LE(consumed, 40U);
    std::atomic<std::uint64_t> produced{0};
    EXPECT_THROW(run_in_order(
                     100000, n_threads, [&](std::uint64_t, std::vector<std::byte>&) { ++produced; },
                     [](std::uint64_t i, std::span<const std::byte>) {
                       if (i == 40) throw std::runtime_error("consumer");
                     }),
                 std::runtime_error);
    EXPECT_LE(produced, 60U);
  }
}

}  // namespace
}  // namespace apr::convert
