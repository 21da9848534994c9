// Block conversion kernels. Pure functions on memory: no allocation, no exception, no global state.
// This header is included by the ISA objects and therefore includes nothing but compiler headers.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "apr/kernels/ops.h"

namespace apr::kernels {

/// `n_blocks` blocks at `src` (no alignment needed) -> n_blocks * block_elements floats at `dst`.
using DequantizeFn = void (*)(const void* src, float* dst, int64_t n_blocks);
/// n_blocks * block_elements floats at `src` -> `n_blocks` blocks at `dst`. Deterministic, round to nearest in the
/// block.
using QuantizeFn = void (*)(const float* src, void* dst, int64_t n_blocks);

/// One row per type; a null function means "no such kernel", never "does nothing".
struct QuantKernels {
  DequantizeFn dequantize;
  QuantizeFn quantize;
};

inline constexpr int n_ggml_types = 64;

/// All kernels compiled for one instruction set. One constinit instance per ISA object.
struct KernelTable {
  const char* isa;                   // "scalar", "avx2", "avx512", "avx512_vnni"
  QuantKernels quant[n_ggml_types];  // indexed by ggml id
  OpKernels ops;                     // of the fast executor
};

}  // namespace apr::kernels
