// Compiles every kernel source for the host. One row of cuda_kernels.def is one function here.
#include "kernels/cuda/emu/bodies.h"

#include "apr/core/error.h"
#include "kernels/cuda/attention.cu"
#include "kernels/cuda/linear1.cu"
#include "kernels/cuda/linear8.cu"
#include "kernels/cuda/linear_prompt.cu"
#include "kernels/cuda/load.cu"
#include "kernels/cuda/prefill_attention.cu"
#include "kernels/cuda/rows.cu"
#include "kernels/cuda/sample.cu"
#include "kernels/cuda/stamps.cuh"

namespace apr::kernels::cuda::emu {

#define APR_FOR_KERNELS(X)                         \
  X(Repack, apr_repack)                            \
  X(Expand, apr_expand)                            \
  X(Embed, apr_embed)                              \
  X(Prepare, apr_prepare)                          \
  X(NormAdd, apr_norm_add)                         \
  X(Linear1, apr_linear1)                          \
  X(Linear8, apr_linear8)                          \
  X(Linear16, apr_linear16)                        \
  X(Linear32, apr_linear32)                        \
  X(Linear64, apr_linear64)                        \
  X(StoreKv, apr_store_kv)                         \
  X(Attention, apr_attention)                      \
  X(StoreKvQ8, apr_store_kv_q8)                    \
  X(AttentionQ8, apr_attention_q8)                 \
  X(PrefillAttention64, apr_prefill_attention64)   \
  X(PrefillAttention128, apr_prefill_attention128) \
  X(PrefillAttention256, apr_prefill_attention256) \
  X(Sample, apr_sample)

Emulator::Body body(KernelId kernel) {
  switch (kernel) {
#define APR_KERNEL_CASE(symbol, function) \
  case KernelId::symbol: return [](const void* params) { function(*static_cast<const symbol##Params*>(params)); };
    APR_FOR_KERNELS(APR_KERNEL_CASE)
#undef APR_KERNEL_CASE
  }
  APR_CHECK(false);
}

Emulator::Body stamped_body(KernelId kernel) {
  switch (kernel) {
#define APR_KERNEL_CASE(symbol, function) \
  case KernelId::symbol:                  \
    return [](const void* params) { run_stamped(*static_cast<const Stamped<symbol##Params>*>(params), function); };
    APR_FOR_KERNELS(APR_KERNEL_CASE)
#undef APR_KERNEL_CASE
  }
  APR_CHECK(false);
}

}  // namespace apr::kernels::cuda::emu
