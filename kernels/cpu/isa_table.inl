// The body of every isa_*.cpp: all kernel bodies with internal linkage, and the one constinit table that is exported.
// An inline function with external linkage here would be merged by the linker with another ISA's copy and run
// instructions that the machine lacks; tests/lint/isa_objects.py checks the objects for that.
#include "apr/kernels/ops.h"
#include "apr/kernels/quant.h"
// These three first.
// clang-format off
#include "kernels/cpu/quant/common.inl"
#include "kernels/cpu/quant/iq_grids.inl"
#include "kernels/cpu/quant/k_fit.inl"
// clang-format on

#include "kernels/cpu/quant/bf16.inl"
#include "kernels/cpu/quant/f16.inl"
#include "kernels/cpu/quant/f32.inl"
#include "kernels/cpu/quant/f64.inl"
#include "kernels/cpu/quant/i16.inl"
#include "kernels/cpu/quant/i32.inl"
#include "kernels/cpu/quant/i64.inl"
#include "kernels/cpu/quant/i8.inl"
#include "kernels/cpu/quant/iq1_m.inl"
#include "kernels/cpu/quant/iq1_s.inl"
#include "kernels/cpu/quant/iq2_s.inl"
#include "kernels/cpu/quant/iq2_xs.inl"
#include "kernels/cpu/quant/iq2_xxs.inl"
#include "kernels/cpu/quant/iq3_s.inl"
#include "kernels/cpu/quant/iq3_xxs.inl"
#include "kernels/cpu/quant/iq4_nl.inl"
#include "kernels/cpu/quant/iq4_xs.inl"
#include "kernels/cpu/quant/mxfp4.inl"
#include "kernels/cpu/quant/nvfp4.inl"
#include "kernels/cpu/quant/q1_0.inl"
#include "kernels/cpu/quant/q2_0.inl"
#include "kernels/cpu/quant/q2_k.inl"
#include "kernels/cpu/quant/q3_k.inl"
#include "kernels/cpu/quant/q4_0.inl"
#include "kernels/cpu/quant/q4_1.inl"
#include "kernels/cpu/quant/q4_k.inl"
#include "kernels/cpu/quant/q5_0.inl"
#include "kernels/cpu/quant/q5_1.inl"
#include "kernels/cpu/quant/q5_k.inl"
#include "kernels/cpu/quant/q6_k.inl"
#include "kernels/cpu/quant/q8_0.inl"
#include "kernels/cpu/quant/q8_1.inl"
#include "kernels/cpu/quant/q8_k.inl"
#include "kernels/cpu/quant/tq1_0.inl"
#include "kernels/cpu/quant/tq2_0.inl"

#define APR_STRING2(x) #x
#define APR_STRING(x) APR_STRING2(x)
#define APR_JOIN2(a, b) a##b
#define APR_JOIN(a, b) APR_JOIN2(a, b)

namespace apr::kernels {
namespace {

enum GgmlId : int {
#define APR_TENSOR_TYPE(symbol, text, id, block_elements, block_bytes, status) ggml_id_##symbol = id,
#include "apr/core/tensor_types.def"
#undef APR_TENSOR_TYPE
};

}  // namespace
}  // namespace apr::kernels

// The vector of this instruction set, and the bodies written on it.
#if defined(__AVX512BW__)
#include "kernels/cpu/simd/avx512.inl"
#elif defined(__AVX2__)
#include "kernels/cpu/simd/avx2.inl"
#else
#include "kernels/cpu/simd/portable.inl"
#endif
// In this order.
// clang-format off
#include "kernels/cpu/ops/panel.inl"
#include "kernels/cpu/ops/panel_types.inl"
#include "kernels/cpu/ops/probe.inl"
#include "kernels/cpu/ops/elementwise.inl"
#include "kernels/cpu/ops/attention.inl"
#include "kernels/cpu/ops/op_table.inl"
// clang-format on

namespace apr::kernels {
namespace {

#if defined(__AVX512BW__)
using Vec = Avx512Vec;
#elif defined(__AVX2__)
using Vec = Avx2Vec;
#else
using Vec = PortableVec<16>;
#endif

constexpr KernelTable make_table() {
  KernelTable table = {APR_STRING(APR_ISA_NAME), {}, op_kernels<Vec>()};
#define APR_QUANT_KERNEL(symbol, dequantize, quantize) table.quant[ggml_id_##symbol] = {dequantize, quantize};
#include "kernels/cpu/quant_kernels.def"
#undef APR_QUANT_KERNEL
  return table;
}

}  // namespace

extern const KernelTable APR_JOIN(table_, APR_ISA_NAME);
constinit const KernelTable APR_JOIN(table_, APR_ISA_NAME) = make_table();

}  // namespace apr::kernels
