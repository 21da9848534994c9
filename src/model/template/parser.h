// From source to Program, by the grammar of Jinja 3.1.
#pragma once
#include <memory>
#include <string_view>

#include "ast.h"

namespace apr::model::jinja {

/// Throws InvalidFormat with the place in `field`.
[[nodiscard]] std::shared_ptr<const Program> parse_program(std::string_view source, std::string_view name);

}  // namespace apr::model::jinja
