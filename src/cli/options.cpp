#include "src/cli/options.h"

#include <fmt/format.h>

#include <charconv>

#include <CLI/CLI.hpp>

#include "apr/core/error.h"
#include "apr/core/text.h"

namespace apr::cli {

CLI::Option* add_number(CLI::App& app, const std::string& flag, std::function<void(std::uint64_t)> set,
                        std::uint64_t min, std::uint64_t max, const std::string& description) {
  const std::string shown = flag.substr(flag.rfind(',') + 1);
  auto parse = [set = std::move(set), min, max, shown](const std::string& text) {
    const auto value = parse_u64(text);
    const std::string want = max == UINT64_MAX ? fmt::format("a number, decimal or 0x hexadecimal, at least {}", min)
                                               : fmt::format("a number from {} to {}", min, max);
    if (!value) throw Error(ErrorCode::Usage, "not a number").in(shown).want(want).got(text);
    if (*value < min || *value > max)
      throw Error(ErrorCode::Usage, "number out of range").in(shown).want(want).got(text);
    set(*value);
  };
  return app.add_option_function<std::string>(flag, parse, description)->type_name("N");
}

CLI::Option* add_switch(CLI::App& app, const std::string& flag, bool& target, const std::string& description) {
  return app.add_flag(flag, target, description);
}

CLI::Option* add_text(CLI::App& app, const std::string& flag, std::function<void(const std::string&)> set,
                      const std::string& type_name, const std::string& description) {
  return app.add_option_function<std::string>(flag, std::move(set), description)->type_name(type_name);
}

CLI::Option* add_real(CLI::App& app, const std::string& flag, std::function<void(double)> set, double min, double max,
                      const std::string& description) {
  const std::string shown = flag.substr(flag.rfind(',') + 1);
  auto parse = [set = std::move(set), min, max, shown](const std::string& text) {
    double value = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
    const std::string want = fmt::format("a number from {} to {}", min, max);
    if (failure != std::errc{} || end != text.data() + text.size())
      throw Error(ErrorCode::Usage, "not a number").in(shown).want(want).got(text);
    if (!(value >= min && value <= max))
      throw Error(ErrorCode::Usage, "number out of range").in(shown).want(want).got(text);
    set(value);
  };
  return app.add_option_function<std::string>(flag, parse, description)->type_name("X");
}

CLI::Option* add_choice(CLI::App& app, const std::string& flag, std::vector<std::string_view> choices,
                        std::function<void(std::size_t)> set, const std::string& description) {
  const std::string shown = flag.substr(flag.rfind(',') + 1);
  const std::string all = fmt::format("{}", fmt::join(choices, "|"));
  auto parse = [set = std::move(set), choices = std::move(choices), all, shown](const std::string& text) {
    for (std::size_t i = 0; i < choices.size(); ++i)
      if (choices[i] == text) return set(i);
    throw Error(ErrorCode::Usage, "unknown value").in(shown).want(all).got(text).help(did_you_mean(text, choices));
  };
  return app.add_option_function<std::string>(flag, parse, description)->type_name(all);
}

std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates) {
  const auto near = nearest(word, candidates, 1);
  return near.empty() ? std::string{} : fmt::format("did you mean {}?", near.front());
}

}  // namespace apr::cli
