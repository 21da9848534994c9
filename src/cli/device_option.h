// --device: which processor runs a model. Shared by the commands that run one.
#pragma once
#include "apr/engine/device.h"
#include "src/cli/context.h"
#include "src/cli/options.h"

namespace apr::cli {

/// --kv-type: elements of the KV cache.
CLI::Option* add_kv_type(CLI::App& command, TensorType& type);
CLI::Option* add_device(CLI::App& command, engine::DeviceRequest& request);

/// The executor asked for. What `auto` chose, and why, goes to stderr unless -q or --json (whose document holds it).
[[nodiscard]] engine::ChosenExecutor choose_executor(const model::Plan& plan, const engine::ExecutorOptions& options,
                                                     engine::DeviceRequest request, bool exact, const Context& context);

}  // namespace apr::cli
