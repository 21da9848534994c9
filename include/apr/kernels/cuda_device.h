// The CUDA devices of this machine, asked at run time. A binary with CUDA built in starts without any driver.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace apr::kernels {

struct CudaDevice {
  std::string name;
  int compute_major = 0, compute_minor = 0;
  int multiprocessors = 0;
  std::uint64_t memory_bytes = 0;
};

struct CudaStatus {
  bool built = false;               // CUDA is compiled into this binary
  std::vector<CudaDevice> devices;  // empty: see `reason`
  std::string reason;               // why there is no device; empty when there is one
};
[[nodiscard]] CudaStatus cuda_status();

}  // namespace apr::kernels
