// One tensor of a model as text and JSON; the summary shows its first one so, too.
#pragma once
#include <string>

#include "apr/inspect/hex.h"
#include "src/cli/json_document.h"
#include "src/cli/style.h"

namespace apr::cli {

void append_tensor(std::string& out, const Style& style, const format::ModelFile& model,
                   const inspect::TensorReport& report);
[[nodiscard]] Json tensor_json(const inspect::TensorReport& report);

}  // namespace apr::cli
