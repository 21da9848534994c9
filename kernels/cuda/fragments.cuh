// Tiles as fragments of the integer matrix product, and what turns its sums into floats.
//
// Lane 4 g + t of a warp holds, of rows g and g + 8, part t of each group of 32 columns. A product with the activations
// of one group gives dots; two neighbouring groups (of Q6_K: groups q and q + 4) make "quad" q, whose scales lie
// together. Both matrix kernels add a quad's terms by add_term in the same order, so that they give the same bits.
#pragma once
#include "kernels/cuda/shim.h"
#include "kernels/cuda/tile_layout.h"

namespace apr::kernels::cuda {

template <class T>
struct Planes {
  Word4 main[T::bits == 8 ? 8 : 4];
  Word4 extra[T::bits == 6 ? 2 : 1];
};

template <class T>
APR_DEVICE void load_planes(Global<const uint8_t> tile, Planes<T>& planes) {
  Global<const Word4> own = cast<const Word4>(tile + 16 * lane());
  APR_UNROLL for (int i = 0; i < (T::bits == 8 ? 8 : 4); ++i) planes.main[i] = load_stream(own + 32 * i);
  if constexpr (T::bits == 5 || T::bits == 6) {
    Global<const Word4> extra = cast<const Word4>(tile + (T::extra_at + 16 * lane()));
    APR_UNROLL for (int i = 0; i < T::bits - 4; ++i) planes.extra[i] = load_stream(extra + 32 * i);
  }
}

APR_DEVICE uint32_t word_of(const Word4& w, int i) { return i == 0 ? w.x : i == 1 ? w.y : i == 2 ? w.z : w.w; }

/// Register i of the fragment of group `group`: bytes of 2^(8 - bits) times the weight's integer, or for an even
/// group of an unsigned type the integer itself; see factor().
template <class T>
APR_DEVICE uint32_t fragment(const Planes<T>& planes, int group, int i) {
  if constexpr (T::bits == 8) return word_of(planes.main[group], i);
  const int p = group / 2, h = group % 2;
  const uint32_t w = word_of(planes.main[p], i);
  if constexpr (T::bits == 4 && !T::is_signed) return h == 0 ? w & 0x0F0F0F0Fu : w & 0xF0F0F0F0u;
  if constexpr (T::bits == 5 && !T::is_signed) {
    // Register i's bits of both groups are neighbours: one shift brings them to positions 4 (even) and 3 (odd).
    const uint32_t e = word_of(planes.extra[0], p);
    const uint32_t moved = i == 0 ? e << 3 : i == 1 ? e << 1 : i == 2 ? e >> 1 : e >> 3;
    return h == 0 ? (w & 0x0F0F0F0Fu) | (moved & 0x10101010u) : (w & 0xF0F0F0F0u) | (moved & 0x08080808u);
  }
  const uint32_t top = (h == 0 ? w << 4 : w) & 0xF0F0F0F0u;
  if constexpr (T::bits == 4) return top;
  if constexpr (T::bits == 5) {
    const int at = 4 * h + i;  // the bit goes to position 3
    const uint32_t e = word_of(planes.extra[0], p);
    return top | ((at < 3 ? e << (3 - at) : e >> (at - 3)) & 0x08080808u);
  }
  const int at = 2 * (2 * h + (i & 1));  // the two bits go to positions 3..2
  const uint32_t e = word_of(planes.extra[p / 2], 2 * (p % 2) + (i >> 1));
  return top | ((at < 2 ? e << 2 : e >> (at - 2)) & 0x0C0C0C0Cu);
}
/// What a dot of the fragments of an even or odd group is to be multiplied with.
template <class T>
APR_DEVICE float factor(int odd) {
  if constexpr (T::bits == 8) return 1.0f;
  if constexpr (T::bits < 6 && !T::is_signed) return odd != 0 ? 1.0f / static_cast<float>(1 << (8 - T::bits)) : 1.0f;
  return 1.0f / static_cast<float>(1 << (8 - T::bits));
}

/// The scales of quad q for the rows of this lane.
template <class T>
struct QuadScales {
  Word4 words;  // K, K6: bytes in x, y; D: f16 in x, y; DM: in all four
  Word2 d;      // K: f16 (d, dmin) of both rows; K6: x alone holds d of both
};
template <class T>
APR_DEVICE QuadScales<T> load_scales(Global<const uint8_t> tile, int q) {
  QuadScales<T> scales;
  const int quad = (lane() & ~3) + q, g = lane() / 4;
  if constexpr (T::scale == TileScale::DM) {
    scales.words = load_stream(cast<const Word4>(tile + (T::scales_at + 16 * quad)));
    scales.d = {0, 0};
  } else {
    const Word2 words = load_stream(cast<const Word2>(tile + (T::scales_at + 8 * quad)));
    scales.words = {words.x, words.y, 0, 0};
    if constexpr (T::scale == TileScale::K) scales.d = load_stream(cast<const Word2>(tile + (T::d_at + 8 * g)));
    if constexpr (T::scale == TileScale::K6) scales.d = {*cast<const uint32_t>(tile + (T::d_at + 4 * g)), 0};
    if constexpr (T::scale == TileScale::D) scales.d = {0, 0};
  }
  return scales;
}

APR_DEVICE float unsigned_byte(uint32_t word, int i) { return static_cast<float>((word >> (8 * i)) & 0xFFu); }
APR_DEVICE int signed_byte(uint32_t word, int i) { return static_cast<int8_t>((word >> (8 * i)) & 0xFFu); }
APR_DEVICE float low_half(uint32_t word) { return half_to_float(word & 0xFFFFu); }
APR_DEVICE float high_half(uint32_t word) { return half_to_float(word >> 16); }

/// The activation scales (x factor) and sums of a quad's two groups.
struct QuadInput {
  float d[2], s[2];
};

/// acc + the terms of one quad in row g + 8 r. dot: of both groups, of Q6_K (first half, second half) of both.
template <class T>
APR_DEVICE float add_term(const QuadScales<T>& scales, int r, const int (&dot)[4], const QuadInput& in, float acc) {
  if constexpr (T::scale == TileScale::K) {
    const uint32_t d = r == 0 ? scales.d.x : scales.d.y;
    const float even = unsigned_byte(scales.words.x, 2 * r) * in.d[0] * static_cast<float>(dot[0]);
    const float both = fused(unsigned_byte(scales.words.x, 2 * r + 1) * in.d[1], static_cast<float>(dot[1]), even);
    const float least =
        fused(unsigned_byte(scales.words.y, 2 * r + 1), in.s[1], unsigned_byte(scales.words.y, 2 * r) * in.s[0]);
    return fused(-high_half(d), least, fused(low_half(d), both, acc));
  } else if constexpr (T::scale == TileScale::K6) {
    const float d = r == 0 ? low_half(scales.d.x) : high_half(scales.d.x);
    const int first = dot[0] * signed_byte(scales.words.x, 2 * r) + dot[1] * signed_byte(scales.words.x, 2 * r + 1);
    const int second = dot[2] * signed_byte(scales.words.y, 2 * r) + dot[3] * signed_byte(scales.words.y, 2 * r + 1);
    return fused(d, fused(static_cast<float>(second), in.d[1], static_cast<float>(first) * in.d[0]), acc);
  } else {
    const uint32_t d = r == 0 ? scales.words.x : scales.words.y;
    acc = fused(static_cast<float>(dot[0]), low_half(d) * in.d[0], acc);
    acc = fused(static_cast<float>(dot[1]), high_half(d) * in.d[1], acc);
    if constexpr (T::scale == TileScale::DM) {
      const uint32_t m = r == 0 ? scales.words.z : scales.words.w;
      acc = fused(low_half(m), in.s[0], acc);
      acc = fused(high_half(m), in.s[1], acc);
    }
    return acc;
  }
}

/// The eight weights of row half r, group `group` of this lane of a float tile.
template <int Id>
APR_DEVICE void load_floats(Global<const uint8_t> tile, int group, int r, float (&w)[8]) {
  if constexpr (Id == 0) {
    Global<const Word4> at = cast<const Word4>(tile + (1024 * (2 * group + r) + 16 * lane()));
    const Word4 a = load_stream(at), b = load_stream(at + 32);
    APR_UNROLL for (int i = 0; i < 4; ++i) {
      w[i] = as_float(word_of(a, i));
      w[4 + i] = as_float(word_of(b, i));
    }
  } else {
    const Word4 a = load_stream(cast<const Word4>(tile + (512 * (2 * group + r) + 16 * lane())));
    APR_UNROLL for (int i = 0; i < 4; ++i) {
      const uint32_t word = word_of(a, i);
      w[2 * i] = Id == 30 ? as_float(word << 16) : low_half(word);
      w[2 * i + 1] = Id == 30 ? as_float(word & 0xFFFF0000u) : high_half(word);
    }
  }
}

}  // namespace apr::kernels::cuda
