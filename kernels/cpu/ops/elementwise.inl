// Row ops in f32. Sums run in 16 fixed lanes that are added pairwise at the end, so every instruction set gives the same
// bits; the loops are written so that the compiler turns a lane loop into vectors.
namespace apr::kernels {
namespace {

inline constexpr int row_lanes = 16;

/// The 16 partial sums, halves added pairwise.
inline float lane_sum(float* lanes) {
  for (int n = row_lanes / 2; n > 0; n /= 2)
    for (int i = 0; i < n; ++i) lanes[i] += lanes[i + n];
  return lanes[0];
}

void quantize_activation(const float* __restrict x, int64_t n_cols, int8_t* __restrict q, float* __restrict d,
                         float* __restrict s, int16_t* __restrict sums) {
  for (int64_t g = 0; g < n_cols / 32; ++g, x += 32, q += 32) {
    int32_t largest = 0;  // magnitudes compare as integers; NaN and infinity are the largest
    for (int i = 0; i < 32; ++i) {
      const auto magnitude = static_cast<int32_t>(float_to_bits(x[i]) & 0x7FFFFFFFU);
      largest = magnitude > largest ? magnitude : largest;
    }
    const bool finite_group = largest < 0x7F800000;
    const float scale = finite_group ? bits_to_float(static_cast<uint32_t>(largest)) / 127.0f : 0.0f;
    const float inverse = scale > 0x1p-126f ? 1.0f / scale : 0.0f;  // a subnormal scale would overflow: the group is 0
    int sum[2] = {0, 0};
    for (int h = 0; h < 2; ++h)
      for (int i = 0; i < 16; ++i) {
        // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer, ties to even. Not finite: 0.
        const float v = finite_group ? x[16 * h + i] * inverse : 0.0f;
        const int value = static_cast<int32_t>(float_to_bits(v + 12582912.0f)) - 0x4B400000;
        q[16 * h + i] = static_cast<int8_t>(value);
        sum[h] += value;
      }
    const float nan = bits_to_float(0x7FC00000U);
    d[g] = finite_group ? scale : nan;
    s[g] = finite_group ? scale * static_cast<float>(sum[0] + sum[1]) : nan;
    sums[2 * g] = static_cast<int16_t>(sum[0]);
    sums[2 * g + 1] = static_cast<int16_t>(sum[1]);
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

void store_row_f16(const float* x, int64_t n, uint16_t* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = f32_to_f16(x[i]);
}

// ---- attention of one query row over one head's cache, in chunks of positions with online softmax ----

inline constexpr int64_t attention_chunk = 64, max_head_dim = 512;

/// Blocks of 16 elements that run together: enough independent sums to hide the latency of the FMA.
inline constexpr int64_t attention_blocks = 4;

/// scale * q.k for n positions; q is padded with zeros to whole blocks of 16.
template <class V>
void attention_scores(const float* q, const uint16_t* keys, int64_t stride, int64_t n, int64_t n_blocks, float scale, float* score) {
  constexpr int parts = row_lanes / V::lanes;
  for (int64_t i = 0; i < n; ++i, keys += stride) {
    typename V::F sum[parts];
    for (int p = 0; p < parts; ++p) sum[p] = V::splat_f(0.0f);
    for (int64_t b = 0; b < n_blocks; ++b)
      for (int p = 0; p < parts; ++p) {
        const int64_t at = row_lanes * b + V::lanes * p;
        sum[p] = V::fma(V::load_f32(reinterpret_cast<const uint8_t*>(q + at)), V::load_f16(reinterpret_cast<const uint8_t*>(keys + at)), sum[p]);
      }
    float lanes[row_lanes];
    for (int p = 0; p < parts; ++p) V::store(lanes + V::lanes * p, sum[p]);
    score[i] = scale * lane_sum(lanes);
  }
}

/// acc = acc * shrink + sum of weight[i] * value[i] over n positions, for `Blocks` blocks of 16 elements.
template <class V, int Blocks>
void attention_values(const float* weight, const uint16_t* values, int64_t stride, int64_t n, float shrink, float* acc) {
  constexpr int parts = Blocks * row_lanes / V::lanes;
  typename V::F sum[parts];
  for (int p = 0; p < parts; ++p)
    sum[p] = V::mul(V::load_f32(reinterpret_cast<const uint8_t*>(acc + V::lanes * p)), V::splat_f(shrink));
  for (int64_t i = 0; i < n; ++i, values += stride) {
    const auto w = V::splat_f(weight[i]);
    for (int p = 0; p < parts; ++p)
      sum[p] = V::fma(w, V::load_f16(reinterpret_cast<const uint8_t*>(values + V::lanes * p)), sum[p]);
  }
  for (int p = 0; p < parts; ++p) V::store(acc + V::lanes * p, sum[p]);
}

template <class V>
void attention_row(const float* q, const KvHead* kv, int64_t first, int64_t last, int64_t head_dim, float scale, float* out) {
  float query[max_head_dim], acc[max_head_dim], score[attention_chunk];
  const int64_t n_blocks = (head_dim + row_lanes - 1) / row_lanes;
  for (int64_t i = 0; i < n_blocks * row_lanes; ++i) {
    query[i] = i < head_dim ? q[i] : 0.0f;
    acc[i] = 0.0f;
  }
  float highest = bits_to_float(0xFF800000U), sum = 0.0f;
  for (int64_t p = first; p < last; p += attention_chunk) {
    const int64_t n = last - p < attention_chunk ? last - p : attention_chunk;
    attention_scores<V>(query, kv->keys + p * kv->stride, kv->stride, n, n_blocks, scale, score);
    const float before = highest;
    for (int64_t i = 0; i < n; ++i) highest = score[i] > highest ? score[i] : highest;
    // The first chunk multiplies zeros by e^-infinity = 0. A NaN score is never the highest and stays a NaN weight.
    const float shrink = exp_f32(before - highest);
    for (int64_t i = 0; i < n; ++i) score[i] = exp_f32(score[i] - highest);
    sum *= shrink;
    for (int64_t i = 0; i < n; ++i) sum += score[i];
    const uint16_t* values = kv->values + p * kv->stride;
    int64_t b = 0;
    for (; b + attention_blocks <= n_blocks; b += attention_blocks)
      attention_values<V, attention_blocks>(score, values + row_lanes * b, kv->stride, n, shrink, acc + row_lanes * b);
    for (; b < n_blocks; ++b) attention_values<V, 1>(score, values + row_lanes * b, kv->stride, n, shrink, acc + row_lanes * b);
  }
  for (int64_t i = 0; i < head_dim; ++i) out[i] = acc[i] / sum;
}

template <class V>
constexpr OpKernels op_kernels() {
  OpKernels ops = {};
  ops.lanes = V::lanes;
  fill_panels<V>(ops.panel);
  ops.quantize_activation = quantize_activation;
  ops.rms_norm = rms_norm;
  ops.add = add_rows;
  ops.silu_mul = silu_mul;
  ops.gelu_mul = gelu_mul;
  ops.store_f16 = store_row_f16;
  ops.attention = attention_row<V>;
  ops.read_all = read_all;
  ops.peak_int8 = peak_int8;
  return ops;
}

}  // namespace
}  // namespace apr::kernels
