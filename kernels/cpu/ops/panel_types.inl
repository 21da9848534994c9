// How each type's block becomes a panel unit: one struct per type, read() from the layouts drawn in kernels/cpu/quant.
namespace apr::kernels {
namespace {

inline void copy2(uint8_t* to, const uint8_t* from) { __builtin_memcpy(to, from, 2); }
/// 16 bytes of nibbles: element j low, element j + 16 high.
inline void nibbles_of_32(const uint8_t* qs, uint8_t* q) {
  for (int j = 0; j < 16; ++j) q[j] = qs[j] & 15, q[j + 16] = static_cast<uint8_t>(qs[j] >> 4);
}
inline void fifth_bits_of_32(const uint8_t* qh, uint8_t* q) {
  const uint32_t bits = load<uint32_t>(qh);
  for (int j = 0; j < 32; ++j) q[j] = static_cast<uint8_t>(q[j] | ((bits >> j) & 1) << 4);
}
inline void scale_mins_of_256(const uint8_t* packed, UnitRow& row) {
  for (int j = 0; j < 8; ++j) {
    const ScaleMin both = load_scale_min(packed, j);
    row.sc[j] = static_cast<uint8_t>(both.scale);
    row.mn[j] = static_cast<uint8_t>(both.min);
  }
}

template <int Bits, int Offset, Scale S, int BlockBytes>
struct PanelType {
  static constexpr int bits = Bits, offset = Offset, block_bytes = BlockBytes;
  static constexpr Scale scale = S;
  static constexpr const int8_t* table = nullptr;
};

struct PanelQ4_0 : PanelType<4, 8, Scale::D16, 18> {
  static void read(const uint8_t* b, UnitRow& row) { copy2(row.d, b), nibbles_of_32(b + 2, row.q); }
};
struct PanelQ4_1 : PanelType<4, 0, Scale::D16M16, 20> {
  static void read(const uint8_t* b, UnitRow& row) {
    copy2(row.d, b), copy2(row.m, b + 2), nibbles_of_32(b + 4, row.q);
  }
};
struct PanelQ5_0 : PanelType<5, 16, Scale::D16, 22> {
  static void read(const uint8_t* b, UnitRow& row) {
    copy2(row.d, b), nibbles_of_32(b + 6, row.q), fifth_bits_of_32(b + 2, row.q);
  }
};
struct PanelQ5_1 : PanelType<5, 0, Scale::D16M16, 24> {
  static void read(const uint8_t* b, UnitRow& row) {
    copy2(row.d, b), copy2(row.m, b + 2), nibbles_of_32(b + 8, row.q), fifth_bits_of_32(b + 4, row.q);
  }
};
struct PanelQ8_0 : PanelType<8, 0, Scale::D16, 34> {
  static void read(const uint8_t* b, UnitRow& row) { copy2(row.d, b), __builtin_memcpy(row.q, b + 2, 32); }
};
struct PanelQ2_K : PanelType<2, 0, Scale::K16M, 84> {
  static void read(const uint8_t* b, UnitRow& row) {
    __builtin_memcpy(row.sc, b, 16);  // scale in the low nibble, minimum in the high one: as the panel has it
    for (int i = 0; i < 256; ++i) row.q[i] = (b[16 + i / 128 * 32 + i % 32] >> (2 * (i / 32 % 4))) & 3;
    copy2(row.d, b + 80), copy2(row.m, b + 82);
  }
};
struct PanelQ3_K : PanelType<3, 4, Scale::K16, 110> {
  static void read(const uint8_t* b, UnitRow& row) {
    const uint8_t* scales = b + 96;
    for (int s = 0; s < 16; ++s) {
      const int low = (scales[s % 8] >> (4 * (s / 8))) & 15, high = (scales[8 + s % 4] >> (2 * (s / 4))) & 3;
      row.sc[s] = static_cast<uint8_t>((low | high << 4) - 32);
    }
    for (int i = 0; i < 256; ++i) {
      const int low = (b[32 + i / 128 * 32 + i % 32] >> (2 * (i / 32 % 4))) & 3, high = (b[i % 32] >> (i / 32)) & 1;
      row.q[i] = static_cast<uint8_t>(low | high << 2);
    }
    copy2(row.d, b + 108);
  }
};
struct PanelQ4_K : PanelType<4, 0, Scale::K32M, 144> {
  static void read(const uint8_t* b, UnitRow& row) {
    copy2(row.d, b), copy2(row.m, b + 2), scale_mins_of_256(b + 4, row);
    for (int p = 0; p < 4; ++p)
      for (int j = 0; j < 32; ++j) {
        const uint8_t v = b[16 + 32 * p + j];
        row.q[64 * p + j] = v & 15;
        row.q[64 * p + 32 + j] = static_cast<uint8_t>(v >> 4);
      }
  }
};
struct PanelQ5_K : PanelType<5, 0, Scale::K32M, 176> {
  static void read(const uint8_t* b, UnitRow& row) {
    copy2(row.d, b), copy2(row.m, b + 2), scale_mins_of_256(b + 4, row);
    for (int p = 0; p < 4; ++p)
      for (int j = 0; j < 32; ++j) {
        const int v = b[48 + 32 * p + j], high = b[16 + j] >> (2 * p);
        row.q[64 * p + j] = static_cast<uint8_t>((v & 15) | (high & 1) << 4);
        row.q[64 * p + 32 + j] = static_cast<uint8_t>(v >> 4 | (high & 2) << 3);
      }
  }
};
struct PanelQ6_K : PanelType<6, 32, Scale::K16, 210> {
  static void read(const uint8_t* b, UnitRow& row) {
    for (int h = 0; h < 2; ++h)
      for (int j = 0; j < 32; ++j) {
        const int a = b[64 * h + j], c = b[64 * h + 32 + j], top = b[128 + 32 * h + j];
        uint8_t* q = row.q + 128 * h + j;
        q[0] = static_cast<uint8_t>((a & 15) | (top & 3) << 4);
        q[32] = static_cast<uint8_t>((c & 15) | (top >> 2 & 3) << 4);
        q[64] = static_cast<uint8_t>(a >> 4 | (top >> 4 & 3) << 4);
        q[96] = static_cast<uint8_t>(c >> 4 | (top >> 6) << 4);
      }
    __builtin_memcpy(row.sc, b + 192, 16);
    copy2(row.d, b + 208);
  }
};
struct PanelIQ4_NL : PanelType<4, 0, Scale::D16, 18> {
  static constexpr const int8_t* table = kIq4Values;
  static void read(const uint8_t* b, UnitRow& row) { copy2(row.d, b), nibbles_of_32(b + 2, row.q); }
};
struct PanelIQ4_XS : PanelType<4, 0, Scale::K32, 136> {
  static constexpr const int8_t* table = kIq4Values;
  static void read(const uint8_t* b, UnitRow& row) {
    const int high = load<uint16_t>(b + 2);
    for (int s = 0; s < 8; ++s) {
      row.sc[s] = static_cast<uint8_t>((((b[4 + s / 2] >> (4 * (s & 1))) & 15) | ((high >> (2 * s)) & 3) << 4) - 32);
      nibbles_of_32(b + 8 + 16 * s, row.q + 32 * s);
    }
    copy2(row.d, b);
  }
};
struct PanelMXFP4 : PanelType<4, 0, Scale::D32, 17> {
  static constexpr const int8_t* table = kFp4Values;
  static void read(const uint8_t* b, UnitRow& row) {
    store(row.d, mxfp4_half_scale(b[0]));
    nibbles_of_32(b + 1, row.q);
  }
};

struct PanelF32 {
  static constexpr int element_bytes = 4;
  template <class V>
  static typename V::F load(const uint8_t* p) {
    return V::load_f32(p);
  }
};
struct PanelF16 {
  static constexpr int element_bytes = 2;
  template <class V>
  static typename V::F load(const uint8_t* p) {
    return V::load_f16(p);
  }
};
struct PanelBF16 {
  static constexpr int element_bytes = 2;
  template <class V>
  static typename V::F load(const uint8_t* p) {
    return V::load_bf16(p);
  }
};

template <class V, class T>
constexpr PanelKernels integer_panel() {
  return {32 * groups_of<T>, unit_row_bytes<T> * V::lanes, true, repack_panel<T, V::lanes>, multiply_panel<V, T>};
}
template <class V, class T>
constexpr PanelKernels float_panel() {
  return {1, T::element_bytes * V::lanes, false, repack_float_panel<T, V::lanes>, multiply_float_panel<V, T>};
}

/// The rows of OpKernels::panel, by ggml id.
template <class V>
constexpr void fill_panels(PanelKernels* panel) {
  panel[ggml_id_F32] = float_panel<V, PanelF32>();
  panel[ggml_id_F16] = float_panel<V, PanelF16>();
  panel[ggml_id_BF16] = float_panel<V, PanelBF16>();
  panel[ggml_id_Q4_0] = integer_panel<V, PanelQ4_0>();
  panel[ggml_id_Q4_1] = integer_panel<V, PanelQ4_1>();
  panel[ggml_id_Q5_0] = integer_panel<V, PanelQ5_0>();
  panel[ggml_id_Q5_1] = integer_panel<V, PanelQ5_1>();
  panel[ggml_id_Q8_0] = integer_panel<V, PanelQ8_0>();
  panel[ggml_id_Q2_K] = integer_panel<V, PanelQ2_K>();
  panel[ggml_id_Q3_K] = integer_panel<V, PanelQ3_K>();
  panel[ggml_id_Q4_K] = integer_panel<V, PanelQ4_K>();
  panel[ggml_id_Q5_K] = integer_panel<V, PanelQ5_K>();
  panel[ggml_id_Q6_K] = integer_panel<V, PanelQ6_K>();
  panel[ggml_id_IQ4_NL] = integer_panel<V, PanelIQ4_NL>();
  panel[ggml_id_IQ4_XS] = integer_panel<V, PanelIQ4_XS>();
  panel[ggml_id_MXFP4] = integer_panel<V, PanelMXFP4>();
}

}  // namespace
}  // namespace apr::kernels
