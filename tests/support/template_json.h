// A template context written as JSON: {"messages": [{"role", "content"}], "add_generation_prompt", "bos_token",
// "eos_token", "local_time", "extra": {...}}, every key optional.
#pragma once
#include <nlohmann/json.hpp>

#include "apr/model/chat_template.h"

namespace apr::test {

inline model::TemplateValue template_value(const nlohmann::json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) return value.get<std::string>();
  return std::monostate{};
}

inline model::TemplateContext template_context(const nlohmann::json& in) {
  model::TemplateContext context;
  if (in.contains("messages")) {
    for (const auto& message : in.at("messages")) {
      context.messages.push_back({message.at("role").get<std::string>(), message.at("content").get<std::string>()});
    }
  }
  context.add_generation_prompt = in.value("add_generation_prompt", true);
  if (in.contains("bos_token")) context.bos_token = in.at("bos_token").get<std::string>();
  if (in.contains("eos_token")) context.eos_token = in.at("eos_token").get<std::string>();
  if (in.contains("local_time")) context.local_time = in.at("local_time").get<std::int64_t>();
  if (in.contains("extra")) {
    for (const auto& [name, value] : in.at("extra").items()) context.extra.emplace(name, template_value(value));
  }
  return context;
}

}  // namespace apr::test
