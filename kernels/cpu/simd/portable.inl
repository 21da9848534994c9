// The vector interface of the panel kernels in plain C++, with any number of lanes: the reference of the others, and
// what runs on a machine that has none of them. A vector is N lanes of 4 bytes; a lane is one row of a panel.
namespace apr::kernels {
namespace {

template <int N>
struct PortableVec {
  static constexpr int lanes = N;
  static constexpr int block_cols = 4;  // columns that run together at most
  struct I {
    int32_t v[N];
  };
  struct F {
    float v[N];
  };

  static I load(const uint8_t* p) {
    I r;
    __builtin_memcpy(r.v, p, sizeof r.v);
    return r;
  }
  static I splat(int32_t x) {
    I r;
    for (int i = 0; i < N; ++i) r.v[i] = x;
    return r;
  }
  /// Every byte: Mask-wide field that starts at bit From, moved to bit To.
  template <int From, int To, int Mask>
  static I field(I a) {
    constexpr uint32_t mask = 0x01010101U * static_cast<uint32_t>(Mask << To);
    for (int i = 0; i < N; ++i) {
      const auto word = static_cast<uint32_t>(a.v[i]);
      a.v[i] = static_cast<int32_t>((From >= To ? word >> (From - To) : word << (To - From)) & mask);
    }
    return a;
  }
  static I or_(I a, I b) {
    for (int i = 0; i < N; ++i) a.v[i] |= b.v[i];
    return a;
  }
  /// Every byte, 0..15, replaced by its entry.
  static I lookup(I index, const int8_t table[16]) {
    for (int i = 0; i < N; ++i) {
      uint8_t b[4];
      __builtin_memcpy(b, &index.v[i], 4);
      for (uint8_t& x : b) x = static_cast<uint8_t>(table[x & 15]);
      __builtin_memcpy(&index.v[i], b, 4);
    }
    return index;
  }
  static constexpr bool unsigned_only = false;
  /// Every byte's top bit inverted: a signed byte plus 128.
  static I flip_sign(I a) {
    for (int i = 0; i < N; ++i) a.v[i] ^= static_cast<int32_t>(0x80808080U);
    return a;
  }
  /// Sum of w * x over `count` elements from `first` on, w unsigned: exact.
  static I dot_unsigned(const I* w, const int8_t* x, int first, int count) {
    I r = splat(0);
    for (int i = 0; i < N; ++i)
      for (int k = first; k < first + count; ++k)
        r.v[i] += static_cast<int32_t>((static_cast<uint32_t>(w[k / 4].v[i]) >> (8 * (k % 4))) & 0xFF) * x[k];
    return r;
  }
  static constexpr int together = 1;  // columns whose sums run side by side
  /// sum[n] += w * x over 32 weights (8 dwords), w unsigned below 2^Bits, exact; for C columns, 32 bytes of x each.
  template <int Bits, int C>
  static void dot32(const I w[8], const int8_t* x, I sum[C]) {
    for (int n = 0; n < C; ++n) sum[n] = add(sum[n], dot_unsigned(w, x + 32 * n, 0, 32));
  }
  /// sum[n] = the same with a factor for each half of 16.
  template <int Bits, int C>
  static void dot32_scaled(const I w[8], const int8_t* x, const I sc[2], I sum[C]) {
    for (int n = 0; n < C; ++n, x += 32)
      sum[n] = add(mul(dot_unsigned(w, x, 0, 16), sc[0]), mul(dot_unsigned(w, x, 16, 16), sc[1]));
  }
  /// The sum over 32 signed weights.
  static I dot32_signed(const I w[8], const int8_t* x) {
    I r = splat(0);
    for (int i = 0; i < N; ++i)
      for (int k = 0; k < 32; ++k)
        r.v[i] += static_cast<int8_t>(static_cast<uint32_t>(w[k / 4].v[i]) >> (8 * (k % 4))) * x[k];
    return r;
  }
  /// Two int16 a lane.
  static I pairs(I low, I high) {
    for (int i = 0; i < N; ++i)
      low.v[i] =
          static_cast<int32_t>((static_cast<uint32_t>(low.v[i]) & 0xFFFFU) | static_cast<uint32_t>(high.v[i]) << 16);
    return low;
  }
  /// low * two[0] + high * two[1]
  static I mul_pairs(I a, const int16_t* two) {
    for (int i = 0; i < N; ++i)
      a.v[i] = static_cast<int16_t>(static_cast<uint32_t>(a.v[i])) * two[0] +
               static_cast<int16_t>(static_cast<uint32_t>(a.v[i]) >> 16) * two[1];
    return a;
  }
  static I add(I a, I b) {
    for (int i = 0; i < N; ++i) a.v[i] += b.v[i];
    return a;
  }
  static I sub(I a, I b) {
    for (int i = 0; i < N; ++i) a.v[i] -= b.v[i];
    return a;
  }
  static I mul(I a, I b) {
    for (int i = 0; i < N; ++i) a.v[i] *= b.v[i];
    return a;
  }
  /// N bytes, widened.
  static I load_u8(const uint8_t* p) {
    I r;
    for (int i = 0; i < N; ++i) r.v[i] = p[i];
    return r;
  }
  static I load_i8(const uint8_t* p) {
    I r;
    for (int i = 0; i < N; ++i) r.v[i] = static_cast<int8_t>(p[i]);
    return r;
  }
  static F to_f(I a) {
    F r;
    for (int i = 0; i < N; ++i) r.v[i] = static_cast<float>(a.v[i]);
    return r;
  }
  static F splat_f(float x) {
    F r;
    for (int i = 0; i < N; ++i) r.v[i] = x;
    return r;
  }
  static F mul(F a, F b) {
    for (int i = 0; i < N; ++i) a.v[i] *= b.v[i];
    return a;
  }
  static F add(F a, F b) {
    for (int i = 0; i < N; ++i) a.v[i] += b.v[i];
    return a;
  }
  /// a * b + c with one rounding, as the vector instruction.
  static F fma(F a, F b, F c) {
    for (int i = 0; i < N; ++i) c.v[i] = __builtin_fmaf(a.v[i], b.v[i], c.v[i]);
    return c;
  }
  /// c - a * b
  static F fnma(F a, F b, F c) {
    for (int i = 0; i < N; ++i) c.v[i] = __builtin_fmaf(-a.v[i], b.v[i], c.v[i]);
    return c;
  }
  static F load_f32(const uint8_t* p) {
    F r;
    __builtin_memcpy(r.v, p, sizeof r.v);
    return r;
  }
  static F load_f16(const uint8_t* p) {
    F r;
    for (int i = 0; i < N; ++i) r.v[i] = apr::kernels::load_f16(p + 2 * i);
    return r;
  }
  static F load_bf16(const uint8_t* p) {
    F r;
    for (int i = 0; i < N; ++i) {
      const uint32_t bits = (static_cast<uint32_t>(p[2 * i]) | static_cast<uint32_t>(p[2 * i + 1]) << 8) << 16;
      __builtin_memcpy(&r.v[i], &bits, 4);
    }
    return r;
  }
  static void store_f16(uint16_t* p, F a) {
    for (int i = 0; i < N; ++i) p[i] = f32_to_f16(a.v[i]);
  }
  static void store(float* p, F a) { __builtin_memcpy(p, a.v, sizeof a.v); }
  static void prefetch(const uint8_t*) {}
};

}  // namespace
}  // namespace apr::kernels
