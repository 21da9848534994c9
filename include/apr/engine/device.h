// Which processor runs a plan: the CPU, or a CUDA device behind the driver of this machine.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "apr/engine/executor.h"

namespace apr::engine {

enum class DeviceRequest : std::uint8_t {
  Cpu,   // the default until the CUDA engine has been measured on a GPU (docs/cuda.md)
  Cuda,  // or an error that says what is missing
  Auto,  // CUDA where it is built in, a device is there, and the model fits and is one that the kernels know; else the
         // CPU
};

struct ChosenExecutor {
  std::unique_ptr<Executor> executor;
  std::string device;  // "cpu", "cuda"
  std::string reason;  // why, in one line: "asked for", "NVIDIA H200 (...)", "no CUDA driver: ..."
};

/// The fast executor of the device asked for. For Cuda throws Unsupported (not built, no driver, no device, one below
/// compute capability 7.5, a model that the kernels do not know), ModelLoad (does not fit into its memory, with the
/// numbers) and Inference (a driver call failed).
[[nodiscard]] ChosenExecutor make_executor(const model::Plan& plan, const ExecutorOptions& options,
                                           DeviceRequest request);

}  // namespace apr::engine
