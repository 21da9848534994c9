#include "src/cli/device_option.h"

#include <fmt/format.h>

#include <cstdio>

#include <CLI/CLI.hpp>

#include "apr/core/text.h"
#include "src/cli/options.h"

namespace apr::cli {

CLI::Option* add_device(CLI::App& command, engine::DeviceRequest& request) {
  using engine::DeviceRequest;
  return add_enum(command, "--device", request,
                  {{"cpu", DeviceRequest::Cpu}, {"cuda", DeviceRequest::Cuda}, {"auto", DeviceRequest::Auto}},
                  "Where to run: cpu, cuda, or auto: cuda where it can, and say so (cpu)");
}

CLI::Option* add_kv_type(CLI::App& command, TensorType& type) {
  return add_enum(command, "--kv-type", type, {{"f16", TensorType::F16}, {"q8_0", TensorType::Q8_0}},
                  "Elements of the KV cache: f16, or q8_0 with nearly half the memory (f16)");
}

engine::ChosenExecutor choose_executor(const model::Plan& plan, const engine::ExecutorOptions& options,
                                       engine::DeviceRequest request, bool exact, const Context& context) {
  if (exact) return {engine::make_exact_executor(plan, options), "cpu", "the exact executor runs there alone"};
  engine::ChosenExecutor chosen = engine::make_executor(plan, options, request);
  if (request == engine::DeviceRequest::Auto && !context.globals.quiet && !context.globals.json)
    fmt::print(stderr, "device: {} ({})\n", chosen.device, escaped(chosen.reason));
  return chosen;
}

}  // namespace apr::cli
