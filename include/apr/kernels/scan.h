// Kernels that look at every byte of a file: counts and screens, no decoding. Pure functions on memory.
// This header is included by ISA objects and therefore includes nothing but compiler headers.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace apr::kernels {

/// counts[0][v] low nibbles of value v, counts[1][v] high ones.
struct NibbleCounts {
  uint32_t n[2][16];
};

/// 64-byte chunks of a screened range of which something is true that is true of no healthy weights. Every other chunk
/// and the last are looked at: a run of 192 bytes holds one of them, in this range or, when it goes on there, in the
/// next.
struct ScreenCounts {
  uint32_t no_high_bit;  // no byte above 0x7F: zeros, text
  uint32_t equal[3];     // equal to the chunk `lag[i]` bytes behind it
};

/// Of finite floats. m2, m3, m4: sums of the powers of their distances from the mean.
struct MomentSums {
  double mean, m2, m3, m4;
  float min, max;
  int64_t n_zero;
};

struct ScanKernels {
  const char* isa;
  /// Adds the nibbles of `count` segments of `width` bytes that start `stride` bytes apart. `period` is 1, 2 or 4: byte
  /// i of a segment is counted in counts[i % period].
  void (*count_nibbles)(const uint8_t* bytes, int64_t width, int64_t stride, int64_t count, int period,
                        NibbleCounts* counts);
  /// Adds what is true of every other of the whole 64-byte chunks in [bytes, bytes + n), and of the last. Reads up to
  /// `end`; a lag of 0, or one that leads past `end`, is not compared.
  void (*screen)(const uint8_t* bytes, int64_t n, const uint8_t* end, const int64_t lag[3], ScreenCounts* counts);
  /// The greatest of x & 0x7FFF or x & 0x7FFFFFFF: of f16, bf16 and f32 the bits of the greatest magnitude, NaN above
  /// all.
  uint16_t (*max_abs_16)(const uint8_t* bytes, int64_t n_values);
  uint32_t (*max_abs_32)(const uint8_t* bytes, int64_t n_values);
  /// Of n > 0 finite values, in two passes and in double. The order of the sums is the same for every instruction set.
  void (*moments)(const float* values, int64_t n, MomentSums* out);
};

/// The kernels that go with the instruction set in use (kernels/dispatch.h).
[[nodiscard]] const ScanKernels& active_scan();
/// Every table that this machine can run, the best last; how many.
size_t scan_tables(const ScanKernels* tables[4]);

}  // namespace apr::kernels
