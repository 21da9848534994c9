// Row ops in f32. Sums run in 16 fixed lanes that are added pairwise at the end, so every instruction set gives the
// same bits; the loops are written so that the compiler turns a lane loop into vectors.
namespace apr::kernels {
namespace {

inline constexpr int row_lanes = 16;

/// The 16 partial sums, halves added pairwise.
inline float lane_sum(float* lanes) {
  for (int n = row_lanes / 2; n > 0; n /= 2)
    for (int i = 0; i < n; ++i) lanes[i] += lanes[i + n];
  return lanes[0];
}

void quantize_activation(const float* __restrict x, int64_t n_groups, int width, int8_t* __restrict q,
                         float* __restrict d, float* __restrict s, int16_t* __restrict sums) {
  for (int64_t g = 0; g < n_groups; ++g, x += 32, q += 32 * width, d += width, s += width, sums += 2 * width) {
    int32_t largest = 0;  // magnitudes compare as integers; NaN and infinity are the largest
    for (int i = 0; i < 32; ++i) {
      const auto magnitude = static_cast<int32_t>(float_to_bits(x[i]) & 0x7FFFFFFFU);
      largest = magnitude > largest ? magnitude : largest;
    }
    const bool finite_group = largest < 0x7F800000;
    const float scale = finite_group ? bits_to_float(static_cast<uint32_t>(largest)) / 127.0f : 0.0f;
    const float inverse = scale > 0x1p-126f ? 1.0f / scale : 0.0f;  // a subnormal scale would overflow: the group is 0
    // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer, ties to even. Not finite: 0. Small loops, each
    // of which the compiler makes vectors of.
    int32_t value[32];
    for (int i = 0; i < 32; ++i)
      value[i] = static_cast<int32_t>(float_to_bits(x[i] * inverse + 12582912.0f)) - 0x4B400000;
    for (int i = 0; i < 32; ++i) value[i] = finite_group ? value[i] : 0;
    for (int i = 0; i < 32; ++i) q[i] = static_cast<int8_t>(value[i]);
    int sum[2] = {0, 0};
    for (int i = 0; i < 16; ++i) sum[0] += value[i];
    for (int i = 0; i < 16; ++i) sum[1] += value[16 + i];
    const float nan = bits_to_float(0x7FC00000U);
    *d = finite_group ? scale : nan;
    *s = finite_group ? scale * static_cast<float>(sum[0] + sum[1]) : nan;
    sums[0] = static_cast<int16_t>(sum[0]);
    sums[1] = static_cast<int16_t>(sum[1]);
  }
}

void rms_norm(const float* x, const float* weight, float plus, float eps, int64_t n, float* out) {
  float lanes[row_lanes] = {};
  int64_t i = 0;
  for (; i + row_lanes <= n; i += row_lanes)
    for (int k = 0; k < row_lanes; ++k) lanes[k] += x[i + k] * x[i + k];
  for (int k = 0; i < n; ++i, ++k) lanes[k] += x[i] * x[i];
  const float mean = lane_sum(lanes) / static_cast<float>(n);
  const float scale = 1.0f / __builtin_sqrtf(mean + eps);
  for (i = 0; i < n; ++i) out[i] = x[i] * scale * (weight[i] + plus);
}

void add_rows(const float* a, const float* b, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = a[i] + b[i];
}

/// e^x within 2 ulp where the result is normal; 0 below -87.3, infinity above 88.7, NaN for NaN.
/// e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln 2 / 2; ln 2 in two parts; Taylor polynomial of degree 7 of e^r.
inline float exp_f32(float x) {
  const float bounded = x < -87.3f ? -87.3f : (x > 88.7f ? 88.7f : x);
  const float n = (bounded * 1.44269504f + 12582912.0f) - 12582912.0f;
  const float r = (bounded - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.0f / 5040.0f;
  p = p * r + 1.0f / 720.0f;
  p = p * r + 1.0f / 120.0f;
  p = p * r + 1.0f / 24.0f;
  p = p * r + 1.0f / 6.0f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  // 2^n in two factors: n = 128 has no float of its own. NaN in, NaN out: the cast is of a bounded value otherwise.
  const int32_t whole = static_cast<int32_t>(bounded == bounded ? n : 0.0f);
  const int32_t half = whole >> 1;
  const float result = p * bits_to_float(static_cast<uint32_t>(half + 127) << 23) *
                       bits_to_float(static_cast<uint32_t>(whole - half + 127) << 23);
  return x < -87.3f ? 0.0f : (x > 88.7f ? bits_to_float(0x7F800000U) : result);
}

void silu_mul(const float* a, const float* b, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = a[i] / (1.0f + exp_f32(-a[i])) * b[i];
}

/// 0.5 a (1 + tanh(u)) = a / (1 + e^(-2u)), u = sqrt(2/pi) (a + 0.044715 a^3)
void gelu_mul(const float* a, const float* b, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) {
    const float u2 = 1.59576912160573f * (a[i] + 0.044715f * a[i] * a[i] * a[i]);
    out[i] = a[i] / (1.0f + exp_f32(-u2)) * b[i];
  }
}

template <class V>
void store_row_f16(const float* __restrict x, int64_t n, uint16_t* __restrict out, int64_t stride) {
  int64_t i = 0;
  for (; i + V::lanes <= n; i += V::lanes) {
    uint16_t half[V::lanes];
    V::store_f16(half, V::load_f32(reinterpret_cast<const uint8_t*>(x + i)));
    if (stride == 1)
      __builtin_memcpy(out + i, half, sizeof half);
    else
      for (int k = 0; k < V::lanes; ++k) out[(i + k) * stride] = half[k];
  }
  for (; i < n; ++i) out[i * stride] = f32_to_f16(x[i]);
}

}  // namespace
}  // namespace apr::kernels
