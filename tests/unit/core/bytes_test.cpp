#include "apr/core/bytes.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>

#include "apr/core/checked.h"

namespace apr {
namespace {

constexpr std::array<std::byte, 8> kBytes = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4},
                                             std::byte{5}, std::byte{6}, std::byte{7}, std::byte{8}};

TEST(ByteReader, ReadsBothByteOrders) {
  std::uint32_t value = 0;
  ByteReader little(kBytes, std::endian::little);
  ASSERT_TRUE(little.read(value));
  EXPECT_EQ(value, 0x04030201U);
  ByteReader big(kBytes, std::endian::big);
  ASSERT_TRUE(big.read(value));
  EXPECT_EQ(value, 0x01020304U);
}

TEST(ByteReader, AReadThatDoesNotFitMovesNothing) {
  ByteReader reader(std::span<const std::byte>(kBytes).first(5), std::endian::little, 100);
  std::uint32_t four = 0;
  std::uint64_t eight = 77;
  ASSERT_TRUE(reader.read(four));
  EXPECT_FALSE(reader.read(eight));
  EXPECT_EQ(eight, 77U);
  EXPECT_EQ(reader.offset(), 104U);
  EXPECT_EQ(reader.remaining(), 1U);
  std::span<const std::byte> out;
  EXPECT_FALSE(reader.read_bytes(std::numeric_limits<std::uint64_t>::max(), out));
  EXPECT_TRUE(out.empty());
  EXPECT_TRUE(reader.skip(1));
  EXPECT_FALSE(reader.skip(1));
}

TEST(ByteReader, SeekStaysInside) {
  ByteReader reader(kBytes, std::endian::little, 100);
  EXPECT_TRUE(reader.seek(108));
  EXPECT_EQ(reader.remaining(), 0U);
  EXPECT_FALSE(reader.seek(109));
  EXPECT_FALSE(reader.seek(99));
  EXPECT_EQ(reader.offset(), 108U);
}

TEST(Checked, OverflowIsNothing) {
  constexpr auto kMax = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(checked_add<std::uint64_t>(kMax, 0), kMax);
  EXPECT_FALSE(checked_add<std::uint64_t>(kMax, 1));
  EXPECT_FALSE(checked_mul<std::uint64_t>(1ULL << 32, 1ULL << 32));
  EXPECT_FALSE(checked_mul<std::int64_t>(std::numeric_limits<std::int64_t>::min(), -1));
  EXPECT_EQ(checked_align(65, 64), 128U);
  EXPECT_EQ(checked_align(64, 64), 64U);
  EXPECT_FALSE(checked_align(kMax, 64));
  EXPECT_FALSE(checked_align(8, 12));
}

TEST(Checked, RangeFitsNeverAddsUp) {
  constexpr auto kMax = std::numeric_limits<std::uint64_t>::max();
  EXPECT_TRUE(range_fits(10, 0, 10));
  EXPECT_TRUE(range_fits(0, 10, 10));
  EXPECT_FALSE(range_fits(1, 10, 10));
  EXPECT_FALSE(range_fits(kMax - 3, 8, 100));  // offset + size wraps to 4
  EXPECT_FALSE(range_fits(11, 0, 10));
}

}  // namespace
}  // namespace apr
