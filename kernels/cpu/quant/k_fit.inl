// Choice of scales and minima for the K types. A few candidate step sizes round a sub-block to codes; for each the
// scale (and minimum) of least squared error follows from the normal equations, and the candidate with the least error
// wins. Then the scales are quantised themselves and all elements rounded with the scales as stored, so that the two
// roundings do not add up. Sums run over eight fixed lanes, so every instruction set gives the same bits.
namespace apr::kernels {
namespace {

// Candidate step counts, as an addition to q_max or q_half: the range cut into fewer or more steps than there are codes
// (codes outside are clamped). Five suffice: on near-Gaussian values the relative error of Q4_K is 0.0695 with four,
// 0.0693 with five, 0.0690 with nine; of Q6_K 0.0166 with four, 0.0165 with five.
constexpr float kScaleMinCandidates[] = {-1.2f, -0.8f, -0.4f, 0.0f, 0.4f};
constexpr float kSignedCandidates[] = {-1.0f, -0.6f, -0.2f, 0.2f, 0.6f};

// Eight floats at once, by the compilers' vector extension: one or two registers, the same arithmetic everywhere. Never
// a parameter or a result, since those have another ABI on each instruction set.
typedef float Float8 __attribute__((vector_size(32)));
typedef float Float4 __attribute__((vector_size(16)));

/// The sum of the lanes of `v`, as ((0+4)+(2+6)) + ((1+5)+(3+7)).
inline float sum_lanes(const Float8& v) {
  const Float4 half = __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
  return (half[0] + half[2]) + (half[1] + half[3]);
}

/// Sums over the codes l = round((x - origin) * inverse), kept within [low, high]: what the normal equations need.
struct CodeSums {
  float l, ll, xl;
};
template <int size>
inline CodeSums code_sums(const float* __restrict x, float origin, float inverse, float low, float high) {
  const Float8 lowest = low - Float8{}, highest = high - Float8{};
  Float8 l = {}, ll = {}, xl = {};
  for (int j = 0; j < size; j += 8) {
    Float8 value;
    __builtin_memcpy(&value, x + j, sizeof(value));
    Float8 code = (value - origin) * inverse;
    code = code > lowest ? code : lowest;
    code = code < highest ? code : highest;
    code = (code + 0x1.8p23f) - 0x1.8p23f;  // to the nearest integer
    l += code;
    ll += code * code;
    xl += value * code;
  }
  return {sum_lanes(l), sum_lanes(ll), sum_lanes(xl)};
}

struct ScaleAndMin {
  float scale, min;
};

/// x = scale * code - min with 0 <= code <= q_max and min >= 0. The error of the least-squares solution is
/// sum(x^2) - gain with gain = scale * sum(x l) - min * sum(x), so the largest gain wins.
template <int size, int q_max>
inline ScaleAndMin best_scale_min(const float* __restrict x) {
  const Range range = value_range<size>(x);
  const float low = range.min < 0.0f ? range.min : 0.0f;
  ScaleAndMin best = {(range.max - low) / static_cast<float>(q_max), -low};
  if (!(range.max - low > 0.0f)) return best;
  Float8 lanes = {};
  for (int j = 0; j < size; j += 8) {
    Float8 value;
    __builtin_memcpy(&value, x + j, sizeof(value));
    lanes += value;
  }
  const float sum_x = sum_lanes(lanes), n = static_cast<float>(size);
  float best_gain = -1.0f;
  for (const float extra : kScaleMinCandidates) {
    const CodeSums sum = code_sums<size>(x, low, (static_cast<float>(q_max) + extra) / (range.max - low), 0.0f,
                                         static_cast<float>(q_max));
    const float determinant = n * sum.ll - sum.l * sum.l;
    ScaleAndMin fit = {(n * sum.xl - sum_x * sum.l) / determinant, (sum.l * sum.xl - sum.ll * sum_x) / determinant};
    if (!(fit.min >= 0.0f)) fit = {sum.xl / sum.ll, 0.0f};
    const float gain = fit.scale * sum.xl - fit.min * sum_x;
    if (fit.scale > 0.0f && gain > best_gain) {
      best_gain = gain;
      best = fit;
    }
  }
  return best;
}

/// x = scale * code with -q_half <= code < q_half; the gain is scale * sum(x l).
template <int q_half>
inline float best_signed_scale(const float* __restrict x) {
  const float largest = signed_absolute_max<16>(x);
  float best = largest / static_cast<float>(-q_half), best_gain = -1.0f;
  if (largest == 0.0f) return 0.0f;
  for (const float extra : kSignedCandidates) {
    const CodeSums sum = code_sums<16>(x, 0.0f, -(static_cast<float>(q_half) + extra) / largest,
                                       static_cast<float>(-q_half), static_cast<float>(q_half - 1));
    const float scale = sum.xl / sum.ll, gain = scale * sum.xl;
    if (gain > best_gain) {
      best_gain = gain;
      best = scale;
    }
  }
  return best;
}

template <int sub_blocks>
struct ScaleMinBlock {
  uint16_t d, dmin;  // f16 bits
  int scale[sub_blocks], min[sub_blocks];
};

/// Q2_K, Q4_K, Q5_K: x = d * scale * q - dmin * min with 0 <= q <= q_max, 0 <= scale, min <= scale_max. Elements are
/// rounded with the scales as they are stored, so that the rounding of scales does not add up with that of elements.
template <int sub_blocks, int q_max, int scale_max>
inline void fit_scale_min(const float* __restrict x, ScaleMinBlock<sub_blocks>& fit, uint8_t* __restrict q) {
  constexpr int size = 256 / sub_blocks;
  float scale[sub_blocks], min[sub_blocks];
  for (int s = 0; s < sub_blocks; ++s) {
    const ScaleAndMin best = best_scale_min<size, q_max>(x + size * s);
    scale[s] = best.scale;
    min[s] = best.min;
  }
  fit.d = f32_to_f16(absolute_max<sub_blocks>(scale) / static_cast<float>(scale_max));
  fit.dmin = f32_to_f16(absolute_max<sub_blocks>(min) / static_cast<float>(scale_max));
  const float d = f16_to_f32(fit.d), dmin = f16_to_f32(fit.dmin);
  const float inverse_d = inverse_or_zero(d), inverse_dmin = inverse_or_zero(dmin);
  for (int s = 0; s < sub_blocks; ++s) {
    fit.scale[s] = round_to(scale[s] * inverse_d, 0.0f, static_cast<float>(scale_max));
    fit.min[s] = round_to(min[s] * inverse_dmin, 0.0f, static_cast<float>(scale_max));
    const float inverse = inverse_or_zero(d * static_cast<float>(fit.scale[s]));
    const float offset = dmin * static_cast<float>(fit.min[s]);
    for (int j = size * s; j < size * (s + 1); ++j) {
      const int code = truncate_to((x[j] + offset) * inverse + 0.5f, 0.0f, static_cast<float>(q_max));
      q[j] = static_cast<uint8_t>(code);
    }
  }
}

/// Q3_K, Q6_K: x = d * scale * (q - q_half) with 0 <= q < 2 q_half, -scale_half <= scale < scale_half, 16 sub-blocks.
/// Returns d as f16 bits.
template <int q_half, int scale_half>
inline uint16_t fit_signed_scales(const float* __restrict x, int* __restrict scale, uint8_t* __restrict q) {
  float wanted[16];
  for (int s = 0; s < 16; ++s) wanted[s] = best_signed_scale<q_half>(x + 16 * s);
  const uint16_t d_bits = f32_to_f16(signed_absolute_max<16>(wanted) / static_cast<float>(-scale_half));
  const float d = f16_to_f32(d_bits);
  const float inverse_d = inverse_or_zero(d);
  for (int s = 0; s < 16; ++s) {
    scale[s] = round_to(wanted[s] * inverse_d, static_cast<float>(-scale_half), static_cast<float>(scale_half - 1));
    const float inverse = inverse_or_zero(d * static_cast<float>(scale[s]));
    for (int j = 16 * s; j < 16 * (s + 1); ++j) {
      const int step = round_to(x[j] * inverse, static_cast<float>(-q_half), static_cast<float>(q_half - 1));
      q[j] = static_cast<uint8_t>(step + q_half);
    }
  }
  return d_bits;
}

}  // namespace
}  // namespace apr::kernels
