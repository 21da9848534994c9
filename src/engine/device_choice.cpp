#include <utility>

#include "apr/core/error.h"
#include "apr/engine/device.h"
#include "src/engine/cuda/cuda_executor.h"

namespace apr::engine {
namespace {

/// One line of an error: what, and the numbers of it.
std::string one_line(const Error& error) {
  std::string text = error.message;
  if (!error.expected.empty()) text += ": expected " + error.expected;
  if (!error.found.empty()) text += ", found " + error.found;
  return text;
}

}  // namespace

ChosenExecutor make_executor(const model::Plan& plan, const ExecutorOptions& options, DeviceRequest request) {
  if (request == DeviceRequest::Cpu) return {make_fast_executor(plan, options), "cpu", "asked for"};
  std::string why;
  try {
    auto executor = cuda::make_native_executor(plan, options, why);
    return {std::move(executor), "cuda", std::move(why)};
  } catch (const Error& error) {
    // What a machine or a model lacks leaves the CPU; a call that failed is an error of its own.
    if (request == DeviceRequest::Cuda || (error.code != ErrorCode::Unsupported && error.code != ErrorCode::ModelLoad))
      throw;
    return {make_fast_executor(plan, options), "cpu", one_line(error)};
  }
}

}  // namespace apr::engine
