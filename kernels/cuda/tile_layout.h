// The shape of every tile type, for host and device: one table, one place. Drawn in docs/formats/cuda-tiles.md.
#pragma once
#include <stdint.h>

namespace apr::kernels::cuda {

enum class TileScale { K, K6, D, DM, None };

/// What a tile of type id `Id` holds. `bits` of the code c of a weight: 4 in the nibble plane, the rest in the extra
/// plane; 8: one byte plane. Signed codes are stored with their top bit flipped (c = q xor 2^(bits-1)), so that a byte
/// with the code in its upper bits is the signed number (q - 2^(bits-1)) 2^(8-bits).
template <int Id>
struct TileType;
template <int Bits, bool Signed, TileScale Scale>
struct IntegerTile {
  // Unsigned with 5 bits: even groups have their low four bits in the nibble plane and bit 4 in the extra plane, odd
  // groups the upper four and bit 0; register i's bits lie at 2 i + 1 (even) and 2 i (odd).
  static constexpr bool low_nibbles = Bits == 5 && !Signed;
  static constexpr int bits = Bits;
  static constexpr bool is_signed = Signed, is_float = false;
  static constexpr TileScale scale = Scale;
  static constexpr int extra_at = Bits == 8 ? 4096 : 2048;
  static constexpr int scales_at = extra_at + (Bits == 5 ? 512 : Bits == 6 ? 1024 : 0);
  static constexpr int d_at = scales_at + 256;  // of K and K6
  static constexpr int bytes = scales_at + (Scale == TileScale::K    ? 320
                                            : Scale == TileScale::K6 ? 288
                                            : Scale == TileScale::D  ? 256
                                                                     : 512);
};
template <int ElementBytes>
struct FloatTile {
  static constexpr int bits = 8 * ElementBytes;
  static constexpr bool is_signed = true, is_float = true;
  static constexpr TileScale scale = TileScale::None;
  static constexpr int extra_at = 0, scales_at = 0, d_at = 0;
  static constexpr int bytes = 4096 * ElementBytes;
};
// ids of core/tensor_types.def
template <>
struct TileType<0> : FloatTile<4> {};  // F32
template <>
struct TileType<1> : FloatTile<2> {};  // F16
template <>
struct TileType<30> : FloatTile<2> {};  // BF16
template <>
struct TileType<2> : IntegerTile<4, true, TileScale::D> {};  // Q4_0
template <>
struct TileType<3> : IntegerTile<4, false, TileScale::DM> {};  // Q4_1
template <>
struct TileType<6> : IntegerTile<5, true, TileScale::D> {};  // Q5_0
template <>
struct TileType<7> : IntegerTile<5, false, TileScale::DM> {};  // Q5_1
template <>
struct TileType<8> : IntegerTile<8, true, TileScale::D> {};  // Q8_0
template <>
struct TileType<12> : IntegerTile<4, false, TileScale::K> {};  // Q4_K
template <>
struct TileType<13> : IntegerTile<5, false, TileScale::K> {};  // Q5_K
template <>
struct TileType<14> : IntegerTile<6, true, TileScale::K6> {};  // Q6_K

/// APR_FOR_TILE_TYPES(X) expands X(id) for every type.
#define APR_FOR_TILE_TYPES(X) X(0) X(1) X(2) X(3) X(6) X(7) X(8) X(12) X(13) X(14) X(30)

}  // namespace apr::kernels::cuda
