#include "apr/kernels/cuda_device.h"

namespace apr::kernels {

CudaStatus cuda_status() { return {.built = false, .devices = {}, .reason = "built without CUDA (no nvcc, or APR_CUDA=OFF)"}; }

}  // namespace apr::kernels
