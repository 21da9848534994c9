#include <utility>

#include "apr/core/error.h"
#include "apr/kernels/cuda_kernels.h"
#include "cuda_executor.h"

namespace apr::engine::cuda {

std::unique_ptr<Executor> make_native_executor(const model::Plan& plan, const ExecutorOptions& options,
                                               std::string& why) {
  const auto missing = [](const std::string& what) {
    return Error(ErrorCode::Unsupported, "CUDA cannot be used: " + what)
        .in("--device")
        .help("--device cpu runs on the CPU; `apr --version` says whether CUDA is built in");
  };
  if (kernels::cuda::modules().empty()) throw missing("this apr was built without it (no nvcc, or APR_CUDA=OFF)");
  std::string reason;
  std::shared_ptr<Driver> driver = load_driver(reason);
  if (driver == nullptr) throw missing(reason);
  const std::optional<DeviceInfo> device = find_device(*driver, 0, reason);
  if (!device) throw missing(reason);
  why = describe(*device);
  return make_cuda_executor(plan, options, std::move(driver));
}

}  // namespace apr::engine::cuda
