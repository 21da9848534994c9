// The kernels of loading against their host references, byte for byte, and the gather of embeddings.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "apr/core/error.h"
#include "apr/kernels/cuda_emulator.h"
#include "tests/support/cuda_data.h"
#include "tests/support/cuda_memory.h"

namespace apr::kernels::cuda {
namespace {

using test::CudaBuffer;

class Load : public testing::TestWithParam<TensorType> {};

TEST_P(Load, RepackWritesTheTilesOfTheReference) {
  for (const auto& [n_rows, n_cols] : test::tile_shapes(GetParam())) {
    const test::WeightRows rows(GetParam(), n_rows, n_cols, 3);
    std::vector<std::uint8_t> expected(tiles_bytes(GetParam(), n_rows, n_cols));
    repack_tiles(GetParam(), rows.bytes.data(), rows.row_stride, n_rows, n_cols, expected);
    Emulator emulator;
    CudaBuffer<std::uint8_t> file(emulator, "rows", rows.bytes), tiles(emulator, "tiles", expected.size());
    RepackParams p{file.address(),
                   tiles.address(),
                   rows.row_stride,
                   static_cast<std::int32_t>(GetParam()),
                   static_cast<std::int32_t>(n_rows),
                   static_cast<std::int32_t>(n_cols),
                   0};
    emulator.run(launch_repack(p), {.seed = 1});
    ASSERT_EQ(tiles.host(), expected) << n_rows << " x " << n_cols;
  }
}

TEST_P(Load, RepackContinuesAtALaterTile) {
  const std::int64_t n_cols = 256;
  const test::WeightRows rows(GetParam(), 40, n_cols, 4);
  std::vector<std::uint8_t> expected(tiles_bytes(GetParam(), 40, n_cols));
  repack_tiles(GetParam(), rows.bytes.data(), rows.row_stride, 40, n_cols, expected);
  Emulator emulator;
  CudaBuffer<std::uint8_t> file(emulator, "rows", rows.bytes), tiles(emulator, "tiles", expected.size());
  RepackParams p{file.address(), tiles.address(), rows.row_stride, static_cast<std::int32_t>(GetParam()), 16, 256, 0};
  emulator.run(launch_repack(p));
  p.rows += static_cast<Address>(16 * rows.row_stride);
  p.n_rows = 24;
  p.first_tile = 1;
  // The address lies inside the buffer, not at its start: regions are found by range.
  emulator.run(launch_repack(p));
  EXPECT_EQ(tiles.host(), expected);
}

TEST_P(Load, ExpandAndEmbedGiveTheWeights) {
  for (const auto& [n_rows, n_cols] : test::tile_shapes(GetParam())) {
    const test::WeightRows rows(GetParam(), n_rows, n_cols, 5);
    std::vector<std::uint8_t> bytes(tiles_bytes(GetParam(), n_rows, n_cols));
    repack_tiles(GetParam(), rows.bytes.data(), rows.row_stride, n_rows, n_cols, bytes);
    const auto width = static_cast<std::int32_t>(n_cols), height = static_cast<std::int32_t>(n_rows);
    Emulator emulator;
    CudaBuffer<std::uint8_t> tiles(emulator, "tiles", bytes);
    CudaBuffer<std::uint16_t> half(emulator, "f16", static_cast<std::size_t>(n_rows * n_cols));
    emulator.run(launch_expand(
        {tiles.address(), half.address(), static_cast<std::int32_t>(GetParam()), width, 0, height, width, 0}));
    std::vector<std::uint16_t> expected(half.host().size());
    quantizer(TensorType::F16)(rows.values.data(), expected.data(), n_rows * n_cols);
    ASSERT_EQ(half.host(), expected);
    CudaBuffer<std::uint16_t> brain(emulator, "bf16", expected.size());
    emulator.run(launch_expand(
        {tiles.address(), brain.address(), static_cast<std::int32_t>(GetParam()), width, 0, height, width, 1}));
    quantizer(TensorType::BF16)(rows.values.data(), expected.data(), n_rows * n_cols);
    ASSERT_EQ(brain.host(), expected);

    CudaBuffer<Column> columns(emulator, "columns", {{height - 1, 0, 0, 0}, {0, 1, 0, 0}, {height, 2, 0, 0}},
                               MemoryKind::Mutable);
    CudaBuffer<float> out(emulator, "out", static_cast<std::size_t>(3 * n_cols));
    emulator.run(launch_embed({tiles.address(), columns.address(), out.address(), static_cast<std::int32_t>(GetParam()),
                               height, width, 3, 2.5F, 0}));
    for (std::size_t i = 0; i < static_cast<std::size_t>(n_cols); ++i) {
      const auto w = static_cast<std::size_t>(n_cols);
      ASSERT_EQ(out[i], rows.values[(static_cast<std::size_t>(n_rows) - 1) * w + i] * 2.5F);
      ASSERT_EQ(out[w + i], rows.values[i] * 2.5F);
      ASSERT_TRUE(std::isnan(out[2 * w + i])) << "a token outside the vocabulary";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, Load, testing::ValuesIn(test::kTileTypes),
                         [](const auto& test) { return std::string(apr::name(test.param)); });

}  // namespace
}  // namespace apr::kernels::cuda
