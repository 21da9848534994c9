#include <cuda_runtime.h>

#include "apr/kernels/cuda_device.h"

namespace apr::kernels {

CudaStatus cuda_status() {
  CudaStatus status;
  status.built = true;
  int count = 0;
  // cudart is linked statically and loads the driver here: without one this is an error code, not a loader failure.
  cudaError_t error = cudaGetDeviceCount(&count);
  for (int i = 0; error == cudaSuccess && i < count; ++i) {
    cudaDeviceProp properties{};
    error = cudaGetDeviceProperties(&properties, i);
    if (error == cudaSuccess)
      status.devices.push_back({properties.name, properties.major, properties.minor, properties.multiProcessorCount,
                                static_cast<std::uint64_t>(properties.totalGlobalMem)});
  }
  if (error != cudaSuccess) {
    status.devices.clear();
    status.reason = cudaGetErrorString(error);
  } else if (count == 0) {
    status.reason = "no CUDA device";
  }
  return status;
}

}  // namespace apr::kernels
