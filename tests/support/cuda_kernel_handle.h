// What emulated drivers give out for a kernel: which one, plain or with time stamps.
#pragma once
#include <cstddef>
#include <string_view>
#include <vector>

#include "apr/kernels/cuda_kernels.h"

namespace apr::test {

struct CudaKernelHandle {
  const kernels::cuda::KernelInfo* info;
  bool stamped;
  [[nodiscard]] std::size_t parameter_bytes() const {
    return info->params_bytes + (stamped ? sizeof(kernels::cuda::Address) : 0);
  }
};

/// Null: there is no such entry point.
inline const CudaKernelHandle* find_cuda_kernel(std::string_view entry) {
  static const std::vector<CudaKernelHandle> handles = [] {
    std::vector<CudaKernelHandle> out;
    for (const kernels::cuda::KernelInfo& kernel : kernels::cuda::kernels())
      for (const bool stamped : {false, true}) out.push_back({&kernel, stamped});
    return out;
  }();
  for (const CudaKernelHandle& handle : handles)
    if (entry == (handle.stamped ? handle.info->stamped_entry : handle.info->entry)) return &handle;
  return nullptr;
}

}  // namespace apr::test
