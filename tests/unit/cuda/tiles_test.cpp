// Every tile type against the file's own layout, element by element.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "apr/kernels/cuda_kernels.h"
#include "apr/kernels/cuda_tiles.h"
#include "apr/kernels/dispatch.h"
#include "tests/support/cuda_data.h"

namespace apr::kernels::cuda {
namespace {

class Tiles : public testing::TestWithParam<TensorType> {};

TEST_P(Tiles, HoldEveryWeight) {
  for (const auto& [n_rows, n_cols] : test::tile_shapes(GetParam())) {
    const test::WeightRows rows(GetParam(), n_rows, n_cols, 7);
    std::vector<std::uint8_t> tiles(tiles_bytes(GetParam(), n_rows, n_cols), 0xFF);
    repack_tiles(GetParam(), rows.bytes.data(), rows.row_stride, n_rows, n_cols, tiles);
    const std::int64_t padded_rows = (n_rows + 15) / 16 * 16, padded_cols = (n_cols + 255) / 256 * 256;
    for (std::int64_t r = 0; r < padded_rows; ++r) {
      for (std::int64_t c = 0; c < padded_cols; ++c) {
        const bool inside = r < n_rows && c < n_cols;
        const float expected = inside ? rows.values[static_cast<std::size_t>(r * n_cols + c)] : 0.0F;
        const float found = tile_value(GetParam(), tiles, n_cols, r, c);
        if (inside) {
          ASSERT_EQ(std::bit_cast<std::uint32_t>(found), std::bit_cast<std::uint32_t>(expected)) << r << ' ' << c;
        } else {
          ASSERT_EQ(found, 0.0F) << "padding at " << r << ' ' << c;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, Tiles, testing::ValuesIn(test::kTileTypes),
                         [](const auto& test) { return std::string(apr::name(test.param)); });

TEST(TileTable, NamesTheTypesThatHaveTiles) {
  std::size_t n_tiled = 0;
  for (const TypeInfo& type : tensor_types()) {
    n_tiled += tiled(type.type) ? 1 : 0;
    EXPECT_EQ(tiled(type.type), tile_bytes(type.type) != 0);
    EXPECT_EQ(tile_bytes(type.type) % 32, 0) << type.name;  // every 16-byte load is aligned
  }
  EXPECT_EQ(n_tiled, std::size(test::kTileTypes));
  EXPECT_EQ(tile_bytes(TensorType::Q4_K), 2368);
}

TEST(KernelTable, RowsAreInOrderAndModulesAreNamed) {
  ASSERT_GT(kernels().size(), 5u);
  for (std::size_t i = 0; i < kernels().size(); ++i) {
    const KernelInfo& kernel = kernels()[i];
    EXPECT_EQ(static_cast<std::size_t>(kernel.id), i);
    EXPECT_EQ(kernel.entry, "apr_" + std::string(kernel.name));
    EXPECT_GT(kernel.threads, 0);
    EXPECT_LE(kernel.params_bytes, sizeof(Launch::params));
    EXPECT_LE(kernel.threads * kernel.max_registers, 65536) << "one block must fit the register file";
    EXPECT_EQ(&info(kernel.id), &kernel);
  }
}

TEST(KernelTable, EveryModuleIsInTheProgramOrNone) {
  if (modules().empty()) return;  // built without nvcc: nothing is claimed
  for (const KernelInfo& kernel : kernels()) {
    const auto at = std::ranges::find(modules(), std::string_view(kernel.module),
                                      [](const Module& m) { return std::string_view(m.name); });
    ASSERT_NE(at, modules().end()) << kernel.module;
    ASSERT_GT(at->fatbin_bytes, 1000u);
    std::uint32_t magic = 0;  // of a fat binary
    std::memcpy(&magic, at->fatbin, sizeof magic);
    EXPECT_EQ(magic, 0xBA55ED50u);
    const std::string_view image(reinterpret_cast<const char*>(at->fatbin), at->fatbin_bytes);
    EXPECT_FALSE(image.empty());
  }
}

}  // namespace
}  // namespace apr::kernels::cuda
