// Renders chat templates for templates.py: one JSON object a line in, {"source", "context"}, one a line out,
// {"text"} or {"error", "code", "field"}.
#include <iostream>
#include <string>

#include "apr/core/error.h"
#include "apr/model/chat_template.h"
#include "tests/support/template_json.h"

namespace {

nlohmann::json answer(const nlohmann::json& request) {
  try {
    const auto parsed = apr::model::ChatTemplate::parse(request.at("source").get<std::string>(), "template");
    return {{"text", parsed.render(apr::test::template_context(request.at("context")))}};
  } catch (const apr::Error& error) {
    return {{"error", error.message}, {"code", std::string(apr::name(error.code))}, {"field", error.field}};
  }
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << answer(nlohmann::json::parse(line)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
              << '\n';
  }
  return std::cout.good() ? 0 : 1;
}
