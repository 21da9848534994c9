// Running a plan on a CUDA device: the fused launches of lowering.h, captured as one graph and replayed for every token.
#pragma once
#include <memory>
#include <string>

#include "apr/engine/executor.h"
#include "device.h"

namespace apr::engine::cuda {

/// On the driver of this machine. `why` gets the device, for the reader. Throws Unsupported when this build has no CUDA
/// part, when there is no driver, no device or one that is too old, each with what is missing; and as make_cuda_executor.
[[nodiscard]] std::unique_ptr<Executor> make_native_executor(const model::Plan& plan, const ExecutorOptions& options,
                                                             std::string& why);

}  // namespace apr::engine::cuda
