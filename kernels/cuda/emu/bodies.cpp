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

Emulator::Body body(KernelId kernel) {
  switch (kernel) {
#define APR_CUDA_KERNEL(symbol, name, module, threads, registers) \
  case KernelId::symbol:                                          \
    return [](const void* params) { apr_##name(*static_cast<const symbol##Params*>(params)); };
#include "apr/kernels/cuda_kernels.def"
#undef APR_CUDA_KERNEL
  }
  APR_CHECK(false);
}

Emulator::Body stamped_body(KernelId kernel) {
  switch (kernel) {
#define APR_CUDA_KERNEL(symbol, name, module, threads, registers) \
  case KernelId::symbol:                                          \
    return [](const void* params) { run_stamped(*static_cast<const Stamped<symbol##Params>*>(params), apr_##name); };
#include "apr/kernels/cuda_kernels.def"
#undef APR_CUDA_KERNEL
  }
  APR_CHECK(false);
}

}  // namespace apr::kernels::cuda::emu
