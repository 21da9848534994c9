// Compiles every kernel source for the host. One row of cuda_kernels.def is one function here.
#include "kernels/cuda/emu/bodies.h"

#include "apr/core/error.h"
#include "kernels/cuda/attention.cu"
#include "kernels/cuda/linear1.cu"
#include "kernels/cuda/linear8.cu"
#include "kernels/cuda/load.cu"
#include "kernels/cuda/prefill_attention.cu"
#include "kernels/cuda/rows.cu"
#include "kernels/cuda/sample.cu"

namespace apr::kernels::cuda::emu {

Emulator::Body body(KernelId kernel) {
  switch (kernel) {
#define APR_KERNEL_CASE(symbol, function) \
  case KernelId::symbol: return [](const void* params) { function(*static_cast<const symbol##Params*>(params)); };
    APR_KERNEL_CASE(Repack, apr_repack)
    APR_KERNEL_CASE(Expand, apr_expand)
    APR_KERNEL_CASE(Embed, apr_embed)
    APR_KERNEL_CASE(Prepare, apr_prepare)
    APR_KERNEL_CASE(NormAdd, apr_norm_add)
    APR_KERNEL_CASE(Linear1, apr_linear1)
    APR_KERNEL_CASE(Linear8, apr_linear8)
    APR_KERNEL_CASE(StoreKv, apr_store_kv)
    APR_KERNEL_CASE(Attention, apr_attention)
    APR_KERNEL_CASE(StoreKvQ8, apr_store_kv_q8)
    APR_KERNEL_CASE(AttentionQ8, apr_attention_q8)
    APR_KERNEL_CASE(PrefillAttention64, apr_prefill_attention64)
    APR_KERNEL_CASE(PrefillAttention128, apr_prefill_attention128)
    APR_KERNEL_CASE(PrefillAttention256, apr_prefill_attention256)
    APR_KERNEL_CASE(Sample, apr_sample)
#undef APR_KERNEL_CASE
  }
  APR_CHECK(false);
}

}  // namespace apr::kernels::cuda::emu
