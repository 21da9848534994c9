// Moments in two passes. Sixteen sums side by side, which are added up as a tree: vectors of any width give the same
// bits.
namespace apr::kernels {
namespace {

typedef float Floats8 __attribute__((vector_size(32)));
typedef int Ints8 __attribute__((vector_size(32)));
typedef double Doubles8 __attribute__((vector_size(64)));

/// Sixteen sums. Element i of what is added goes to sum i % 16.
struct Sums16 {
  Doubles8 a, b;
};

double sum_up(const Sums16& sums, const double rest[16]) {
  double s[16];
  __builtin_memcpy(s, &sums, sizeof s);
  for (int i = 0; i < 16; ++i) s[i] += rest[i];
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) s[i] += s[i + half];
  return s[0];
}

void moments(const float* values, int64_t n, MomentSums* out) {
  const int64_t whole = n / 16 * 16;
  Sums16 sum = {};
  double rest[16] = {};
  const float first = values[0];
  Floats8 low = {first, first, first, first, first, first, first, first}, high = low;
  Ints8 zeros = {};
  for (int64_t i = 0; i < whole; i += 16) {
    Floats8 a, b;
    __builtin_memcpy(&a, values + i, 32);
    __builtin_memcpy(&b, values + i + 8, 32);
    sum.a += __builtin_convertvector(a, Doubles8);
    sum.b += __builtin_convertvector(b, Doubles8);
    low = a < low ? a : low;
    high = a > high ? a : high;
    low = b < low ? b : low;
    high = b > high ? b : high;
    zeros -= (a == Floats8{}) + (b == Floats8{});
  }
  out->min = first;
  out->max = first;
  out->n_zero = 0;
  const auto add_extremes = [&](float lowest, float highest) {
    out->min = lowest < out->min ? lowest : out->min;
    out->max = highest > out->max ? highest : out->max;
  };
  for (int k = 0; k < 8; ++k) {
    out->n_zero += zeros[k];
    add_extremes(low[k], high[k]);
  }
  for (int64_t i = whole; i < n; ++i) {
    rest[i % 16] += static_cast<double>(values[i]);
    out->n_zero += values[i] == 0.0F ? 1 : 0;
    add_extremes(values[i], values[i]);
  }
  const double mean = sum_up(sum, rest) / static_cast<double>(n);
  const Doubles8 means = {mean, mean, mean, mean, mean, mean, mean, mean};
  Sums16 m2 = {}, m3 = {}, m4 = {};
  double rest2[16] = {}, rest3[16] = {}, rest4[16] = {};
  for (int64_t i = 0; i < whole; i += 16) {
    Floats8 a, b;
    __builtin_memcpy(&a, values + i, 32);
    __builtin_memcpy(&b, values + i + 8, 32);
    const Doubles8 da = __builtin_convertvector(a, Doubles8) - means, db = __builtin_convertvector(b, Doubles8) - means;
    const Doubles8 da2 = da * da, db2 = db * db;
    m2.a += da2;
    m2.b += db2;
    m3.a += da2 * da;
    m3.b += db2 * db;
    m4.a += da2 * da2;
    m4.b += db2 * db2;
  }
  for (int64_t i = whole; i < n; ++i) {
    const double d = static_cast<double>(values[i]) - mean, d2 = d * d;
    rest2[i % 16] += d2;
    rest3[i % 16] += d2 * d;
    rest4[i % 16] += d2 * d2;
  }
  out->mean = mean;
  out->m2 = sum_up(m2, rest2);
  out->m3 = sum_up(m3, rest3);
  out->m4 = sum_up(m4, rest4);
}

}  // namespace
}  // namespace apr::kernels
